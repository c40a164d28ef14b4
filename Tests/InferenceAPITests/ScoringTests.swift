import Contracts
import InferenceAPI
import Testing

/// MLflow's scoring protocol, V1 and Keel's own: the shapes that bodies come in.
@Suite("Scoring protocols")
struct ScoringTests {
    private func invocation(_ text: String, _ fields: [Field] = []) throws -> Table { try Invocation(parsing: Array(text.utf8), fields: fields).table }
    private func csv(_ text: String, _ fields: [Field] = []) throws -> Table { try Invocation(csv: Array(text.utf8), fields: fields).table }
    private func v1(_ text: String, _ fields: [Field] = []) throws -> Table { try V1Request(parsing: Array(text.utf8), fields: fields).table }

    // MARK: MLflow

    @Test("records with other keys are one table: what a row does not have is missing")
    func union() throws {
        let table = try invocation(#"{"dataframe_records":[{"a":1},{"b":"x"},{"a":2,"b":"y"}]}"#)
        #expect(table.names == ["a", "b"])
        #expect((0..<3).map { table.row($0) } == [[1, nil], [nil, "x"], [2, "y"]])
    }

    @Test("a column of the endpoint that some rows have and others do not is an error with its row, unless it is optional")
    func gaps() throws {
        let fields = [Field("a", .float64), Field("b", .string)]
        for (rows, path) in [
            (#"[{"a":1,"b":"x"},{"b":"y"}]"#, "[1].a"), (#"[{"b":"x"},{"a":1,"b":"y"}]"#, "[0].a"), (#"[{"a":1,"b":"x"},{"a":2,"b":"x"},{"a":3}]"#, "[2].b"),
        ] {
            let requests: [(String, () throws -> Table)] = [
                ("dataframe_records", { try invocation(#"{"dataframe_records":\#(rows)}"#, fields) }),
                ("instances", { try v1(#"{"instances":\#(rows)}"#, fields) }),
                ("rows", { try PredictRequest(parsing: Array(#"{"rows":\#(rows)}"#.utf8), fields: fields).table }),
            ]
            for (place, read) in requests {
                let error = #expect(throws: KeelError.self) { _ = try read() }
                #expect(error?.code == .contractViolation && error?.path == place + path)
            }
        }
        let table = try Invocation(parsing: Array(#"{"dataframe_records":[{"a":1,"b":"x"},{"a":2}]}"#.utf8), fields: fields, optional: ["b"]).table
        #expect(table.row(1) == [2, nil])
        // A value that is said to be missing is one.
        #expect(try invocation(#"{"dataframe_records":[{"a":1,"b":"x"},{"a":null,"b":"y"}]}"#, fields).row(1) == [nil, "y"])
    }

    @Test("NaN, as Python writes it, is a missing value; inside of texts it is text")
    func notANumber() throws {
        let table = try invocation(#"{"dataframe_split":{"columns":["a","b\"NaN"],"data":[[NaN,"NaN"],[1.5, "\\"],[NaN,"x"]]}}"#)
        #expect(table.names[1] == #"b"NaN"#)
        #expect((0..<3).map { table.row($0) } == [[nil, "NaN"], [1.5, #"\"#], [nil, "x"]])
        #expect(throws: KeelError.self) { try invocation(#"{"inputs":[Infinity]}"#, [Field("a", .float64)]) }
    }

    @Test("bytes are Base64, broken into lines or not")
    func bytes() throws {
        let fields = [Field("b", .bytes)]
        let table = try invocation(#"{"dataframe_records":[{"b":"AAH/\n"},{"b":"YQ=="}]}"#, fields)
        #expect(table.row(0) == [.bytes([0, 1, 255])] && table.row(1) == [.bytes([0x61])])
        let error = #expect(throws: KeelError.self) { try invocation(#"{"dataframe_records":[{"b":"YQ=="},{"b":"?"}]}"#, fields) }
        #expect(error?.path == "b[1]")
    }

    @Test("lists of different lengths are lists where the endpoint takes lists")
    func ragged() throws {
        let fields = [Field("tags", .list(.string))]
        let table = try invocation(#"{"instances":[["a"],[],["b","c"]]}"#, fields)
        #expect((0..<3).map { table.row($0)[0] } == [.list(["a"]), .list([]), .list(["b", "c"])])
    }

    @Test(
        "a tensor's values are all on one level: lists beside deeper lists are refused, though each is as long as its neighbour",
        arguments: ["[[1,2],[[5,2],[3,4]],[1,4]]", "[[[5,2],[3,4]],[1,4]]", "[[1,2],[[3],[4]]]", "[[[1,2]],[[[3],[4]]]]"])
    func depths(row: String) throws {
        let fields = [Field("t", .tensor(.float32, shape: [-1, 2]))]
        for text in [#"{"instances":[\#(row)]}"#, #"{"instances":[[[1,2],[3,4]],\#(row)]}"#] {
            let error = #expect(throws: KeelError.self) { try invocation(text, fields) }
            #expect(error?.path?.hasPrefix("t[") == true)
            #expect(throws: KeelError.self) { try v1(text, fields) }
        }
        // Empty lists have no level of their own.
        #expect(try v1(#"{"instances":[[[],[]]]}"#, fields)["t"]?.type == .tensor(.float64, shape: [2, 0]))
    }

    @Test("a split without names is in the order of the endpoint's columns; a value alone is one row")
    func short() throws {
        let fields = [Field("a", .float64), Field("b", .string)]
        #expect(try invocation(#"{"dataframe_split":{"data":[[1,"x"]]}}"#, fields).row(0) == [1, "x"])
        #expect(try invocation(#"{"inputs":{"a":1,"b":"x"}}"#, fields).row(0) == [1, "x"])
        #expect(try invocation(#"{"inputs":"x"}"#, [Field("b", .string)]).row(0) == ["x"])
    }

    @Test("CSV is read as pandas reads it")
    func commas() throws {
        let fields = [Field("n", .int64), Field("x", .float64), Field("t", .string), Field("f", .bool)]
        let table = try csv(",n,x,t,f\r\n0,1,1.5,\"a, \"\"b\"\"\",True\r\n1,,NaN,NA,False\r\n2,3,-2e3,007,true\r\n", fields)
        #expect(table.names == ["n", "x", "t", "f"], "a first column without a name is an index")
        #expect(table.row(0) == [1, 1.5, "a, \"b\"", true])
        #expect(table.row(1) == [nil, nil, nil, false])
        #expect(table.row(2) == [3, -2000.0, "007", true], "a column of texts has no numbers")
        #expect(try csv("a\n1\n2").row(1) == [2])
        #expect(try csv("a,b\n1,x\n\n2,y\n").rowCount == 2)
        #expect(try csv("\u{feff}a,b\n1,\"two\nlines\"").row(0) == [1, "two\nlines"])
        #expect(try csv("a,b\n1,").row(0) == [1, nil])
    }

    @Test(
        "CSV that is none is refused with its place",
        arguments: [
            ("", nil), ("a,b\n1\n", "line 2"), ("a,b\n1,2\n3,4,5\n", "line 3"), ("a\n\"x", "line 2"), ("a\n\"x\"y", "line 2"), ("a\n1\ninf\n", "a[1]"),
        ] as [(String, String?)])
    func notCommas(text: String, place: String?) throws {
        let error = #expect(throws: KeelError.self) { try csv(text) }
        #expect(error?.code == .invalidArgument && error?.path == place)
    }

    // MARK: V1

    @Test("V1 takes rows of values, lists and objects, and columns")
    func versionOne() throws {
        let two = [Field("a", .float64), Field("b", .string)]
        let expected: [Value] = [2, "y"]
        for text in [
            #"{"instances":[[1,"x"],[2,"y"]]}"#, #"{"instances":[{"a":1,"b":"x"},{"b":"y","a":2}],"signature_name":"serving_default"}"#,
            #"{"inputs":{"a":[1,2],"b":["x","y"]}}"#,
        ] {
            #expect(try v1(text, two).row(1) == expected, "\(text)")
        }
        #expect(try v1(#"{"instances":[1,2]}"#, [Field("a", .float64)]).row(1) == [2])
        let image = try v1(#"{"instances":[{"b64":"AP8="},{"b64":"YQ=="}]}"#, [Field("image", .bytes)])
        #expect(image.row(0) == [.bytes([0, 255])])
        #expect(try v1(#"{"instances":[{"image":{"b64":"AP8="}}]}"#, [Field("image", .bytes)]).row(0) == [.bytes([0, 255])])
    }

    @Test(
        "V1 refuses what is neither",
        arguments: [
            #"{}"#, #"{"instances":[1],"inputs":[1]}"#, #"{"instances":{"a":1}}"#, #"{"instances":[1],"more":1}"#,
            #"{"instances":[1],"signature_name":"other"}"#, #"{"instances":[[1,2],[1]]}"#, #"[1]"#,
        ])
    func notVersionOne(text: String) { #expect(throws: KeelError.self) { try v1(text, [Field("a", .float64), Field("b", .float64)]) } }

    // MARK: Keel

    @Test("Keel's own form: rows, ids, params")
    func own() throws {
        let text = #"{"rows":[{"user":"u","price":1},{"user":"v"}],"ids":["a","b"],"params":{"k":2},"features":true,"version":"3"}"#
        let request = try PredictRequest(parsing: Array(text.utf8), fields: [])
        #expect(request.table.row(1) == ["v", nil])
        #expect(request.ids == ["a", "b"] && request.params == ["k": 2] && request.showsFeatures && request.version == "3")
    }

    @Test(
        "Keel's own form names the mistake",
        arguments: [
            (#"{}"#, "rows"), (#"{"rows":[]}"#, "rows"), (#"{"rows":{"a":1}}"#, "rows"), (#"{"rows":[1]}"#, "rows[0]"),
            (#"{"rows":[{"a":1}],"id":["x"]}"#, "id"),
            (#"{"rows":[{"a":1}],"params":[]}"#, "params"), (#"{"rows":[{"a":1},{"a":"x"}]}"#, "a[1]"),
        ])
    func notOwn(text: String, place: String) {
        #expect(#expect(throws: KeelError.self) { try PredictRequest(parsing: Array(text.utf8), fields: []) }?.path == place)
    }
}
