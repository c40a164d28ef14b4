import Contracts
import Storage

/// SQL of webhooks and their deliveries.
enum WebhookStore {
    static func find(_ db: some Querying, _ id: String) throws -> Webhook {
        let row = try db.row("SELECT * FROM registry_webhooks WHERE id = ?", [.string(id)])
        // Deliveries are sent for all workspaces.
        guard let row, db.workspace == nil || db.workspace?.name == row.text("workspace") else {
            throw KeelError.notFound("Webhook with ID \(id.prefix(100)) not found.")
        }
        return webhook(row)
    }

    /// Newest first.
    static func list(_ db: some Querying, size: Int, token: String?) throws -> Page<Webhook> {
        let order = KeysetOrder([.init("created_ms", ascending: false), .init("id", ascending: false)])
        let after = try token.flatMap { $0.isEmpty ? nil : order.after(try order.values(of: $0, query: "webhooks")) }
        let rows = try db.rows(
            """
            SELECT *, \(order.columns.sql) FROM registry_webhooks WHERE workspace = ? AND \(after?.sql ?? "1 = 1")
            ORDER BY \(order.orderBy.sql) LIMIT ?
            """, [db.inWorkspace] + (after?.parameters ?? []) + [.int(Int64(size) + 1)])
        let page = Array(rows.prefix(size))
        return Page(
            items: page.map(webhook), nextToken: rows.count > size ? page.last.map { order.token(after: $0, query: "webhooks") } : nil)
    }

    static func count(_ db: some Querying) throws -> Int { Int(try db.row("SELECT count(*) AS n FROM registry_webhooks")?.int("n") ?? 0) }

    static func save(_ tx: Transaction, _ webhook: Webhook, secret: String?) throws {
        try tx.execute(
            """
            INSERT INTO registry_webhooks (id, workspace, name, url, description, events, status, secret, created_seq, created_ms, updated_ms)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url, description = excluded.description, events = excluded.events,
                status = excluded.status, secret = excluded.secret, updated_ms = excluded.updated_ms
            """,
            [
                .string(webhook.id), try tx.inWorkspace, .string(webhook.name), .string(webhook.url), .string(webhook.description),
                .string(JSON.array(webhook.events.map { .string($0.rawValue) }).text), .string(webhook.status.rawValue),
                secret.map(Value.string) ?? .null, .int(try tx.ledgerHead()), .int(webhook.createdAt.milliseconds),
                .int(webhook.updatedAt.milliseconds),
            ])
    }

    static func sealedSecret(_ db: some Querying, _ id: String) throws -> String? {
        try db.row("SELECT secret FROM registry_webhooks WHERE id = ?", [.string(id)])?.optionalText("secret")
    }

    static func sealedSecrets(_ db: some Querying) throws -> [(id: String, sealed: String)] {
        try db.rows("SELECT id, secret FROM registry_webhooks WHERE secret <> '' ORDER BY id").map { ($0.text("id"), $0.text("secret")) }
    }

    static func delete(_ tx: Transaction, _ id: String) throws {
        try tx.execute("DELETE FROM registry_deliveries WHERE webhook_id = ?", [.string(id)])
        try tx.execute("DELETE FROM registry_webhooks WHERE id = ?", [.string(id)])
    }

    // MARK: Deliveries

    static func position(_ db: some Querying) throws -> Int64 {
        try db.row("SELECT seq FROM registry_webhook_position WHERE id = 1")?.int("seq") ?? 0
    }

    static func setPosition(_ tx: Transaction, _ seq: Int64) throws {
        try tx.execute("UPDATE registry_webhook_position SET seq = ? WHERE id = 1", [.int(seq)])
    }

    /// Those of all workspaces, each with the ledger's head at its making.
    static func all(_ db: some Querying) throws -> [(webhook: Webhook, workspace: WorkspaceID, since: Int64)] {
        try db.rows("SELECT * FROM registry_webhooks ORDER BY id").map {
            (webhook($0), WorkspaceID(stored: $0.text("workspace")), $0.int("created_seq"))
        }
    }

