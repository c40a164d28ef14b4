import Contracts
import Storage

/// Webhooks: who is told of the registry's changes, and what became of it.
public struct WebhookService: Sendable {
    let database: Database
    let sender: any WebhookSender
    let secrets: SecretBox
    /// More would make every change of the registry expensive.
    static let webhooksMax = 1000

    public init(database: Database, sender: any WebhookSender, secrets: SecretBox) {
        (self.database, self.sender, self.secrets) = (database, sender, secrets)
    }

    public func create(
        name: String, url: String, events: [WebhookEvent], description: String? = nil, secret: String? = nil,
        status: WebhookStatus = .active,
        _ grant: Grant
    ) async throws -> Webhook {
        try grant.require(.webhooksManage)
        try WebhookRules.check(name: name)
        try WebhookRules.check(text: description, "description")
        try WebhookRules.check(text: secret, "secret")
        try await sender.check(url: url)
        try WebhookRules.check(events)
        let id = Identifier.hex32().asUUID
        let sealed = try secret.flatMap { $0.isEmpty ? nil : $0 }.map { try secrets.seal($0, for: "Webhook/\(id)") }
        return try await database.write(in: grant.workspace) { tx in
            guard try WebhookStore.count(tx) < WebhookService.webhooksMax else {
                throw KeelError(.failedPrecondition, "there are \(WebhookService.webhooksMax) webhooks already", hint: "delete one first")
            }
            let webhook = Webhook(
                id: id, name: name, url: url, description: description ?? "", events: events.unique, status: status,
                hasSecret: sealed != nil,
                createdAt: tx.now, updatedAt: tx.now)
            try tx.record("webhook.created", on: "Webhook/\(id)", WebhookService.json(webhook), by: grant)
            try WebhookStore.save(tx, webhook, secret: sealed)
            return webhook
        }
    }

    public func webhook(id: String, _ grant: Grant) async throws -> Webhook {
        try grant.require(.webhooksManage)
        return try await database.read(in: grant.workspace) { try WebhookStore.find($0, id) }
    }

    /// Newest first, 100 a page unless asked for otherwise.
    public func list(pageSize: Int? = nil, pageToken: String? = nil, _ grant: Grant) async throws -> Page<Webhook> {
        try grant.require(.webhooksManage)
        let size = pageSize.flatMap { $0 == 0 ? nil : $0 } ?? 100
        guard (1...1000).contains(size) else { throw KeelError.invalid("max_results must be between 1 and 1000.") }
        return try await database.read(in: grant.workspace) { try WebhookStore.list($0, size: size, token: pageToken) }
    }

    /// What is nil stays as it is; an empty secret takes it away.
    public func update(
        id: String, name: String? = nil, url: String? = nil, events: [WebhookEvent]? = nil, description: String? = nil,
        secret: String? = nil,
        status: WebhookStatus? = nil, _ grant: Grant
    ) async throws -> Webhook {
        try grant.require(.webhooksManage)
        _ = try await webhook(id: id, grant)
        if let name { try WebhookRules.check(name: name) }
        try WebhookRules.check(text: description, "description")
        try WebhookRules.check(text: secret, "secret")
        if let url { try await sender.check(url: url) }
        if let events { try WebhookRules.check(events) }
        let sealed = try secret.map { $0.isEmpty ? "" : try secrets.seal($0, for: "Webhook/\(id)") }
        return try await database.write(in: grant.workspace) { tx in
            let old = try WebhookStore.find(tx, id)
            let kept = try sealed ?? WebhookStore.sealedSecret(tx, id) ?? ""
            let new = Webhook(
                id: id, name: name ?? old.name, url: url ?? old.url, description: description ?? old.description,
                events: events?.unique ?? old.events, status: status ?? old.status, hasSecret: !kept.isEmpty, createdAt: old.createdAt,
                updatedAt: tx.now)
            try WebhookStore.save(tx, new, secret: kept.isEmpty ? nil : kept)
            let data: JSON = [
                "before": WebhookService.json(old), "after": WebhookService.json(new), "secret_changed": .bool(secret != nil),
            ]
            try tx.record("webhook.updated", on: "Webhook/\(id)", data, by: grant)
            return new
        }
    }

    /// Deletes a webhook, and what was still to be sent to it.
    public func delete(id: String, _ grant: Grant) async throws {
        try grant.require(.webhooksManage)
        try await database.write(in: grant.workspace) { tx in
            let webhook = try WebhookStore.find(tx, id)
            try WebhookStore.delete(tx, id)
            try tx.record("webhook.deleted", on: "Webhook/\(id)", WebhookService.json(webhook), by: grant)
        }
    }

