import Contracts
import RemoteInference
import TestSupport
import Testing

/// Tensors as the Open Inference Protocol has them, in both directions.
@Suite("The wire format of the Open Inference Protocol")
struct WireTests {
    private func facts(_ tensors: [OpenTensor], binary: Bool) -> OpenInference.Facts {
        OpenInference.Facts(inputs: tensors, outputs: tensors, isBinary: binary, rowsMax: nil)
    }

    /// The tensors of a request as a server sends them back: what an identity model answers.
    private func echoed(_ request: OpenInferenceRequest) throws -> (bytes: [UInt8], headerBytes: Int?) {
        let length = request.headerBytes ?? request.bytes.count
        let json = try JSON.parse(Array(request.bytes[..<length]))
        let header = JSON.of(["model_name": "echo", "outputs": json["inputs"] ?? .null]).bytes
        return (header + request.bytes[length...], request.headerBytes == nil ? nil : header.count)
    }

    @Test("a request in JSON names each tensor, its datatype and shape, and the outputs that are wanted")
    func json() throws {
        let tensors = [OpenTensor("x", .float32), OpenTensor("pixels", .tensor(.int64, shape: [2, 2])), OpenTensor("word", .string)]
        let table = try Table([
            ("x", Column(.float32, .float32([0.5, -2]))),
            ("pixels", Column(.tensor(.int64, shape: [2, 2]), .list(offsets: [0, 4, 8], values: Column(.int64, .int64(Array(1...8)))))),
            ("word", try Column(.string, values: [.string("grün"), .string("")])),
        ])
        let request = try OpenInferenceRequest(table, facts(tensors, binary: false), params: ["temperature": 0.5])
        #expect(request.headerBytes == nil)
        let expected: JSON = [
            "inputs": [
                ["name": "x", "datatype": "FP32", "shape": [2], "data": [0.5, -2.0]],
                ["name": "pixels", "datatype": "INT64", "shape": [2, 2, 2], "data": [1, 2, 3, 4, 5, 6, 7, 8]],
                ["name": "word", "datatype": "BYTES", "shape": [2], "data": ["grün", ""]],
            ],
            "outputs": [["name": "x"], ["name": "pixels"], ["name": "word"]], "parameters": ["temperature": 0.5],
        ]
        #expect(try JSON.parse(request.bytes) == expected)
    }

    @Test("an answer may be as large as what was asked for, and no larger than 64 MiB")
    func sizes() {
        let number = OpenTensor("x", .float32)
        #expect(OpenInferenceResponse.bytesMax([number], rows: 1) == (1 << 20) + 32)
        #expect(OpenInferenceResponse.bytesMax([number, OpenTensor("word", .string)], rows: 2) == (1 << 20) + 2 * (32 + (64 << 10)))
        #expect(OpenInferenceResponse.bytesMax([OpenTensor("x", .tensor(.float32, shape: [-1, 3]))], rows: 1) == (1 << 20) + 4096 * 3 * 32)
        for shape in [[1 << 40, 1 << 40], [1 << 30], [.max, 2]] {
            #expect(OpenInferenceResponse.bytesMax([OpenTensor("x", .tensor(.float32, shape: shape))], rows: 1) == 64 << 20)
        }
        #expect(OpenInferenceResponse.bytesMax([number], rows: .max) == 64 << 20)
    }

    @Test("binary data stand behind the JSON, little-endian, texts with their length")
    func binary() throws {
        let table = try Table([("n", Column(.int32, .int32([1, -2]))), ("word", try Column(.string, values: [.string("ab"), .string("")]))])
        let request = try OpenInferenceRequest(table, facts([OpenTensor("n", .int32), OpenTensor("word", .string)], binary: true), params: .null)
        let length = try #require(request.headerBytes)
        #expect(Array(request.bytes[length...]) == [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0x61, 0x62, 0, 0, 0, 0])
        let header = try JSON.parse(Array(request.bytes[..<length]))
        #expect(header["inputs"]?[0]?["parameters"]?["binary_data_size"] == 8 && header["outputs"]?[1]?["parameters"]?["binary_data"] == true)
    }

    /// Every datatype at its edges, in a tensor as a server describes it.
    static let edges: [(datatype: String, values: [Value])] = [
        ("BOOL", [.bool(true), .bool(false)]), ("INT8", [.int(-128), .int(127)]), ("INT16", [.int(-32768), .int(32767)]),
        ("INT32", [.int(Int64(Int32.min)), .int(Int64(Int32.max))]), ("INT64", [.int(.min), .int(.max)]), ("UINT8", [.int(0), .int(255)]),
        ("UINT16", [.int(0), .int(65535)]), ("UINT32", [.int(0), .int(Int64(UInt32.max))]), ("UINT64", [.int(0), .int(.max)]),
        ("FP16", [.double(-65504), .double(0.000000059604645)]), ("BF16", [.double(-2.5), .double(0.0078125)]),
        ("FP32", [.double(-3.4e38), .double(0.1)]), ("FP64", [.double(1e300), .double(-0.1)]), ("BYTES", [.string(""), .string("grün")]),
    ]

