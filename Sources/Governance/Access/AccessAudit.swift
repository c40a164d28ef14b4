import Contracts
import Storage
import Synchronization

/// Puts into the ledger who came in, as `access.authenticated`, and who was refused, as `access.denied`; with a bound on how much either can write
/// (see `LoginJournal`, `DenialLimiter`).
///
/// An event's `count` says how many refusals it stands for; the counts of all events add up to all refusals. Counts that are held back are lost
/// only when the process dies within the minute.
public final class AccessAudit: Sendable {
    private let database: Database
    private let clock: any Clock
    private let limiter = Mutex(DenialLimiter())
    private let logins: Mutex<LoginLimiter>
    private let journal = Mutex(LoginJournal())
    private let report: @Sendable (String) -> Void

    /// - Parameters:
    ///   - refusalsMax: how many requests without a caller a client may send at once before it is told to wait; it gains one a second.
    ///   - report: gets a line for the log with each event about requests without a caller, so as rarely as there are events.
    public init(
        database: Database, clock: any Clock = SystemClock(), refusalsMax: Int = 10, report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.database = database
        self.clock = clock
        self.report = report
        logins = Mutex(LoginLimiter(burst: refusalsMax))
    }

    /// Notes that a request of the client at this address has no caller, without making it wait.
    /// - Returns: whether the client was refused so often that it should be told to wait.
    public func noteRefusedLogin(of client: String, because reason: String) -> Bool {
        let now = clock.now()
        let events = limiter.withLock { $0.note(.nobody, "authenticate.\(reason)", "Client/\(client)", at: now) }
        if !events.isEmpty { Task { try await record(events) } }
        return logins.withLock { $0.isOver(client, at: now) }
    }

    /// Notes that a request of the client at this address has this caller.
    public func noteLogin(of caller: Caller, from client: String) {
        guard journal.withLock({ $0.isNew(caller, client, at: clock.now()) }) else { return }
        Task {
            try await database.write { tx in
                try tx.record("access.authenticated", on: "Client/\(client)", by: caller)
            }
        }
    }

    /// Notes that `caller` was refused `action` on `subject` (`Kind/name` or `*`).
    public func recordDenial(_ caller: Caller, action: Action, subject: String) async throws {
        // The subject may come from the request: its length is bounded.
        let place = String(subject.prefix(200))
        let now = clock.now()
        try await record(limiter.withLock { $0.note(caller, action.rawValue, place, at: now) })
    }

    /// Records what is held back; for a timer and the shutdown.
    public func flush() async throws { try await record(limiter.withLock { $0.flush() }) }

    private func record(_ denials: [Denial]) async throws {
        guard !denials.isEmpty else { return }
        for denial in denials where denial.action.hasPrefix("authenticate.") {
            report("refused \(denial.count) requests: \(denial.action), \(denial.subject)")
        }
        do {
            try await database.write { tx in
                for denial in denials {
                    try tx.record(
                        "access.denied", on: denial.subject, ["action": .string(denial.action), "count": .int(denial.count)],
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