    static func insert(_ tx: Transaction, _ delivery: WebhookDelivery) throws {
        try tx.execute(
            """
            INSERT INTO registry_deliveries (id, webhook_id, seq, event, body, state, attempts, due_ms, answer, error, created_ms, updated_ms)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)
            """,
            [
                .string(delivery.id), .string(delivery.webhookID), .int(delivery.seq), .string(delivery.event), .string(delivery.body),
                .string(delivery.state.rawValue), .int(Int64(delivery.attempts)), .int(delivery.dueAt.milliseconds),
                delivery.error.map(Value.string) ?? .null, .int(delivery.createdAt.milliseconds), .int(delivery.updatedAt.milliseconds),
            ])
    }

    /// Webhooks with something to send now.
    static func dueWebhooks(_ db: some Querying, at now: Timestamp) throws -> [String] {
        try db.rows(
            "SELECT DISTINCT webhook_id FROM registry_deliveries WHERE state = 'pending' AND due_ms <= ? LIMIT 1000",
            [.int(now.milliseconds)]
        ).map { $0.text("webhook_id") }
    }

    /// What one webhook is to be sent now, in the order of events.
    static func due(_ db: some Querying, _ webhook: String, at now: Timestamp, limit: Int) throws -> [WebhookDelivery] {
        try db.rows(
            "SELECT * FROM registry_deliveries WHERE webhook_id = ? AND state = 'pending' AND due_ms <= ? ORDER BY seq, id LIMIT ?",
            [.string(webhook), .int(now.milliseconds), .int(Int64(limit))]
        ).map(delivery)
    }

    static func pendingCount(_ db: some Querying, _ webhook: String) throws -> Int {
        Int(
            try db.row("SELECT count(*) AS n FROM registry_deliveries WHERE webhook_id = ? AND state = 'pending'", [.string(webhook)])?.int(
                "n")
                ?? 0)
    }

    static func update(
        _ tx: Transaction, _ id: String, _ state: WebhookDelivery.State, attempts: Int, due: Timestamp, answer: Int?, error: String?
    ) throws {
        try tx.execute(
            "UPDATE registry_deliveries SET state = ?, attempts = ?, due_ms = ?, answer = ?, error = ?, updated_ms = ? WHERE id = ?",
            [
                .string(state.rawValue), .int(Int64(attempts)), .int(due.milliseconds), answer.map { .int(Int64($0)) } ?? .null,
                error.map(Value.string) ?? .null, .int(tx.now.milliseconds), .string(id),
            ])
    }

    /// Newest first, before a delivery's id.
    static func deliveries(_ db: some Querying, _ webhook: String, before id: String?, limit: Int) throws -> [WebhookDelivery] {
        try db.rows(
            "SELECT * FROM registry_deliveries WHERE webhook_id = ?\(id == nil ? "" : " AND id < ?") ORDER BY id DESC LIMIT ?",
            [.string(webhook)] + (id.map { [.string($0)] } ?? []) + [.int(Int64(limit))]
        ).map(delivery)
    }

    /// Forgets what was finished before an instant.
    static func forget(_ tx: Transaction, before time: Timestamp) throws {
        try tx.execute("DELETE FROM registry_deliveries WHERE updated_ms < ? AND state <> 'pending'", [.int(time.milliseconds)])
    }

    private static func webhook(_ row: SQLRow) -> Webhook {
        let events = (try? row.json("events").array) ?? []
        return Webhook(
            id: row.text("id"), name: row.text("name"), url: row.text("url"), description: row.text("description"),
            events: events.compactMap { $0.string.flatMap(WebhookEvent.init(rawValue:)) },
            status: WebhookStatus(rawValue: row.text("status")) ?? .disabled,
            hasSecret: row.optionalText("secret") != nil, createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")))
    }

    private static func delivery(_ row: SQLRow) -> WebhookDelivery {
        WebhookDelivery(
            id: row.text("id"), webhookID: row.text("webhook_id"), seq: row.int("seq"), event: row.text("event"), body: row.text("body"),
            state: WebhookDelivery.State(rawValue: row.text("state")) ?? .failed, attempts: Int(row.int("attempts")),
            dueAt: Timestamp(milliseconds: row.int("due_ms")), answer: row.optionalInt("answer").map(Int.init),
            error: row.optionalText("error"),
            createdAt: Timestamp(milliseconds: row.int("created_ms")), updatedAt: Timestamp(milliseconds: row.int("updated_ms")))
    }
}
