import Contracts
import Storage
import Synchronization

/// Puts refusals into the ledger as `access.denied`, with a bound on how many a flood of them can write (see `DenialLimiter`).
///
/// An event's `count` says how many refusals it stands for; the counts of all events add up to all refusals. Counts that are held back are lost
/// only when the process dies within the minute.
public final class AccessAudit: Sendable {
    private let database: Database
    private let clock: any Clock
    private let limiter = Mutex(DenialLimiter())

    public init(database: Database, clock: any Clock = SystemClock()) { (self.database, self.clock) = (database, clock) }

    /// Notes that `caller` was refused `action` on `subject` (`Kind/name` or `*`).
    public func recordDenial(_ caller: Caller, action: Action, subject: String) async throws {
        // The subject may come from the request: its length is bounded.
        let place = String(subject.prefix(200))
        let now = clock.now()
        try await record(limiter.withLock { $0.note(caller, action, place, at: now) })
    }

    /// Records what is held back; for a timer and the shutdown.
    public func flush() async throws { try await record(limiter.withLock { $0.flush() }) }

    private func record(_ denials: [Denial]) async throws {
        guard !denials.isEmpty else { return }
        do {
            try await database.write { tx in
                for denial in denials {
                    try tx.record(
                        "access.denied", on: denial.subject, ["action": .string(denial.action.rawValue), "count": .int(denial.count)],
                        by: denial.caller)
                }
            }
        } catch {
            let now = clock.now()
            limiter.withLock { $0.restore(denials, at: now) }
            throw error
        }
    }
}
