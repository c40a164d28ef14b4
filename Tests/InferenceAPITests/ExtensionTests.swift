import Contracts
import InferenceAPI
import Testing

/// What Triton's clients know beyond the protocol: bytes, classes, tensors without elements.
@Suite("Extensions of the Open Inference Protocol")
struct ExtensionTests {
    private func parse(_ json: String, _ data: [UInt8] = []) throws -> InferRequest {
        let head = Array(json.utf8)
        return try (head + data).withUnsafeBufferPointer { try InferRequest(parsing: $0, headerBytes: head.count) }
    }

    private func binary(_ type: String, _ shape: [Int], _ data: [UInt8]) throws -> Table {
        try parse(#"{"inputs":[{"name":"a","shape":\#(shape),"datatype":"\#(type)","parameters":{"binary_data_size":\#(data.count)}}]}"#, data).table
    }

    private func answer(_ outputs: Table, _ wanted: String) throws -> JSON {
        let rows = outputs.rowCount
        let data = (0..<rows).map { _ in "1" }.joined(separator: ",")
        let request = try parse(#"{"inputs":[{"name":"x","shape":[\#(rows)],"datatype":"FP64","data":[\#(data)]}],"outputs":[\#(wanted)]}"#)
        let ids = (0..<rows).map { "\($0)" }
        let response = InferResponse(model: "m", version: "1", id: nil, release: 1, ids: ids, outputs: outputs)
        return try JSON.parse(try response.encoded(for: request).bytes)["outputs"]?[0] ?? .null
    }

    @Test("binary BYTES are texts when all of them are, else bytes; a zero byte is one like others")
    func bytes() throws {
        #expect(try binary("BYTES", [1], [3, 0, 0, 0, 0x61, 0, 0x62]).row(0) == ["a\0b"])
        let mixed = try binary("BYTES", [2], [1, 0, 0, 0, 0x61, 2, 0, 0, 0, 0xff, 0xfe])
        #expect(mixed.columns[0].type == .bytes && mixed.row(1) == [.bytes([0xff, 0xfe])])
        let error = #expect(throws: KeelError.self) { try mixed.columns[0].converted(to: .string, name: "a") }
        #expect(error?.code == .contractViolation, "an input of texts refuses them")
        #expect(try parse(#"{"inputs":[{"name":"a","shape":[1],"datatype":"BYTES","data":["a\u0000b"]}]}"#).table.row(0) == ["a\0b"])
    }

    @Test("bytes that are no text are answered in binary alone")
    func byteOutputs() throws {
        let texts = try Table([("b", try Column(.bytes, values: [.bytes([0x61])]))])
        #expect(try answer(texts, #"{"name":"b"}"#)["data"] == ["a"])
        let others = try Table([("b", try Column(.bytes, values: [.bytes([0xff])]))])
        #expect(#expect(throws: KeelError.self) { try answer(others, #"{"name":"b"}"#) }?.path == "outputs[0]")
    }

    @Test("UINT64 is taken as far as Keel's integers reach, and refused beyond, in JSON and in binary")
    func large() throws {
        func json(_ text: String) throws -> Table { try parse(#"{"inputs":[{"name":"a","shape":[1],"datatype":"UINT64","data":[\#(text)]}]}"#).table }
        #expect(try json("9223372036854775807").row(0) == [.int(.max)])
        for text in ["9223372036854775808", "18446744073709551615"] {
            #expect(#expect(throws: KeelError.self) { try json(text) }?.path == "inputs[0].data[0]")
        }
        let most = withUnsafeBytes(of: UInt64(1) << 63) { Array($0) }
        #expect(#expect(throws: KeelError.self) { try binary("UINT64", [1], most) }?.path == "inputs[0].data[0]")
    }

    @Test("a whole number with a fraction or an exponent is taken below 2⁵³ only: from there on it may be another")
    func inexact() throws {
        func json(_ text: String) throws -> Table { try parse(#"{"inputs":[{"name":"a","shape":[1],"datatype":"INT64","data":[\#(text)]}]}"#).table }
        #expect(try json("9007199254740991.0").row(0) == [9_007_199_254_740_991])
        #expect(throws: KeelError.self) { try json("9007199254740992.0") }
        #expect(try json("9007199254740993").row(0) == [9_007_199_254_740_993])
        #expect(throws: KeelError.self) { try json("9007199254740993.0") }
        #expect(throws: KeelError.self) { try json("1e18") }
    }

    @Test("a whole number that the column cannot hold is refused, not missing")
    func narrow() throws {
        let column = Column(.int64, .int64([1, 5_000_000_000]))
        #expect(#expect(throws: KeelError.self) { try column.converted(to: .int32, name: "n") }?.path == "n[1]")
        #expect(try parse(#"{"inputs":[{"name":"a","shape":[1],"datatype":"INT64","data":[-9223372036854775808]}]}"#).table.row(0) == [.int(.min)])
    }

    @Test("tensors without elements have rows, but not without bounds")
    func empty() throws {
        let table = try parse(#"{"inputs":[{"name":"a","shape":[2,0],"datatype":"FP32","data":[[],[]]}]}"#).table
        #expect(table.rowCount == 2 && table.row(0) == [.list([])])
        #expect(try binary("INT64", [3, 0], []).rowCount == 3)
        #expect(try binary("INT64", [0], []).rowCount == 0)
        for shape in ["[268435456,0]", "[100000,0,1]"] {
            let error = #expect(throws: KeelError.self) { try parse(#"{"inputs":[{"name":"a","shape":\#(shape),"datatype":"FP32","data":[]}]}"#) }
            #expect(error?.path == "inputs[0].shape[0]")
        }
    }

    @Test("classification gives the highest values with their places, the first of equal ones first, and what is no number last")
    func classes() throws {
        let values = Column(.float32, .float32([0.25, 0.5, 0.25, .nan, -1, 3]))
        let outputs = try Table([("p", Column(.tensor(.float32, shape: [3]), .list(offsets: [0, 3, 6], values: values)))])
        let two = try answer(outputs, #"{"name":"p","parameters":{"classification":2}}"#)
        #expect(two["datatype"] == "BYTES" && two["shape"] == [2, 2])
        #expect(two["data"] == ["0.500000:1", "0.250000:0", "3.000000:2", "-1.000000:1"])
        #expect(try answer(outputs, #"{"name":"p","parameters":{"classification":9}}"#)["shape"] == [2, 3])
        let texts = try Table([("p", try Column(.string, values: ["a"]))])
        #expect(throws: KeelError.self) { try answer(texts, #"{"name":"p","parameters":{"classification":1}}"#) }
        #expect(throws: KeelError.self) { try answer(outputs, #"{"name":"p","parameters":{"classification":0}}"#) }
    }

    @Test("an error about a param has its place in this protocol")
    func params() {
        let error = InferRequest.locate(.invalid("x", path: "params.top"), in: ["a"])
        #expect(error.path == "parameters.top")
    }
}
