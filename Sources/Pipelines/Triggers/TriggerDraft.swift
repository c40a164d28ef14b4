import Contracts
import Storage
import Synchronization

/// Triggers that are ready and not in force yet. See `TriggerService.prepare`.
public final class TriggerDraft: Sendable {
    let specs: [TriggerSpec]
    let authors: [String: String]
    let now: Timestamp
    /// As of the transaction that stored it.
    let memory = Mutex<[String: TriggerEngine.Memory]>([:])

    init(specs: [TriggerSpec], authors: [String: String], now: Timestamp) {
        self.specs = specs
        self.authors = authors
        self.now = now
    }

    /// Notes which triggers there are. A new one sees only what the ledger gets from this transaction on.
    public func store(_ tx: Transaction) throws {
        let seq = try tx.ledgerHead()
        for spec in specs {
            try tx.execute(
                "INSERT INTO pipeline_triggers (name, fired_at, ticked_at, seen_seq) VALUES (?, NULL, ?, ?) ON CONFLICT (name) DO NOTHING",
                [.string(spec.name), .timestamp(now), .int(seq)])
        }
        let declared = Set(specs.map(\.name))
        var memory: [String: TriggerEngine.Memory] = [:]
        for row in try tx.rows("SELECT * FROM pipeline_triggers") {
            let name = row.text("name")
            guard declared.contains(name) else {
                try tx.execute("DELETE FROM pipeline_triggers WHERE name = ?", [.string(name)])
                continue
            }
            memory[name] = TriggerEngine.Memory(
                firedAt: row.optionalTime("fired_at"), tickedAt: row.time("ticked_at"), seenSeq: row.int("seen_seq"),
                pausedAt: row.optionalTime("paused_at"))
        }
        self.memory.withLock { $0 = memory }
    }
}
