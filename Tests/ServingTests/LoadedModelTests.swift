import Contracts
import Serving
import Synchronization
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

    /// Answers as its signature says while it is tried, with zeros and ones; a larger number is answered with a text.
    private struct Changing: ModelRunner {
        let lane = ModelLane.inline(rowsMax: 10)
        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            guard (inputs.columns[0].doubles() ?? []).contains(where: { $0 > 1 }) else { return try Ones().run(inputs, params: params, until: deadline) }
            return try Table([("score", Column(.string, values: Array(repeating: .string("many"), count: inputs.rowCount)))])
        }
    }

    private func load(_ inputs: [Signature.Input], _ runner: some ModelRunner = Ones()) throws(KeelError) -> LoadedModel {
        let signature = Signature(inputs: inputs, outputs: [.init("score", .float32)])
        return try LoadedModel(ModelBundle(flavor: .xgboost, model: [], signature: signature, featureService: nil, metrics: [:]), runner)
    }

    @Test("an answer that is not what the signature says is the model's fault, not the request's")
    func anotherAnswer() throws {
        let model = try load([.init("x", .float64)], Changing())
        func ask(_ x: Double) throws(KeelError) -> Table {
            try model.predict(try Table([("x", Column(.float64, .float64([x])))]), until: .now + .seconds(10))
        }
        #expect(try ask(1).rowCount == 1)
        let error = try #require(throws: KeelError.self) { _ = try ask(2) }
        #expect(error.code == .internal && error.message.contains("signature") && error.path == nil)
    }

    /// Answers another number each time.
    private final class Counting: ModelRunner {
        let lane = ModelLane.inline(rowsMax: 10)
        private let asked = Mutex(Float(0))
        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            let number = asked.withLock { asked in
                asked += 1
                return asked
            }
            return try Table([("score", Column(.float32, .float32(Array(repeating: number, count: inputs.rowCount))))])
        }
    }

    @Test("a model whose answers are drawn by chance is told from one that answers something else than was logged")
    func drawn() throws {
        let inputs = try Table([("x", Column(.float64, .float64([1, 2])))])
        let logged = try Table([("score", Column(.float32, .float32([0.25, 0.25])))])
        func refusal(of runner: some ModelRunner) throws -> String {
            let bundle = ModelBundle(
                flavor: .xgboost, model: [], signature: Signature(inputs: [.init("x", .float64)], outputs: [.init("score", .float32)]),
                featureService: nil, metrics: [:], example: ModelExample(inputs: inputs, outputs: logged))
            let error = try #require(throws: KeelError.self) { _ = try LoadedModel(bundle, runner) }
            #expect(error.code == .failedPrecondition)
            return error.message
        }
        #expect(try refusal(of: Counting()).contains("differently each time"))
        #expect(try refusal(of: Ones()).contains("score = 1.0; expected is 0.25"))
    }

    @Test("a signature with two inputs of one name is refused before anything is asked")
    func twoInputsOfOneName() throws {
        #expect(try load([.init("x", .float64), .init("y", .float64)]).primaryOutput == "score")
        let refused = try #require(throws: KeelError.self) { _ = try load([.init("x", .float64), .init("x", .float32)]) }
        #expect(refused.code == .contractViolation && refused.message.contains("two inputs of one name: x, x"))
    }
}
