import Contracts
import Synchronization

/// Keeps pushes of one dataset in one order through the log and the features.
package final class PushGate: Sendable {
    private final class Lane: Sendable {
        let turn = Mutex(())
    }
    private let lanes = Mutex<[ResourceRef: Lane]>([:])

    package init() {}

    /// Runs what must not happen beside a push of the dataset. The time under the lock is that of appending to a log and folding rows into memory.
    package func run<T: Sendable>(_ dataset: ResourceRef, _ body: () -> Result<T, KeelError>) throws(KeelError) -> T {
        let lane = lanes.withLock { lanes in
            if let lane = lanes[dataset] { return lane }
            let made = Lane()
            lanes[dataset] = made
            return made
        }
        return try lane.turn.withLock { _ in body() }.get()
    }
}
