import Contracts
import Synchronization

/// Tells who wants to know that something was stored of a run: metrics, params and tags are too many for the ledger, which others follow.
///
/// Observers are called after the transaction, with the run's id, by whoever wrote. They must return at once.
public final class RunChanges: Sendable {
    private let observers = Mutex<[@Sendable (_ run: String) -> Void]>([])

    init() {}

    public func observe(_ told: @escaping @Sendable (_ run: String) -> Void) { observers.withLock { $0.append(told) } }

    func tell(_ run: String) {
        for observer in observers.withLock({ $0 }) { observer(run) }
    }
}
