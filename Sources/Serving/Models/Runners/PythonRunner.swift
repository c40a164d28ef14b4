import Contracts
import Workers

/// A model that its own Python code runs, in processes of its own.
final class PythonRunner: ModelRunner {
    private let pool: WorkerPool
    private let use: PythonModelUse
    let lane: ModelLane

    /// - Parameters:
    ///   - pool: started, with as many workers as threads call it.
    ///   - use: of the folders that the pool runs in.
    init(_ pool: WorkerPool, use: PythonModelUse, workers: Int) {
        self.pool = pool
        self.use = use
        lane = .pooled(threads: workers)
    }

    /// The last request has let go of it: its processes end.
    deinit {
        Task { [pool, use] in
            await pool.stop()
            withExtendedLifetime(use) {}
        }
    }

    func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        try pool.call(inputs, params: params.isNull ? .object([]) : params, until: deadline)
    }
}
