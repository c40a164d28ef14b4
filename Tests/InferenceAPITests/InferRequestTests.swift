import Contracts
import InferenceAPI
import TestSupport
import Testing

private func parse(_ text: String) throws -> InferRequest {
    try Array(text.utf8).withUnsafeBufferPointer { try InferRequest(parsing: $0) }
}

@Suite("Requests of the Open Inference Protocol")
struct InferRequestTests {
    @Test("inputs become typed columns, nulls and all, whatever the order of the fields")
    func columns() throws {
        let request = try parse(
            #"{"id":"q","inputs":[{"name":"a","shape":[2],"datatype":"FP64","data":[1.5,null]},{"data":[["x"],["é"]],"datatype":"BYTES","shape":[2,1],"name":"b"},{"name":"c","shape":[2],"datatype":"BOOL","data":[true,false]},{"name":"d","shape":[2],"datatype":"INT64","data":[7,-9007199254740993]}],"outputs":[{"name":"score"}]}"#
        )
        #expect(request.ids == ["q/0", "q/1"])
        #expect(request.table.names == ["a", "b", "c", "d"])
        #expect(request.table.row(0) == [1.5, "x", true, 7])
        #expect(request.table.row(1) == [nil, "é", false, -9_007_199_254_740_993])
    }

    @Test(
        "a request that breaks the protocol is an error that names the place",
        arguments: [
            (#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP64","data":[1]}]}"#, "inputs[0].shape"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":["x"]}]}"#, "inputs[0].data[0]"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"INT64","data":[1.5]}]}"#, "inputs[0].data[0]"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP128","data":[1]}]}"#, "inputs[0].datatype"),
            (#"{"inputs":[{"shape":[1],"datatype":"FP64","data":[1]}]}"#, "inputs[0]"),
            (
                #"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},{"name":"b","shape":[2],"datatype":"FP64","data":[1,2]}]}"#,
                "inputs[1].shape"
            ),
            (#"{"inputs":[]}"#, "inputs"),
            (#"{}"#, "inputs"),
        ])
    func errors(text: String, place: String) throws {
        let error = #expect(throws: KeelError.self) { try parse(text) }
        #expect(error?.path == place)
    }

    /// Datatype, data that do not fit it, and the element that does not.
    private static let misfits: [(type: String, data: String, element: Int)] = [
        ("INT8", "[0,-129]", 1), ("INT8", "[128]", 0), ("INT8", "[300]", 0), ("UINT8", "[-1]", 0), ("UINT8", "[255,256]", 1),
        ("INT16", "[32768]", 0), ("UINT16", "[65536]", 0), ("INT32", "[5e9]", 0), ("INT32", "[1,2,2147483648]", 2),
        ("UINT32", "[4294967296]", 0),
        ("UINT64", "[-1]", 0), ("INT64", "[9223372036854775808]", 0), ("INT64", "[1.5]", 0), ("INT32", "[1,1.5]", 1),
        ("INT32", "[true]", 0),
        ("FP32", "[1e39]", 0), ("FP32", "[1,-1e39]", 1), ("FP64", "[1e400]", 0), ("FP64", "[true]", 0), ("FP64", "[1,\"2\"]", 1),
        ("FP64", "[NaN]", 0), ("FP64", "[1,Infinity]", 1), ("FP64", "[-Infinity]", 0), ("FP64", "[{}]", 0), ("BOOL", "[0]", 0),
        ("BOOL", "[true,1]", 1), ("BYTES", "[1]", 0), ("BYTES", "[\"a\",true]", 1), ("FP64", "[[1],2]", 1), ("FP64", "[1,[2]]", 1),
        ("FP64", "[[1,2]]", 0), ("FP64", "[[1],[]]", 1), ("FP64", "[[[1]]]", 0),
    ]

    @Test("V4: a value that does not fit its datatype is an error that names the element", arguments: misfits)
    func elements(type: String, data: String, element: Int) throws {
        let count = data.filter { $0 == "," }.count + 1
        let input = #"{"name":"a","shape":[\#(count),1],"datatype":"\#(type)","data":\#(data)}"#
        let late = #"{"data":\#(data),"name":"a","shape":[\#(count),1],"datatype":"\#(type)"}"#
        for text in [input, late] {
            let error = #expect(throws: KeelError.self) {
                try parse(#"{"inputs":[{"name":"b","shape":[1],"datatype":"FP32","data":[0]},\#(text)]}"#)
            }
            // What is no JSON is found before the datatype is known.
            #expect(error?.path == "inputs[1].data[\(element)]" || text == late && error?.path == "inputs[1]", "\(text)")
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("V4: the least and the greatest value of each datatype are taken exactly")
    func bounds() throws {
        for (type, least, greatest) in [
            ("INT8", Int64(Int8.min), Int64(Int8.max)), ("UINT8", 0, 255), ("INT16", -32768, 32767), ("UINT16", 0, 65535),
            ("INT32", Int64(Int32.min), Int64(Int32.max)), ("UINT32", 0, 4_294_967_295), ("INT64", .min, .max), ("UINT64", 0, .max),
        ] {
            let request = try parse(#"{"inputs":[{"name":"a","shape":[2],"datatype":"\#(type)","data":[\#(least),\#(greatest)]}]}"#)
            #expect(request.table.row(0) == [.int(least)] && request.table.row(1) == [.int(greatest)], "\(type)")
        }
    }

    @Test(
        "V4: what is there twice is refused",
        arguments: [
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1],"data":[2]}]}"#, "inputs[0].data"),
            (#"{"inputs":[{"name":"a","shape":[1],"shape":[1],"datatype":"FP64","data":[1]}]}"#, "inputs[0].shape"),
            (#"{"inputs":[{"name":"a","name":"b","shape":[1],"datatype":"FP64","data":[1]}]}"#, "inputs[0].name"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","datatype":"FP32","data":[1]}]}"#, "inputs[0].datatype"),
            (#"{"id":"a","id":"b","inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]}]}"#, "id"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]}],"inputs":[]}"#, "inputs"),
            (
                #"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},{"name":"a","shape":[1],"datatype":"FP64","data":[1]}]}"#,
                "inputs[1].name"
            ),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[[1]]}]}"#, "inputs[0].data"),
        ])
    func duplicates(text: String, place: String) throws {
        #expect(#expect(throws: KeelError.self) { try parse(text) }?.path == place)
    }

    @Test("G8: binary tensors become the same columns, and what does not fit is refused by element")
    func binary() throws {
        func bytes<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }
        func request(_ type: String, rows: Int, _ data: [UInt8], size: Int? = nil) throws -> InferRequest {
            let head = Array(
                #"{"inputs":[{"name":"a","shape":[\#(rows)],"datatype":"\#(type)","parameters":{"binary_data_size":\#(size ?? data.count)}}],"outputs":[{"name":"score","parameters":{"binary_data":true}}]}"#
                    .utf8)
            return try (head + data).withUnsafeBufferPointer { try InferRequest(parsing: $0, headerBytes: head.count) }
        }
        #expect(try request("INT8", rows: 2, bytes([Int8(-3), 4])).table.row(0) == [-3])
        #expect(try request("UINT16", rows: 1, bytes([UInt16.max])).table.row(0) == [65535])
        #expect(try request("INT64", rows: 1, bytes([Int64.min])).table.row(0) == [.int(.min)])
        #expect(try request("BOOL", rows: 2, [1, 0]).table.row(1) == [false])
        #expect(try request("FP32", rows: 2, bytes([Float(1.5), .nan])).table.row(1) == [nil])
        let text = try request("BYTES", rows: 2, [1, 0, 0, 0, 0x78, 2, 0, 0, 0, 0xc3, 0xa9])
        #expect(text.table.row(0) == ["x"] && text.table.row(1) == ["é"] && text.isBinaryOutput)
        for (type, rows, data, place) in [
            ("UINT64", 2, bytes([UInt64(1), .max]), "inputs[0].data[1]"), ("FP64", 1, bytes([Double.infinity]), "inputs[0].data[0]"),
            ("BOOL", 2, [1, 2], "inputs[0].data[1]"), ("BYTES", 1, [9, 0, 0, 0, 1], "inputs[0].data[0]"),
            ("INT32", 2, [0, 0, 0, 0], "inputs[0].parameters.binary_data_size"),
        ] as [(String, Int, [UInt8], String)] {
            #expect(#expect(throws: KeelError.self) { try request(type, rows: rows, data) }?.path == place, "\(type)")
        }
        #expect(throws: KeelError.self) { try request("INT8", rows: 1, [1], size: 2) }
        #expect(throws: KeelError.self) { try request("INT8", rows: 1, [1, 2], size: 1) }
        let response = InferResponse(model: "m", version: "1", id: nil, release: 1, ids: ["a"], scores: [0.5])
        #expect(response.binary.bytes.count == response.binary.headerBytes + 4)
        #expect(Array(response.binary.bytes.suffix(4)) == bytes([Float(0.5)]))
    }

    @Test("random damage never crashes the parser")
    func fuzz() {
        let seed = Array(
            #"{"id":"x","parameters":{"ids":["a"]},"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1.5]},{"name":"b","shape":[1],"datatype":"BYTES","data":["q\u0041"]}]}"#
                .utf8)
        var random = Seeded(136)
        for _ in 0..<20_000 {
            var bytes = Array(seed.prefix(Int.random(in: 0...seed.count, using: &random)))
            for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: .min ... .max, using: &random)
            }
            _ = try? bytes.withUnsafeBufferPointer { try InferRequest(parsing: $0) }
        }
    }

