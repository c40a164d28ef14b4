import Contracts
import InferenceAPI
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

    @Test("random damage never crashes the parser")
    func fuzz() {
        let seed = Array(
            #"{"id":"x","parameters":{"ids":["a"]},"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1.5]},{"name":"b","shape":[1],"datatype":"BYTES","data":["q\u0041"]}]}"#
                .utf8)
        for _ in 0..<20_000 {
            var bytes = Array(seed.prefix(Int.random(in: 0...seed.count)))
            for _ in 0..<Int.random(in: 0...4) where !bytes.isEmpty { bytes[Int.random(in: 0..<bytes.count)] = .random(in: .min ... .max) }
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
