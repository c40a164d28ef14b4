import Contracts
import InferenceAPI
import InferenceRPC
import NIOCore

extension FuzzTarget {
    private static let datatypes = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES",
    ]
    private static let fields = [
        Field("a", .float64), Field("b", .bytes), Field("c", .list(.string)), Field("t", .tensor(.float32, shape: [2, -1])),
        Field("s", .string),
    ]

    /// A request of the Open Inference Protocol: JSON, and behind it binary tensors.
    static let tensors = FuzzTarget(
        name: "tensors", inputs: 687_500,
        words: datatypes.map { "\"\($0)\"" } + [
            "\"inputs\":[", "\"name\":\"a\"", "\"shape\":[2]", "\"shape\":[1,2,2]", "\"shape\":[0]", "\"datatype\":", "\"data\":[",
            "\"parameters\":{", "\"binary_data_size\":8",
            "\"ids\":[\"p\"]", "\"id\":\"x\"", "\"outputs\":[{\"name\":\"o\"}]", "\"classification\":2", "\"binary_data\":true",
            "\"shared_memory_region\"",
            "\"binary_data_output\":true", "null", "[[1],[2]]",
        ]
    ) { bytes in
        // The JSON ends where it ends; what follows is binary.
        let head = withBuffer(bytes) { buffer in
            var scanner = JSONScanner(buffer)
            return (try? scanner.skip()).map { scanner.position } ?? bytes.count
        }
        for wrong in [head - 1, head + 1] where wrong != bytes.count {
            _ = try? withBuffer(bytes) { try InferRequest(parsing: $0, headerBytes: wrong) }
        }
        let request = try withBuffer(bytes) { try InferRequest(parsing: $0, headerBytes: head == bytes.count ? nil : head) }
        let word = try Tables.check(request.table)
        if let ids = request.ids { try require(ids.count == request.table.rowCount, "\(ids.count) ids for \(request.table.rowCount) rows") }
        if Tables.isBinary(request.table) {
            let (body, headerBytes) = binaryRequest(request.table)
            let again = try withBuffer(body) { try InferRequest(parsing: $0, headerBytes: headerBytes) }
            try Tables.requireSame(request.table, again.table, "as binary tensors")
        }
        return word
    }

    private static func binaryRequest(_ table: Table) -> (body: [UInt8], headerBytes: Int) {
        var binary: [UInt8] = []
        var inputs: [JSON] = []
        for (name, column) in zip(table.names, table.columns) {
            let tensor = OutputTensor(column)
            let start = binary.count
            tensor.writeBinary(to: &binary)
            inputs.append([
                "name": .string(name), "shape": .array(tensor.shape.map { .int(Int64($0)) }), "datatype": .string(tensor.datatype.rawValue),
                "parameters": ["binary_data_size": .int(Int64(binary.count - start))],
            ])
        }
        let head = JSON.of(["inputs": .array(inputs)]).bytes
        return (head + binary, head.count)
    }

    /// Bodies of MLflow's scoring protocol, of V1 and of Keel's own: JSON in all shapes.
    static let scoring = FuzzTarget(
        name: "scoring", inputs: 100_000,
        words: [
            "\"dataframe_split\":", "\"dataframe_records\":", "\"instances\":", "\"inputs\":", "\"rows\":", "\"columns\":[\"a\"]",
            "\"index\":[0]", "\"data\":[[1]]",
            "\"params\":{}", "\"signature_name\":\"\"", "{\"b64\":\"AP8=\"}", "\"ids\":[\"p\"]", "\"features\":true", "\"version\":\"1\"",
            "NaN", "-Infinity", "null",
            "\"a\":", "\"b\":", "\"c\":", "\"t\":[[1,2],[3,4]]", "\"s\":\"x\"",
        ]
    ) { bytes in
        var words: [String] = []
        var refusal: (any Error)?
        for (name, fields) in [("all", fields), ("one", [fields[3]]), ("none", [])] {
            let readers: [(String, () throws -> Table)] = [
                ("MLflow", { try Invocation(parsing: bytes, fields: fields).table }),
                ("V1", { try V1Request(parsing: bytes, fields: fields).table }),
                ("Keel", { try PredictRequest(parsing: bytes, fields: fields).table }),
            ]
            for (reader, table) in readers {
                do { words.append("\(reader) \(name) \(try Tables.check(try table()))") } catch let fault as FuzzFault { throw fault } catch
                { refusal = error }
            }
        }
        if words.isEmpty, let refusal { throw refusal }
        return words.joined(separator: ";")
    }

    /// A table as MLflow's server takes it as CSV.
    static let csv = FuzzTarget(
        name: "csv", inputs: 450_000,
        words: ["a,b\n", "\"", "\"\"", ",", "\r\n", "True", "False", "NaN", "NA", "-inf", "1e5", "0x1p3", "\u{feff}", "\"a,\nb\""]
    ) { bytes in
        try Tables.check(try Invocation(csv: bytes, fields: fields).table)
    }

    /// The messages of a gRPC call: their frames, the protobuf in them, compressed or not, and the timeout of a call.
    static let rpc = FuzzTarget(
        name: "grpc", inputs: 375_000, words: datatypes + ["ids", "[\"a\"]", "10S", "sequence_id", "classification"], structure: .protobuf
    ) { bytes in
        try checkFrames(bytes)
        var word = ""
        try withRaw(bytes) { raw in
            _ = try? NamedModel(raw)
            _ = try? RepositoryModel(raw)
            if let target = try? ModelInferRequest.Target(raw) { word += target.version == nil ? "model " : "version " }
            let request = try ModelInferRequest(raw)
            word += try Tables.check(request.table)
            if let ids = request.ids {
                try require(ids.count == request.table.rowCount, "\(ids.count) ids for \(request.table.rowCount) rows")
            }
            guard Tables.isBinary(request.table) else { return }
            let again = try withRaw(message(request.table)) { try ModelInferRequest($0) }
            try Tables.requireSame(request.table, again.table, "as raw contents")
        }
        return word
    }

    private static func message(_ table: Table) -> [UInt8] {
        var message = ProtobufWriter()
        message.text(1, "m")
        var raw: [[UInt8]] = []
        for (name, column) in zip(table.names, table.columns) {
            let tensor = OutputTensor(column)
            var binary: [UInt8] = []
            tensor.writeBinary(to: &binary)
            raw.append(binary)
            message.message(5) { input in
                input.text(1, name)
                input.text(2, tensor.datatype.rawValue)
                input.varints(3, tensor.shape.map { UInt64($0) })
            }
        }
        for binary in raw { message.data(7, binary) }
        return message.bytes
    }

    /// The input as the frames of a call, cut in two, and as one message that is said to be compressed.
    private static func checkFrames(_ bytes: [UInt8]) throws {
        let bytesMax = 1 << 16
        func messages(_ parts: [ArraySlice<UInt8>]) -> [[UInt8]] {
            var assembler = MessageAssembler()
            var out: [[UInt8]] = []
            for part in parts {
                var buffer = ByteBuffer(bytes: part)
                assembler.append(&buffer)
                do throws(KeelError) {
                    while let message = try assembler.next(bytesMax: bytesMax) { out.append(Array(buffer: message.bytes)) }
                } catch { return out }
            }
            return out
        }
        let whole = messages([bytes[...]])
        let cut = bytes.count / 3
        try require(messages([bytes[..<cut], bytes[cut...]]) == whole, "cut in two the frames are other messages")
        try require(whole.allSatisfy { $0.count <= bytesMax }, "a message is longer than is allowed")
        let memory = MemoryReservation(of: MemoryBudget(bytes: 64 << 20))
        var framed = ByteBuffer()
        framed.writeInteger(UInt8(1))
        framed.writeInteger(UInt32(bytes.count))
        framed.writeBytes(bytes)
        var assembler = MessageAssembler()
        assembler.append(&framed)
        guard let message = try? assembler.next(bytesMax: SharedInput.inputBytesMax) else { return }
        for encoding in MessageEncoding.allCases {
            let body = MessageBody(message: message, encoding: encoding, memory: memory)
            _ = try? body.target()
            _ = body.requestID
            let size = try? body.read(bytesMax: bytesMax) { $0.count }
            try require(size ?? 0 <= bytesMax, "a message inflates to \(size ?? 0) bytes")
        }
    }
}
