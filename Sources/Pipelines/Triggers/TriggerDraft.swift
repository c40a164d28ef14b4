import Contracts
import Storage
import Synchronization

/// In whose name a trigger starts its pipeline.
public struct TriggerAuthors: Sendable, Hashable {
    /// Who applied the trigger: its runs may do what this one may.
    public let trigger: String
    /// Who applied the pipeline last: its runs do no more than this one may either.
    public let pipeline: String

    public init(trigger: String, pipeline: String) {
        self.trigger = trigger
        self.pipeline = pipeline
    }
}

/// Triggers that are ready and not in force yet. See `TriggerService.prepare`.
public final class TriggerDraft: Sendable {
    /// The workspace whose triggers they are: those of others stay as they are.
    let workspace: WorkspaceID
    let specs: [TriggerSpec]
    let authors: [String: TriggerAuthors]
    /// Those that cannot be put in force, and keep what they remember.
    let left: Set<String>
    let now: Timestamp
    /// As of the transaction that stored it.
    let memory = Mutex<[String: TriggerEngine.Memory]>([:])

    init(in workspace: WorkspaceID, specs: [TriggerSpec], authors: [String: TriggerAuthors], left: Set<String>, now: Timestamp) {
        self.workspace = workspace
        self.specs = specs
        self.authors = authors
        self.left = left
        self.now = now
    }

    /// Notes which triggers there are, in a transaction of their workspace. A new one sees only what the ledger gets from this transaction on.
    public func store(_ tx: Transaction) throws {
        let seq = try tx.ledgerHead()
        let workspace = try tx.inWorkspace
        for spec in specs {
            try tx.execute(
                """
                INSERT INTO pipeline_triggers (workspace, name, fired_at, ticked_at, seen_seq) VALUES (?, ?, NULL, ?, ?)
                ON CONFLICT (workspace, name) DO NOTHING
                """,
                [workspace, .string(spec.name), .timestamp(now), .int(seq)])
        }
        let declared = Set(specs.map(\.name))
        var memory: [String: TriggerEngine.Memory] = [:]
        for row in try tx.rows("SELECT * FROM pipeline_triggers WHERE workspace = ?", [workspace]) {
            let name = row.text("name")
            guard declared.contains(name) else {
                if left.contains(name) { continue }
                try tx.execute("DELETE FROM pipeline_triggers WHERE workspace = ? AND name = ?", [workspace, .string(name)])
                continue
            }
            memory[name] = TriggerEngine.Memory(
                firedAt: row.optionalTime("fired_at"), tickedAt: row.time("ticked_at"), seenSeq: row.int("seen_seq"),
                pausedAt: row.optionalTime("paused_at"))
        }
        self.memory.withLock { $0 = memory }
    }
}
