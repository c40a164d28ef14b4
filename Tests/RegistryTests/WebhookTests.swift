import Contracts
import Foundation
import Registry
import Storage
import Synchronization
import Testing

/// Answers as it is told and keeps what it was sent.
private final class Answering: WebhookSender {
    struct Sent: Sendable {
        let body: String
        let headers: [String: String]
        let url: String
    }
    let sent = Mutex<[Sent]>([])
    private let statuses: Mutex<[Int]>

    init(_ statuses: [Int] = []) { self.statuses = Mutex(statuses) }

    func check(url: String) async throws {
        if url.contains("internal") { throw KeelError.invalid("internal") }
    }

    func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer {
        sent.withLock {
            $0.append(Sent(body: body, headers: Dictionary(uniqueKeysWithValues: headers.map { ($0.name, $0.value) }), url: url))
        }
        return WebhookAnswer(status: statuses.withLock { $0.isEmpty ? 200 : $0.removeFirst() }, body: "")
    }
}

private struct WebhookFixture {
    let database: Storage.Database
    let registry: RegistryService
    let webhooks: WebhookService
    let sender: Answering
    let grant: Grant
    let write: Grant

    init(_ statuses: [Int] = []) async throws {
        let home = try await Fixture()
        (database, registry, write) = (home.database, home.registry, home.write)
        sender = Answering(statuses)
        webhooks = WebhookService(database: database, sender: sender, secrets: try SecretBox(key: SecretBox.newKey()))
        grant = try Grant.check(Caller(name: "ada", persona: .owner), may: .webhooksManage)
    }

    /// Follows until `count` deliveries are finished.
    func follow(_ webhook: Webhook, until count: Int) async throws -> [WebhookDelivery] {
        let follower = Task { await WebhookFollower(webhooks, report: { Issue.record("\($0)") }).run() }
        defer { follower.cancel() }
        while true {
            let finished = try await webhooks.deliveries(id: webhook.id, grant).filter { $0.state != .pending }
            if finished.count >= count { return finished }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

@Suite("Webhooks")
struct WebhookTests {
    @Test("a delivery is signed, and the same follower after a restart sends nothing twice")
    func signed() async throws {
        let f = try await WebhookFixture()
        let hook = try await f.webhooks.create(
            name: "ci", url: "https://example.com", events: [.modelCreated, .versionAliasCreated], secret: "secret", f.grant)
        _ = try await f.registry.createModel(name: "delay", f.write)
        let first = try await f.follow(hook, until: 1)
        #expect(first.map(\.state) == [.delivered] && first[0].attempts == 1)
        let sent = try #require(f.sender.sent.withLock { $0.first })
        let (id, time) = (try #require(sent.headers["X-MLflow-Delivery-Id"]), try #require(sent.headers["X-MLflow-Timestamp"]))
        #expect(id == first[0].id)
        #expect(sent.headers["X-MLflow-Signature"] == "v1," + messageSignature(of: "\(id).\(time).\(sent.body)", secret: "secret"))
        _ = try await f.registry.createVersion(model: "delay", source: "s3://b/m", f.write)
        try await f.registry.setAlias(model: "delay", alias: "champion", version: 1, f.write)
        _ = try await f.follow(hook, until: 2)
        #expect(f.sender.sent.withLock { $0.count } == 2)
    }

    @Test("an answer that says try later is tried again with the same id and body; a refusal is final")
    func retries() async throws {
        let f = try await WebhookFixture([503, 200, 404])
        let hook = try await f.webhooks.create(name: "ci", url: "https://example.com", events: [.modelCreated], f.grant)
        _ = try await f.registry.createModel(name: "a", f.write)
        let delivered = try await f.follow(hook, until: 1)
        #expect(delivered[0].attempts == 2 && delivered[0].answer == 200)
        #expect(f.sender.sent.withLock { Set($0.map { $0.headers["X-MLflow-Delivery-Id"] }).count } == 1)
        _ = try await f.registry.createModel(name: "b", f.write)
        let refused = try await f.follow(hook, until: 2)
        #expect(refused[0].state == .failed && refused[0].attempts == 1 && refused[0].answer == 404)
    }

    @Test("only what comes after a webhook was made is told, and only what it asked for")
    func scope() async throws {
        let f = try await WebhookFixture()
        _ = try await f.registry.createModel(name: "before", f.write)
        let hook = try await f.webhooks.create(name: "ci", url: "https://example.com", events: [.versionTagSet], f.grant)
        _ = try await f.registry.createVersion(model: "before", source: "s3://b/m", f.write)
        try await f.registry.setTag(model: "before", version: 1, ModelTag("k", "v"), f.write)
        _ = try await f.follow(hook, until: 1)
        #expect(f.sender.sent.withLock { $0.map(\.body) }.count == 1)
        #expect(f.sender.sent.withLock { $0[0].body }.contains(#""data":{"name":"before","version":"1","key":"k","value":"v"}"#))
    }

    @Test("the secret is sealed for its webhook, and is in no ledger event")
    func secrets() async throws {
        let f = try await WebhookFixture()
        let hook = try await f.webhooks.create(
            name: "ci", url: "https://example.com", events: [.modelCreated], secret: "hush-hush", f.grant)
        let sealed = try #require(try await f.database.read { try $0.row("SELECT secret FROM registry_webhooks")?.text("secret") })
        #expect(!sealed.contains("hush") && hook.hasSecret)
        let events = try await f.database.read { try $0.ledgerEvents() }
        #expect(events.contains { $0.kind == "webhook.created" } && !events.contains { $0.data.text.contains("hush") })
        let box = try SecretBox(key: SecretBox.newKey())
        let text = try box.seal("x", for: "a")
        #expect(try box.open(text, for: "a") == "x")
        #expect(throws: KeelError.self) { try box.open(text, for: "b") }
        #expect(throws: KeelError.self) { try SecretBox(key: SecretBox.newKey()).open(text, for: "a") }
        #expect(try await f.webhooks.update(id: hook.id, secret: "", f.grant).hasSecret == false)
    }

    @Test("bad names, no events and addresses that the sender refuses change nothing")
    func refused() async throws {
        let f = try await WebhookFixture()
        for (name, url, events) in [
            ("-", "https://x", [WebhookEvent.modelCreated]), ("ok", "https://internal", [.modelCreated]), ("ok", "https://x", []),
        ] {
            await #expect(throws: KeelError.self) { _ = try await f.webhooks.create(name: name, url: url, events: events, f.grant) }
        }
        #expect(try await f.webhooks.list(f.grant).items.isEmpty)
        #expect(try await f.database.read { try $0.ledgerHead() } == 0)
    }
}
