import Atomics
import Contracts

/// One request's rows on their way through a pooled model. It is answered once: by the model, or at its deadline.
final class ModelCall: Sendable {
    let inputs: Table
    let params: JSON
    let deadline: ContinuousClock.Instant
    private let submitted = Tick.now
    /// Nanoseconds; −1 while no thread has taken the call.
    private let waited = ManagedAtomic<Int>(-1)
    private let done: @Sendable (Result<Table, KeelError>, _ waited: Int) -> Void
    private let isAnswered = ManagedAtomic<Bool>(false)
    /// Rows that are run together.
    private static let rowsMax = 1024

    /// - Parameter done: called with the answer, and with how many nanoseconds the call waited for a thread.
    init(
        _ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant,
        done: @escaping @Sendable (Result<Table, KeelError>, _ waited: Int) -> Void
    ) {
        self.inputs = inputs
        self.params = params
        self.deadline = deadline
        self.done = done
    }

    /// Notes that a thread has taken the call.
    func begin() { waited.store(Tick.now - submitted, ordering: .relaxed) }

    func answer(_ result: Result<Table, KeelError>) {
        guard !isAnswered.exchange(true, ordering: .relaxed) else { return }
        let waited = waited.load(ordering: .relaxed)
        done(result, waited < 0 ? Tick.now - submitted : waited)
    }

    /// Which of the waiting calls are run with the first: as many as have the same columns and params and keep the rows few.
    static func joined(_ first: ModelCall, _ waiting: [ModelCall]) -> [Int] {
        var rows = first.inputs.rowCount
        var positions: [Int] = []
        for (i, call) in waiting.enumerated() {
            guard rows + call.inputs.rowCount <= rowsMax else { break }
            guard call.params == first.params, call.inputs.hasColumns(of: first.inputs) else { continue }
            rows += call.inputs.rowCount
            positions.append(i)
        }
        return positions
    }

    /// Runs calls that belong together as one, and gives each its rows. When they fail together each is run alone, so that none fails for another's rows.
    static func run(_ calls: [ModelCall], by model: LoadedModel) {
        let open = calls.filter { !$0.isAnswered.load(ordering: .relaxed) }
        guard let first = open.first else { return }
        guard open.count > 1, let latest = open.map(\.deadline).max() else {
            do throws(KeelError) {
                first.answer(.success(try model.predict(first.inputs, params: first.params, until: first.deadline)))
            } catch { first.answer(.failure(error)) }
            return
        }
        do throws(KeelError) {
            let answer = try model.predict(Table(joining: open.map(\.inputs)), params: first.params, until: latest)
            var start = 0
            for call in open {
                let end = start + call.inputs.rowCount
                call.answer(.success(answer.rows(start..<end)))
                start = end
            }
        } catch {
            for call in open { run([call], by: model) }
        }
    }
}
