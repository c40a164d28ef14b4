import Contracts
import Storage

/// SQL of offers. A row belongs to the workspace that offers; the one that it is offered to finds it as its target.
enum OfferStore {
    /// The offers that the workspace made, and those made to it: the open ones first, then the newest.
    static func all(_ db: some Querying, now: Timestamp) throws -> [ModelOffer] {
        try db.rows(
            "SELECT * FROM registry_offers WHERE workspace = ? OR target = ? ORDER BY CASE WHEN state = 'open' THEN 0 ELSE 1 END, offered_at DESC, id DESC LIMIT 1000",
            [db.inWorkspace, db.inWorkspace]
        ).map { offer($0, now) }
    }

    /// - Throws: `notFound` also for an offer between others.
    static func find(_ db: some Querying, _ id: String, now: Timestamp) throws -> ModelOffer {
        let sql = "SELECT * FROM registry_offers WHERE id = ? AND (workspace = ? OR target = ?)"
        guard let row = try db.row(sql, [.string(id), db.inWorkspace, db.inWorkspace]) else {
            throw KeelError.notFound("there is no offer '\(id.prefix(80))'", hint: "keel offers lists those that there are")
        }
        return offer(row, now)
    }

    static func count(_ db: some Querying, since: Timestamp) throws -> Int64 {
        let sql = "SELECT count(*) AS n FROM registry_offers WHERE workspace = ? AND offered_at > ?"
        return try db.row(sql, [db.inWorkspace, .timestamp(since)])?.int("n") ?? 0
    }

    static func hasEnded(_ offer: ModelOffer) -> KeelError {
        KeelError(.failedPrecondition, "the offer '\(offer.id)' is \(offer.state.rawValue)", hint: "it takes a new offer")
    }

    static func insert(_ tx: Transaction, _ offer: ModelOffer) throws {
        try tx.execute(
            """
            INSERT INTO registry_offers (id, workspace, model, version, target, note, offered_by, offered_at, expires_at, state)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(offer.id), try tx.inWorkspace, .string(offer.version.name), .int(Int64(offer.version.version)),
                .string(offer.target.name), .string(offer.note), .string(offer.offeredBy), .timestamp(offer.offeredAt),
                .timestamp(offer.expiresAt), .string(offer.state.rawValue),
            ])
    }

    /// Ends an offer that is open.
    /// - Throws: `failedPrecondition` for one that has ended.
    static func end(_ tx: Transaction, _ offer: ModelOffer, _ state: ModelOffer.State, accepted: VersionKey? = nil, _ grant: Grant) throws {
        guard offer.state == .open else { throw hasEnded(offer) }
        try tx.execute(
            "UPDATE registry_offers SET state = ?, accepted_model = ?, accepted_version = ?, decided_by = ?, decided_at = ? WHERE id = ?",
            [
                .string(state.rawValue), accepted.map { .string($0.name) } ?? .null, accepted.map { .int(Int64($0.version)) } ?? .null,
                .string(grant.caller.name), .timestamp(tx.now), .string(offer.id),
            ])
    }

    private static func offer(_ row: SQLRow, _ now: Timestamp) -> ModelOffer {
        let expiresAt = row.time("expires_at")
        var state = ModelOffer.State(rawValue: row.text("state")) ?? .expired
        if state == .open, now >= expiresAt { state = .expired }
        return ModelOffer(
            id: row.text("id"), source: WorkspaceID(stored: row.text("workspace")),
            version: VersionKey(row.text("model"), Int(row.int("version"))), target: WorkspaceID(stored: row.text("target")),
            note: row.text("note"), offeredBy: row.text("offered_by"), offeredAt: row.time("offered_at"), expiresAt: expiresAt, state: state,
            accepted: row.optionalText("accepted_model").flatMap { name in
                row.optionalInt("accepted_version").map { VersionKey(name, Int($0)) }
            },
            decidedBy: row.optionalText("decided_by"), decidedAt: row.optionalTime("decided_at"))
    }
}