    @Test("every datatype goes there and comes back as it was, in JSON and in binary data", arguments: edges.indices, [true, false])
    func roundTrip(i: Int, binary: Bool) throws {
        let (word, values) = Self.edges[i]
        let json: JSON = ["name": "x", "datatype": .string(word), "type": .string(try Self.type(of: word).description), "row": [1]]
        let tensor = try OpenTensor(try FieldReader(json, path: "x"))
        let table = try Table([("x", try Column(try Self.type(of: word), values: values))])
        let sent = try echoed(try OpenInferenceRequest(table, facts([tensor], binary: binary), params: .null))
        let back = try OpenInferenceResponse.table(sent.bytes, headerBytes: sent.headerBytes, [tensor], rows: 2)
        #expect(back == table)
    }

    private static func type(of word: String) throws -> DataType {
        switch word {
        case "BOOL": .bool
        case "INT8", "INT16", "INT32", "UINT8", "UINT16": .int32
        case "INT64", "UINT32", "UINT64": .int64
        case "FP16", "BF16", "FP32": .float32
        case "FP64": .float64
        default: .string
        }
    }

    @Test("a value that the datatype cannot hold is refused with its row")
    func misfits() throws {
        let json: JSON = ["name": "n", "datatype": "UINT8", "type": "int32", "row": []]
        let tensor = try OpenTensor(try FieldReader(json, path: "n"))
        let table = try Table([("n", Column(.int32, .int32([255, 256])))])
        let error = #expect(throws: KeelError.self) { _ = try OpenInferenceRequest(table, facts([tensor], binary: true), params: .null) }
        #expect(error?.code == .invalidArgument && error?.path == "n[1]" && error?.message.contains("256") == true)
        let missing = try Table([("n", try Column(.int32, values: [.int(1), .null]))])
        let absent = #expect(throws: KeelError.self) { _ = try OpenInferenceRequest(missing, facts([tensor], binary: false), params: .null) }
        #expect(absent?.path == "n[1]")
        // Binary data can say that a float is missing, JSON cannot.
        let unknown = try Table([("x", Column(.float32, .float32([1, .nan])))])
        let x = facts([OpenTensor("x", .float32)], binary: true)
        #expect(try OpenInferenceRequest(unknown, x, params: .null).bytes.suffix(4) == [0, 0, 0xc0, 0x7f])
        let unsaid = #expect(throws: KeelError.self) {
            _ = try OpenInferenceRequest(unknown, facts([OpenTensor("x", .float32)], binary: false), params: .null)
        }
        #expect(unsaid?.path == "x[1]")
    }

    @Test("random damage to an answer is a fault or another table, and never more rows than were asked for")
    func damage() throws {
        var random = Seeded(11)
        let tensors = [OpenTensor("x", .float64), OpenTensor("word", .string), OpenTensor("t", .tensor(.float32, shape: [-1]))]
        let rows = 5
        let table = try Table([
            ("x", Column(.float64, .float64((0..<rows).map(Double.init)))),
            ("word", try Column(.string, values: (0..<rows).map { .string(String(repeating: "a", count: $0)) })),
            (
                "t",
                Column(
                    .tensor(.float32, shape: [3]),
                    .list(offsets: (0...rows).map { $0 * 3 }, values: Column(.float32, .float32(Array(repeating: 1, count: rows * 3)))))
            ),
        ])
        var faults = 0
        for binary in [true, false] {
            let whole = try echoed(try OpenInferenceRequest(table, facts(tensors, binary: binary), params: .null))
            #expect(try OpenInferenceResponse.table(whole.bytes, headerBytes: whole.headerBytes, tensors, rows: rows) == table)
            for _ in 0..<4000 {
                var bytes = whole.bytes
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                    case 1: bytes.removeLast(Int.random(in: 1..<bytes.count / 2, using: &random))
                    default: bytes.insert(UInt8.random(in: 48...57, using: &random), at: Int.random(in: bytes.indices, using: &random))
                    }
                }
                do throws(OpenInferenceResponse.Fault) {
                    let read = try OpenInferenceResponse.table(bytes, headerBytes: whole.headerBytes, tensors, rows: rows)
                    #expect(read.rowCount == rows && read.names == table.names)
                } catch { faults += 1 }
            }
        }
        #expect(faults > 4000)
    }
}
