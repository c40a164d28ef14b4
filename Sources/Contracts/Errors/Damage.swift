import Synchronization

/// Something stored that is not what it was, and what that keeps from working.
public struct Damage: Sendable, Hashable {
    /// What it concerns, as `Kind/name`: nothing else is affected.
    public let subject: String
    public let what: String
    public let hint: String?
    /// When it was found.
    public let since: Timestamp

    public init(subject: String, what: String, hint: String?, since: Timestamp) {
        self.subject = subject
        self.what = what
        self.hint = hint
        self.since = since
    }

    public var json: JSON {
        ["subject": .string(subject), "what": .string(what), "hint": hint.map(JSON.string) ?? .null, "since": .string(since.description)]
    }
}

/// The damage that is known now. Anything that meets damage reports it here, from any thread, and goes on without what is damaged.
///
/// A finding is the same when its subject and its words are the same, and is then kept once.
public final class DamageRegister: Sendable {
    /// New findings, each once, for whoever records them.
    public let findings: AsyncStream<Damage>
    private let source: AsyncStream<Damage>.Continuation
    private let clock: any Clock
    private struct State {
        var lasting: [Damage] = []
        /// What the last configuration met; replaced by the next.
        var configuration: [Damage] = []
    }
    private let state = Mutex(State())
    private static let findingsMax = 1000

    public init(clock: any Clock = SystemClock()) {
        self.clock = clock
        (findings, source) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(DamageRegister.findingsMax))
    }

    /// Every finding, by subject.
    public var all: [Damage] {
        let found = state.withLock { state in
            state.lasting + state.configuration.filter { one in !state.lasting.contains { $0.isSame(as: one) } }
        }
        return found.sorted { ($0.subject, $0.what) < ($1.subject, $1.what) }
    }

    /// Adds a finding that stays until the process ends.
    public func report(_ subject: String, _ error: KeelError) {
        let damage = finding(subject, error)
        let isNew = state.withLock { state in
            guard state.lasting.count < DamageRegister.findingsMax, !state.lasting.contains(where: { $0.isSame(as: damage) }) else {
                return false
            }
            state.lasting.append(damage)
            return true
        }
        if isNew { source.yield(damage) }
    }

    /// Puts what a configuration met in the place of what the one before it met.
    /// - Returns: what is new.
    public func replaceConfiguration(with failures: [(subject: String, error: KeelError)]) -> [(subject: String, error: KeelError)] {
        let known = state.withLock { state in
            let known = state.configuration
            state.configuration = failures.prefix(DamageRegister.findingsMax).map { failure in
                let met = finding(failure.subject, failure.error)
                return known.first { $0.isSame(as: met) } ?? met
            }
            return known
        }
        let new = failures.filter { failure in
            let met = finding(failure.subject, failure.error)
            return !known.contains { $0.isSame(as: met) }
        }
        for (subject, error) in new { source.yield(finding(subject, error)) }
        return new
    }

    private func finding(_ subject: String, _ error: KeelError) -> Damage {
        Damage(subject: subject, what: error.path.map { "\($0): \(error.message)" } ?? error.message, hint: error.hint, since: clock.now())
    }
}

extension Damage {
    fileprivate func isSame(as other: Damage) -> Bool { subject == other.subject && what == other.what }
}
