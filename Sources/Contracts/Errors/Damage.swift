import Synchronization

/// Something stored that is not what it was, and what that keeps from working.
public struct Damage: Sendable, Hashable {
    /// What it concerns, as `Kind/name`: nothing else is affected.
    public let subject: String
    /// The workspace of the subject; what concerns the server is of `default`.
    public let workspace: WorkspaceID
    public let what: String
    public let hint: String?
    /// When it was found.
    public let since: Timestamp

    public init(subject: String, in workspace: WorkspaceID = .default, what: String, hint: String?, since: Timestamp) {
        self.subject = subject
        self.workspace = workspace
        self.what = what
        self.hint = hint
        self.since = since
    }

    /// The subject as those name it who see all workspaces: `Dataset/clicks`, `fraud:Dataset/clicks`.
    public var fullSubject: String { workspace == .default ? subject : "\(workspace):\(subject)" }

    public var json: JSON {
        [
            "subject": .string(subject), "workspace": .string(workspace.name), "what": .string(what), "hint": hint.map(JSON.string) ?? .null,
            "since": .string(since.description),
        ]
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
        /// What the last configuration of each workspace met; replaced by the next.
        var configuration: [WorkspaceID: [Damage]] = [:]
    }
    private let state = Mutex(State())
    private static let findingsMax = 1000

    public init(clock: any Clock = SystemClock()) {
        self.clock = clock
        (findings, source) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(DamageRegister.findingsMax))
    }

    /// Every finding in every workspace, by workspace and subject, those of `default` and of the server first.
    public var all: [Damage] {
        let found = state.withLock { state in
            state.lasting + state.configuration.values.joined().filter { one in !state.lasting.contains { $0.isSame(as: one) } }
        }
        return found.sorted {
            ($0.workspace == .default ? "" : $0.workspace.name, $0.subject, $0.what) < (
                $1.workspace == .default ? "" : $1.workspace.name, $1.subject, $1.what
            )
        }
    }

    /// The findings in one workspace, by subject.
    public func all(in workspace: WorkspaceID) -> [Damage] { all.filter { $0.workspace == workspace } }

    /// Adds a finding that stays until the process ends.
    public func report(_ thing: ResourceRef, _ error: KeelError) { report(thing.subject, in: thing.workspace, error) }

    /// Adds a finding that concerns the server.
    public func report(_ subject: String, _ error: KeelError) { report(subject, in: .default, error) }

    private func report(_ subject: String, in workspace: WorkspaceID, _ error: KeelError) {
        let damage = finding(subject, workspace, error)
        let isNew = state.withLock { state in
            guard state.lasting.count < DamageRegister.findingsMax, !state.lasting.contains(where: { $0.isSame(as: damage) }) else {
                return false
            }
            state.lasting.append(damage)
            return true
        }
        if isNew { source.yield(damage) }
    }

    /// Puts what a configuration of a workspace met in the place of what the one before it met.
    /// - Returns: what is new.
    public func replaceConfiguration(
        of workspace: WorkspaceID, with failures: [(subject: String, error: KeelError)]
    ) -> [(subject: String, error: KeelError)] {
        let known = state.withLock { state in
            let known = state.configuration[workspace] ?? []
            state.configuration[workspace] = failures.prefix(DamageRegister.findingsMax).map { failure in
                let met = finding(failure.subject, workspace, failure.error)
                return known.first { $0.isSame(as: met) } ?? met
            }
            return known
        }
        let new = failures.filter { failure in
            let met = finding(failure.subject, workspace, failure.error)
            return !known.contains { $0.isSame(as: met) }
        }
        for (subject, error) in new { source.yield(finding(subject, workspace, error)) }
        return new
    }

    private func finding(_ subject: String, _ workspace: WorkspaceID, _ error: KeelError) -> Damage {
        Damage(
            subject: subject, in: workspace, what: error.path.map { "\($0): \(error.message)" } ?? error.message, hint: error.hint,
            since: clock.now())
    }
}

extension Damage {
    fileprivate func isSame(as other: Damage) -> Bool { subject == other.subject && workspace == other.workspace && what == other.what }
}
