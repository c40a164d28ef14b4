import Contracts
import Serving
import Testing

@Suite("Loaded models")
struct LoadedModelTests {
    /// Answers a score of 1 for every row.
    private struct Ones: ModelRunner {
        let lane = ModelLane.inline(rowsMax: 10)
        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            try Table([("score", Column(.float32, .float32(Array(repeating: 1, count: inputs.rowCount))))])
        }
    }

    private func load(_ inputs: [Signature.Input]) throws(KeelError) -> LoadedModel {
        let signature = Signature(inputs: inputs, outputs: [.init("score", .float32)])
        return try LoadedModel(ModelBundle(flavor: .xgboost, model: [], signature: signature, featureService: nil, metrics: [:]), Ones())
    }

    @Test("a signature with two inputs of one name is refused before anything is asked")
    func twoInputsOfOneName() throws {
        #expect(try load([.init("x", .float64), .init("y", .float64)]).primaryOutput == "score")
        let refused = try #require(throws: KeelError.self) { _ = try load([.init("x", .float64), .init("x", .float32)]) }
        #expect(refused.code == .contractViolation && refused.message.contains("two inputs of one name: x, x"))
    }
}
