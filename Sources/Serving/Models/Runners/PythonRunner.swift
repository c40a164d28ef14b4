import Contracts
import Workers

/// A model that its own Python code runs, in processes of its own.
final class PythonRunner: ModelRunner {
    private let pool: WorkerPool
    let lane: ModelLane

    /// - Parameter pool: started, with as many workers as threads call it.
    init(_ pool: WorkerPool, workers: Int) {
        self.pool = pool
        lane = .pooled(threads: workers)
    }

    /// The last request has let go of it: its processes end.
    deinit { Task { [pool] in await pool.stop() } }

    func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        try pool.call(inputs, params: params.isNull ? .object([]) : params, until: deadline)
    }
}
