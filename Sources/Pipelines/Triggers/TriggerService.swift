import Contracts
import Storage

/// Runs the trigger engine over the ledger and the clock, and does what it says.
///
/// Every decision is one transaction: the start of the run (when there is one), the event `trigger.fired` or `trigger.skipped`, and the trigger's memory.
/// So an alert starts a pipeline exactly once, whatever crashes in between.
public actor TriggerService {
    let database: Storage.Database
    private let pipelines: PipelineService
    /// The caller that an author's name stands for in a workspace now; nil when the author has no access to it any more.
    private let authority: @Sendable (_ author: String, WorkspaceID) -> Caller?
    private let clock: any Clock
    /// By workspace and name.
    var authors: [WorkspaceID: [String: TriggerAuthors]] = [:]
    var engines: [WorkspaceID: TriggerEngine] = [:]
    /// The actor is left while a transaction runs; this keeps decisions one after another.
    private let turn = Turn()

    /// - Parameter authority: the caller that an author's name stands for in a workspace now; nil when the author has no access to it any more.
    public init(
        database: Storage.Database, pipelines: PipelineService, clock: any Clock = SystemClock(),
        authority: @escaping @Sendable (_ author: String, WorkspaceID) -> Caller?
    ) {
        self.database = database
        self.pipelines = pipelines
        self.authority = authority
        self.clock = clock
    }

    /// Takes the triggers that are declared in a workspace now. A new one sees only what happens from now on.
    public func configure(_ specs: [TriggerSpec], authors: [String: TriggerAuthors], in workspace: WorkspaceID) async throws {
        let draft = await prepare(specs, authors: authors, in: workspace)
        do { try await database.write(in: workspace) { tx in try draft.store(tx) } } catch {
            discard(draft)
            throw error
        }
        activate(draft)
    }

    /// Makes these triggers ready. Nothing changes until `store` and then `activate`; a draft that is given up goes to `discard`.
    ///
    /// Until one of the two is called, no trigger fires.
    /// - Parameter left: triggers that are declared and cannot be put in force: they keep what they remember.
    public func prepare(
        _ specs: [TriggerSpec], authors: [String: TriggerAuthors], keeping left: Set<String> = [], in workspace: WorkspaceID
    ) async -> TriggerDraft {
        await turn.take()
        return TriggerDraft(in: workspace, specs: specs, authors: authors, left: left, now: clock.now())
    }

    /// Puts a draft in force whose `store` is committed. Cannot fail.
    public func activate(_ draft: TriggerDraft) {
        engines[draft.workspace] =
            draft.specs.isEmpty
            ? nil : TriggerEngine(triggers: draft.specs, memory: draft.memory.withLock { $0 }, now: draft.now, seq: 0)
        authors[draft.workspace] = draft.authors
        turn.give()
    }

    /// Gives a draft up: what was in force stays.
    public func discard(_ draft: TriggerDraft) { turn.give() }

    /// Considers every ledger event not considered yet, for the triggers of its workspace, then the clock.
    /// - Returns: what was done, in order.
    @discardableResult
    public func advance() async throws -> [TriggerAction] {
        try await alone {
            var done: [TriggerAction] = []
            var pending: [LedgerEvent] = []
            guard let since = engines.values.flatMap(\.memory.values).map(\.seenSeq).min() else { return [] }
            for kind in [TriggerEngine.alertKind, TriggerEngine.snapshotKind] {
                var after = since
                while true {
                    let from = after
                    let events = try await database.read { try $0.ledgerEvents(after: from, kind: kind, limit: 500) }
                    pending.append(contentsOf: events)
                    guard events.count == 500, let last = events.last else { break }
                    after = last.seq
                }
            }
            for event in pending.sorted(by: { $0.seq < $1.seq }) {
                for workspace in engines.keys where workspace.name != event.workspace { engines[workspace]?.pass(seq: event.seq) }
                done += try await decide(in: WorkspaceID(stored: event.workspace)) {
                    $0.observe(seq: event.seq, kind: event.kind, subject: event.subject, data: event.data, at: event.at)
                }
            }
            let now = clock.now()
            for workspace in engines.keys.sorted(by: { $0.name < $1.name }) { done += try await decide(in: workspace) { $0.tick(now: now) } }
            return done
        }
    }

    /// Follows the ledger and the clock until the task is cancelled; an operating error goes to `report` and is tried again.
    public func follow(report: @escaping @Sendable (KeelError) -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await _ in database.ledgerHeads() { await attempt(report) }
            }
            group.addTask { [self] in
                while !Task.isCancelled {
                    await attempt(report)
                    try? await Task.sleep(for: .seconds(20))
                }
            }
        }
    }

    private func attempt(_ report: @Sendable (KeelError) -> Void) async {
        do { try await advance() } catch {
            let error = KeelError.wrapping(error)
            if error.code != .cancelled { report(error) }
        }
    }

    func alone<T>(_ body: () async throws -> T) async throws -> T { try await turn.run(body) }

    /// Asks the engine of a workspace and does what it says.
    private func decide(in workspace: WorkspaceID, _ ask: (inout TriggerEngine) -> [TriggerAction]) async throws -> [TriggerAction] {
        guard var engine = engines[workspace] else { return [] }
        let before = engine
        let actions = ask(&engine)
        engines[workspace] = engine
        var done: [TriggerAction] = []
        for action in actions {
            do {
                done.append(try await carryOut(action, in: workspace, before: before))
            } catch {
                // Nothing of this decision is kept: it is taken again.
                engines[workspace] = before
                throw error
            }
        }
        return done
    }

    private func carryOut(_ action: TriggerAction, in workspace: WorkspaceID, before: TriggerEngine) async throws -> TriggerAction {
        let name = action.trigger
        guard let memory = engines[workspace]?.memory[name], let earlier = before.memory[name] else { return action }
        let caller = Caller.system("trigger/\(name)", in: workspace)
        switch action {
        case .skip(_, let now, let reason):
            try await database.write(in: workspace) { tx in
                try TriggerService.keep(memory, of: name, tx)
                try tx.record(
                    "trigger.skipped", on: "Trigger/\(name)", ["reason": .string(reason), "eventTime": .string(now.description)], by: caller
                )
            }
            return action
        case .start(_, let pipeline, let parameters, let now, let reason):
            do {
                let grant = try grant(for: name, in: workspace, on: "Pipeline/\(pipeline)")
                _ = try await pipelines.start(
                    pipeline: pipeline, parameters: parameters, reason: reason, now: now, useCache: true, grant: grant
                ) { tx, run in
                    try TriggerService.keep(memory, of: name, tx)
                    try tx.record(
                        "trigger.fired", on: "Trigger/\(name)",
                        [
                            "run": .string(run), "pipeline": .string(pipeline), "reason": .string(reason),
                            "author": .string(grant.caller.name), "eventTime": .string(now.description),
                        ], by: caller)
                }
                return action
            } catch let error as KeelError where [.invalidArgument, .notFound, .permissionDenied, .unavailable].contains(error.code) {
                engines[workspace]?.startFailed(name, before: earlier)
                var undone = memory
                undone.firedAt = earlier.firedAt
                let (kept, why) = (undone, "\(reason); the pipeline could not be started: \(error)")
                try await database.write(in: workspace) { tx in
                    try TriggerService.keep(kept, of: name, tx)
                    try tx.record(
                        "trigger.skipped", on: "Trigger/\(name)", ["reason": .string(why), "eventTime": .string(now.description)],
                        by: caller)
                }
                return .skip(trigger: name, now: now, reason: why)
            }
        }
    }

    /// The author's own permission, asked anew each time: a trigger can do no more than who applied it, and nothing once they are gone. Whoever changes a
    /// pipeline gains nothing by it: the run does no more than this one may, or a data scientist, when this one is gone.
    private func grant(for trigger: String, in workspace: WorkspaceID, on subject: String) throws(KeelError) -> Grant {
        let names = authors[workspace]?[trigger]
        let author = names?.trigger ?? ""
        guard let caller = authority(author, workspace), caller.workspace == workspace else {
            throw KeelError(
                .permissionDenied, "the access of its author '\(author)' was revoked or has expired",
                hint: "someone who may run pipelines applies the trigger again")
        }
        guard let other = names?.pipeline, other != author else { return try Grant.check(caller, may: .pipelinesRun, on: subject) }
        let able = authority(other, workspace).map { other in Set(Action.allCases.filter { other.may($0, on: nil) }) }
        let limited = caller.limited(to: able ?? Permissions.actions(of: .dataScientist), by: subject)
        return try Grant.check(limited, may: .pipelinesRun, on: subject)
    }

    private static func keep(_ memory: TriggerEngine.Memory, of name: String, _ tx: Transaction) throws {
        try tx.execute(
            "UPDATE pipeline_triggers SET fired_at = ?, ticked_at = ?, seen_seq = ? WHERE workspace = ? AND name = ?",
            [
                memory.firedAt.map(Value.timestamp) ?? .null, .timestamp(memory.tickedAt), .int(memory.seenSeq), try tx.inWorkspace,
                .string(name),
            ])
    }
}
