import Contracts
import InferenceAPI
import TestSupport
import Testing

private func parse(_ text: String) throws -> InferRequest {
    try Array(text.utf8).withUnsafeBufferPointer { try InferRequest(parsing: $0) }
}

private func scores(_ values: [Float]) throws -> Table { try Table([("score", Column(.float32, .float32(values)))]) }

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

    @Test(
        "a shape with a size of 0 says no more values than another one: its other sizes count",
        arguments: ["[0,33033319,44440,222222762]", "[0,268435456,2]", "[1,0,268435456,2]"])
    func emptyShapes(shape: String) throws {
        let error = #expect(throws: KeelError.self) { try parse(#"{"inputs":[{"name":"a","shape":\#(shape),"datatype":"FP32","data":[]}]}"#) }
        #expect(error?.path?.hasPrefix("inputs[0].shape[") == true)
        let few = try parse(#"{"inputs":[{"name":"a","shape":[0,3],"datatype":"FP32","data":[]},{"name":"b","shape":[0],"datatype":"FP32","data":[]}]}"#)
        #expect(few.table.rowCount == 0 && few.table["a"]?.type == .tensor(.float64, shape: [3]))
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
        ("FP64", "[[1],[]]", 1),
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
            (#"{"model_name":"a","model_name":"a","inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]}]}"#, "model_name"),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]}],"inputs":[]}"#, "inputs"),
            (
                #"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},{"name":"a","shape":[1],"datatype":"FP64","data":[1]}]}"#,
                "inputs[1].name"
            ),
            (#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[[1]]}]}"#, "inputs[0].data"),
            (#"{"inputs":[{"name":"a","shape":[2,1],"datatype":"FP64","data":[[1,2]]}]}"#, "inputs[0].data"),
            (#"{"inputs":[{"name":"a","shape":[2,3],"datatype":"FP64","data":[1,2,3,4]}]}"#, "inputs[0].shape"),
            (#"{"inputs":[{"name":"a","shape":[70000,70000],"datatype":"FP64","data":[1]}]}"#, "inputs[0].shape[1]"),
            (#"{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP64","data":[[1,2],[3]]}]}"#, "inputs[0].data[1]"),
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
        #expect(text.table.row(0) == ["x"] && text.table.row(1) == ["é"] && text.wanted?.first?.isBinary == true)
        for (type, rows, data, place) in [
            ("UINT64", 2, bytes([UInt64(1), .max]), "inputs[0].data[1]"), ("FP64", 1, bytes([Double.infinity]), "inputs[0].data[0]"),
            ("BOOL", 2, [1, 2], "inputs[0].data[1]"), ("BYTES", 1, [9, 0, 0, 0, 1], "inputs[0].data[0]"),
            ("INT32", 2, [0, 0, 0, 0], "inputs[0].parameters.binary_data_size"),
        ] as [(String, Int, [UInt8], String)] {
            #expect(#expect(throws: KeelError.self) { try request(type, rows: rows, data) }?.path == place, "\(type)")
        }
        #expect(throws: KeelError.self) { try request("INT8", rows: 1, [1], size: 2) }
        #expect(throws: KeelError.self) { try request("INT8", rows: 1, [1, 2], size: 1) }
        #expect(try request("FP16", rows: 2, bytes([Float16(1.5), -2])).table.row(1) == [-2.0])
        #expect(try request("BF16", rows: 1, [0xc0, 0x3f]).table.row(0) == [1.5])
        let response = InferResponse(model: "m", version: "1", id: nil, release: 1, ids: ["a"], outputs: try scores([0.5]))
        let (answer, headerBytes) = try response.encoded(for: try request("FP32", rows: 1, bytes([Float(1)])))
        #expect(answer.count == (headerBytes ?? 0) + 4 && Array(answer.suffix(4)) == bytes([Float(0.5)]))
    }

    @Test("any order of the fields, flat and nested data: the same columns, and a shape that lies is refused")
    func forms() throws {
        var random = Seeded(31)
        let types = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"]
        for round in 0..<400 {
            let type = types[round % types.count]
            let shape = (0..<Int.random(in: 1...3, using: &random)).map { _ in Int.random(in: 1...3, using: &random) }
            let count = shape.reduce(1, *)
            let values = (0..<count).map { _ in
                type == "BOOL" ? "\(Bool.random(using: &random))" : type == "BYTES" ? "\"t\(random.next() % 9)\"" : "\(random.next() % 99)"
            }
            var nested = values
            for size in shape.dropFirst().reversed() {
                nested = stride(from: 0, to: nested.count, by: size).map { "[" + nested[$0..<$0 + size].joined(separator: ",") + "]" }
            }
            func request(_ data: [String], _ shape: [Int]) -> String {
                let fields = [
                    #""name":"a""#, "\"datatype\":\"\(type)\"", "\"shape\":\(shape)", "\"data\":[\(data.joined(separator: ","))]",
                ].shuffled(using: &random)
                return #"{"inputs":[{"# + fields.joined(separator: ", ") + "}]}"
            }
            let flat = try parse(request(values, shape)).table
            #expect(try parse(request(nested, shape)).table == flat)
            #expect(flat.rowCount == shape[0])
            let wrong = #expect(throws: KeelError.self) { try parse(request(values, [268_435_456])) }
            #expect(wrong?.path == "inputs[0].shape")
            if shape.count > 1 {
                // As many values, nested otherwise.
                let other = #expect(throws: KeelError.self) { try parse(request(nested, [count])) }
                #expect(other?.path == "inputs[0].data")
            }
        }
        for word in [#"\u0000FP64"#, "FP6", "FP640", "fp64", "", "UINT64UINT64", "4FP6"] {
            let error = #expect(throws: KeelError.self) { try parse(#"{"inputs":[{"name":"a","shape":[1],"datatype":"\#(word)","data":[1]}]}"#) }
            #expect(error?.path == "inputs[0].datatype", "\(word)")
        }
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
        let response = InferResponse(model: "delay", version: "3", id: "q", release: 7, ids: ["q"], outputs: try scores([0.25]))
        let request = try parse(#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}]}"#)
        #expect(
            String(decoding: try response.encoded(for: request).bytes, as: UTF8.self)
                == #"{"model_name":"delay","model_version":"3","id":"q","parameters":{"release":7,"ids":["q"]},"outputs":[{"name":"score","shape":[1],"datatype":"FP32","data":[0.25]}]}"#
        )
    }

    @Test("a tensor of several dimensions is one column, flat or nested, whose rows have its shape")
    func tensors() throws {
        for data in ["[1,2,3,4,5,6,7,8]", "[[[1,2],[3,4]],[[5,6],[7,8]]]"] {
            let request = try parse(#"{"inputs":[{"name":"a","shape":[2,2,2],"datatype":"FP32","data":\#(data)}]}"#)
            #expect(request.table.columns[0].type == .tensor(.float64, shape: [2, 2]))
            #expect(request.table.row(1) == [.list([5.0, 6.0, 7.0, 8.0])])
        }
        // A dimension of 1 is none.
        #expect(try parse(#"{"inputs":[{"name":"a","shape":[2,1],"datatype":"INT32","data":[[1],[2]]}]}"#).table.row(1) == [2])
    }

    @Test("outputs of any type are answered in JSON and in binary, all or those that are asked for")
    func outputs() throws {
        let texts = try Column(.string, values: ["a", "é"])
        let classes = Column(.tensor(.float32, shape: [2]), .list(offsets: [0, 2, 4], values: Column(.float32, .float32([0.25, 0.75, .nan, 1]))))
        let outputs = try Table([("label", texts), ("probabilities", classes)])
        let response = InferResponse(model: "m", version: "1", id: nil, release: 1, ids: ["p", "q"], outputs: outputs)
        func answer(_ rest: String) throws -> (JSON, [UInt8]) {
            let request = try parse(#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP64","data":[1,2]}]\#(rest)}"#)
            let (bytes, headerBytes) = try response.encoded(for: request)
            return (try JSON.parse(Array(bytes.prefix(headerBytes ?? bytes.count))), Array(bytes.dropFirst(headerBytes ?? bytes.count)))
        }
        let all = try answer("").0["outputs"]
        #expect(all?.array?[0] == ["name": "label", "shape": [2], "datatype": "BYTES", "data": ["a", "é"]])
        #expect(all?.array?[1] == ["name": "probabilities", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, nil, 1.0]])
        let (one, binary) = try answer(#","outputs":[{"name":"label","parameters":{"binary_data":true}}]"#)
        #expect(one["outputs"]?.array?.count == 1 && binary == [1, 0, 0, 0, 0x61, 2, 0, 0, 0, 0xc3, 0xa9])
        #expect(try answer(#","parameters":{"binary_data_output":true}"#).1.count == 11 + 16)
        let error = #expect(throws: KeelError.self) { _ = try answer(#","outputs":[{"name":"score"}]"#) }
        #expect(error?.path == "outputs[0].name" && error?.hint == "the outputs: label, probabilities")
    }

    @Test("parameters that are not the protocol's are the model's")
    func parameters() throws {
        let input = #""inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}]"#
        #expect(try parse(#"{\#(input),"parameters":{"temperature":0.5,"ids":["a"],"priority":1}}"#).params == ["temperature": 0.5])
        #expect(try parse("{\(input)}").params == .null)
    }

    @Test("values without names are those of the model's inputs, in their order")
    func unnamed() throws {
        let fields = [Field("a", .float64), Field("b", .string)]
        let two = try Invocation(parsing: Array(#"{"instances":[[1.5,"x"],[2,"y"]]}"#.utf8), fields: fields).table
        #expect(two.names == ["a", "b"] && two.row(1) == [2.0, "y"])
        let one = try Invocation(parsing: Array(#"{"inputs":[[1,2],[3,4.5]],"params":{"k":2}}"#.utf8), fields: [Field("t", .tensor(.float64, shape: [2]))])
        #expect(one.table.row(1) == [.list([3.0, 4.5])] && one.params == ["k": 2])
        let ragged = #expect(throws: KeelError.self) {
            try Invocation(parsing: Array(#"{"inputs":[[1,2],[3]]}"#.utf8), fields: [Field("t", .tensor(.float64, shape: [2]))])
        }
        #expect(ragged?.path == "t[1]")
    }

    @Test(
        "MLflow's scoring forms give the same table",
        arguments: [
            #"{"dataframe_split":{"columns":["a","b"],"data":[[1.5,"x"],[2,"y"]]}}"#,
            #"{"dataframe_records":[{"a":1.5,"b":"x"},{"b":"y","a":2}]}"#,
            #"{"inputs":{"a":[1.5,2],"b":["x","y"]}}"#, #"{"instances":[{"a":1.5,"b":"x"},{"a":2,"b":"y"}]}"#,
        ])
    func scoring(text: String) throws {
        let table = try Invocation(parsing: Array(text.utf8), fields: []).table
        #expect(table.row(0) == [1.5, "x"] && table.row(1) == [2.0, "y"])
    }

    @Test(
        "exactly one form",
        arguments: [#"{}"#, #"{"instances":[],"inputs":{}}"#, #"{"dataframe_split":{"columns":["a"],"data":[[1,2]]}}"#, #"{"other":1}"#])
    func notScoring(text: String) { #expect(throws: KeelError.self) { try Invocation(parsing: Array(text.utf8), fields: []) } }
}