    @Test("the answer is the protocol's")
    func answer() throws {
        let response = InferResponse(model: "delay", version: "3", id: "q", release: 7, ids: ["q"], scores: [0.25])
        #expect(
            String(decoding: response.bytes, as: UTF8.self)
                == #"{"model_name":"delay","model_version":"3","id":"q","parameters":{"release":7,"ids":["q"]},"outputs":[{"name":"score","shape":[1],"datatype":"FP32","data":[0.25]}]}"#
        )
    }

    @Test(
        "MLflow's scoring forms give the same table",
        arguments: [
            #"{"dataframe_split":{"columns":["a","b"],"data":[[1.5,"x"],[2,"y"]]}}"#,
            #"{"dataframe_records":[{"a":1.5,"b":"x"},{"b":"y","a":2}]}"#,
            #"{"inputs":{"a":[1.5,2],"b":["x","y"]}}"#, #"{"instances":[{"a":1.5,"b":"x"},{"a":2,"b":"y"}]}"#,
        ])
    func scoring(text: String) throws {
        let table = try Invocation.table(parsing: Array(text.utf8))
        #expect(table.row(0) == [1.5, "x"] && table.row(1) == [2.0, "y"])
    }

    @Test(
        "exactly one form",
        arguments: [#"{}"#, #"{"instances":[],"inputs":{}}"#, #"{"dataframe_split":{"columns":["a"],"data":[[1,2]]}}"#, #"{"other":1}"#])
    func notScoring(text: String) { #expect(throws: KeelError.self) { try Invocation.table(parsing: Array(text.utf8)) } }
}
