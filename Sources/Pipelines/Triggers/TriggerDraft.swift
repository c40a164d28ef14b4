import Contracts
import Storage
import Synchronization

/// Triggers that are ready and not in force yet. See `TriggerService.prepare`.
public final class TriggerDraft: Sendable {
    /// The workspace whose triggers they are: those of others stay as they are.
    let workspace: WorkspaceID
    let specs: [TriggerSpec]
    let authors: [String: String]
    let now: Timestamp
    /// As of the transaction that stored it.
    let memory = Mutex<[String: TriggerEngine.Memory]>([:])

    init(in workspace: WorkspaceID, specs: [TriggerSpec], authors: [String: String], now: Timestamp) {
        self.workspace = workspace
        self.specs = specs
        self.authors = authors
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