    /// Sends made-up data once, without trying again.
    public func test(id: String, event: WebhookEvent? = nil, _ grant: Grant) async throws -> WebhookTest {
        try grant.require(.webhooksManage)
        let webhook = try await webhook(id: id, grant)
        let event = event ?? webhook.events.first ?? .modelCreated
        do {
            let answer = try await send(
                WebhookPayload.body(event, WebhookPayload.example(event), at: database.clock.now()), id: Identifier.uuid(), to: webhook)
            return WebhookTest(answer: answer, error: nil)
        } catch { return WebhookTest(answer: nil, error: "Failed to test webhook: \(KeelError.wrapping(error).message)") }
    }

    /// What was sent to a webhook, newest first.
    /// - Parameter before: the id of the last delivery of the page before.
    public func deliveries(id: String, before: String? = nil, limit: Int = 100, _ grant: Grant) async throws -> [WebhookDelivery] {
        try grant.require(.webhooksManage)
        return try await database.read(in: grant.workspace) { db in
            _ = try WebhookStore.find(db, id)
            return try WebhookStore.deliveries(db, id, before: before, limit: min(max(limit, 1), 1000))
        }
    }

    /// Webhooks whose secret cannot be opened, each with the reason: the key of secrets is not the one it was sealed with.
    public func unreadableSecrets(_ grant: Grant) async throws -> [(id: String, error: KeelError)] {
        try grant.require(.registryRead)
        return try await database.read(in: grant.workspace) { [secrets] db in
            try WebhookStore.sealedSecrets(db).compactMap { id, sealed in
                do throws(KeelError) {
                    _ = try secrets.open(sealed, for: "Webhook/\(id)")
                    return nil
                } catch { return (id: id, error: error) }
            }
        }
    }

    /// One attempt, signed.
    func send(_ body: String, id: String, to webhook: Webhook) async throws -> WebhookAnswer {
        let seconds = String(database.clock.now().milliseconds / 1000)
        var headers = [("Content-Type", "application/json"), ("X-MLflow-Delivery-Id", id), ("X-MLflow-Timestamp", seconds)]
        if let sealed = try await database.read({ try WebhookStore.sealedSecret($0, webhook.id) }) {
            let secret = try secrets.open(sealed, for: "Webhook/\(webhook.id)")
            headers.append(("X-MLflow-Signature", "v1," + messageSignature(of: "\(id).\(seconds).\(body)", secret: secret)))
        }
        return try await sender.post(body, headers: headers.map { (name: $0.0, value: $0.1) }, to: webhook.url)
    }

    static func json(_ webhook: Webhook) -> JSON {
        [
            "name": .string(webhook.name), "url": .string(webhook.url), "description": .string(webhook.description),
            "events": .array(webhook.events.map { .string($0.rawValue) }), "status": .string(webhook.status.rawValue),
            "secret": .bool(webhook.hasSecret),
        ]
    }
}

/// The rules of webhooks, with MLflow's wording.
enum WebhookRules {
    static func check(name: String) throws(KeelError) {
        func alphanumeric(_ b: UInt8) -> Bool { (b >= 48 && b <= 57) || (b >= 65 && b <= 90) || (b >= 97 && b <= 122) }
        let bytes = Array(name.utf8)
        let fits = bytes.allSatisfy { alphanumeric($0) || $0 == 46 || $0 == 95 || $0 == 45 }
        guard let first = bytes.first, let last = bytes.last, bytes.count <= 63, fits, alphanumeric(first), alphanumeric(last) else {
            throw .invalid(
                "Webhook name '\(name.prefix(100))' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
            )
        }
    }

    static func check(_ events: [WebhookEvent]) throws(KeelError) {
        guard !events.isEmpty else { throw .invalid("Webhook events must be a non-empty list of WebhookEvent objects: [].") }
    }

    static func check(text: String?, _ path: String) throws(KeelError) {
        if let text { try EntityName.check(length: text, of: path, atMost: 1000) }
    }
}

extension [WebhookEvent] {
    fileprivate var unique: [WebhookEvent] {
        var seen: Set<WebhookEvent> = []
        return filter { seen.insert($0).inserted }
    }
}

extension String {
    /// 32 hexadecimal characters with dashes.
    fileprivate var asUUID: String {
        let text = Array(self)
        return [text[0..<8], text[8..<12], text[12..<16], text[16..<20], text[20..<32]].map { String($0) }.joined(separator: "-")
    }
}
