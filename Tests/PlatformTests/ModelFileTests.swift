import Contracts
import Platform
import Testing

@Suite("MLmodel files")
struct ModelFileTests {
    @Test("flavours, signature and the rest")
    func parsed() throws {
        let facts = ModelFile.parse(
            Array(
                """
                flavors:
                  python_function:
                    loader_module: mlflow.sklearn
                  sklearn:
                    sklearn_version: 1.5
                mlflow_version: 3.17.2
                model_size_bytes: 1234
                model_uuid: abc
                run_id: r1
                model_id: m-1
                saved_input_example_info:
                  artifact_path: input_example.json
                  type: dataframe
                signature:
                  inputs: '[{"type": "double", "name": "x", "required": true}, {"type": "long", "name": "n", "required": false}]'
                  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
                  params: null
                """.utf8))
        #expect(facts.problem == nil && facts.flavors == ["python_function", "sklearn"] && facts.bytes == 1234 && facts.uuid == "abc")
        #expect(facts.inputExample == "input_example.json" && facts.runID == "r1" && facts.modelID == "m-1")
        let signature = try #require(facts.signature)
        #expect(signature.inputs == [.init("x", .float64, nullable: false), .init("n", .int64)])
        #expect(signature.outputs == [.init("output", .tensor(.float32, shape: [-1, 2]))])
        #expect(try type(of: facts).init(json: facts.json) == facts)
    }

    @Test(
        "a file whose parts may lie deeper in each other than a stack holds is not read",
        arguments: [
            String(repeating: "? ", count: 900), String(repeating: "- ", count: 900), String(repeating: "[", count: 900),
            "a: " + String(repeating: "{a: ", count: 900),
            (0..<900).map { String(repeating: " ", count: $0) + "a:\n" }.joined(), "a: b\u{2028}" + String(repeating: "? ", count: 900),
        ])
    func deep(text: String) {
        #expect(ModelFile.parse(Array(text.utf8)).problem?.contains("levels") == true)
    }

    @Test("a column type that the contract has no word for is kept as written, and there is no signature")
    func unknown() {
        let facts = ModelFile.parse(
            Array(#"signature: {inputs: '[{"type": "object", "name": "o", "properties": {}}]', outputs: null}"#.utf8))
        #expect(facts.inputs.map(\.type) == [nil] && facts.inputs[0].written.contains("properties") && facts.signature == nil)
    }

    @Test(
        "hostile files are a problem that is told",
        arguments: ["a: [", "- ", "\u{0}", "*a "].map { String(repeating: $0, count: 50_000) } + ["x", ""])
    func hostile(text: String) {
        #expect(ModelFile.parse(Array(text.utf8)).problem != nil)
    }
}
