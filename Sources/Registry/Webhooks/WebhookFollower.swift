import Contracts
import Storage

/// Brings the ledger's events to the webhooks, at least once each.
///
/// Two steps, so that a crash at any point neither loses nor endlessly repeats: events become deliveries in one transaction with the position in
/// the ledger; each delivery is then sent until it is answered, refused or given up, with an id that stays the same.
public actor WebhookFollower {
    private let service: WebhookService
    private let report: @Sendable (KeelError) -> Void
    /// Webhooks that are being sent to.
    private var busy: Set<String> = []
    private var position: Int64?
    private var forgotAt: Timestamp = .distantPast
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    /// Webhooks that are sent to at one time; to each its deliveries go one after the other.
    static let concurrency = 8
    static let attemptsMax = 8
    /// Deliveries that may wait for one webhook; what comes beyond is recorded as failed.
    static let pendingMax = 10_000
    static let keptFor = TimeSpan.days(7)
    private static let retried: Set<Int> = [429, 500, 502, 503, 504]

    public init(_ service: WebhookService, report: @escaping @Sendable (KeelError) -> Void) {
        (self.service, self.report) = (service, report)
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Follows until the task is cancelled.
    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { [self] in
                for await _ in service.database.ledgerHeads() { wake.yield() }
            }
            group.addTask { [self] in
                // Retries come due by the clock.
                repeat { wake.yield() } while (try? await Task.sleep(for: .milliseconds(500))) != nil
                wake.finish()
            }
            for await _ in wakes {
                do {
                    try await makeDeliveries()
                    for id in try await startable() {
                        busy.insert(id)
                        group.addTask { [self] in await sendAll(to: id) }
                    }
                } catch  where !Task.isCancelled {
                    report(.wrapping(error))
                } catch { break }
            }
            group.cancelAll()
        }
    }

    // MARK: From events to deliveries

    private func makeDeliveries() async throws {
        let database = service.database
        while !Task.isCancelled {
            let from: Int64
            if let position { from = position } else { from = try await database.read { try WebhookStore.position($0) } }
            let (webhooks, events, head) = try await database.read { db in
                let webhooks = try WebhookStore.all(db)
                let head = try db.ledgerHead()
                // What nobody is to be told of need not be read: a webhook is told only of what comes after it was made.
                let events = try webhooks.isEmpty || head == from ? [] : db.followLedger(after: from, prefix: "model.", limit: 500)
                return (webhooks, events, head)
            }
            let full = events.count == 500
            let through = full ? events[events.count - 1].seq : head
            let wanted = events.flatMap { event in
                guard let payload = WebhookPayload(event) else { return [(LedgerEvent, WebhookPayload, String)]() }
                let told = webhooks.filter {
                    $0.workspace.name == event.workspace && $0.webhook.status == .active && $0.since < event.seq && $0.webhook.events.contains(payload.event)
                }
                return told.map { (event, payload, $0.webhook.id) }
            }
            if !events.isEmpty {
                try await database.write { tx in
                    for (event, payload, webhook) in wanted { try WebhookFollower.insert(tx, event, payload, webhook) }
                    try WebhookStore.setPosition(tx, through)
                }
            } else if through - from > 10_000 {
                try await database.write { try WebhookStore.setPosition($0, through) }
            }
            position = through
            if !full { break }
        }
        try await forget()
    }

    private static func insert(_ tx: Transaction, _ event: LedgerEvent, _ payload: WebhookPayload, _ webhook: String) throws {
        // It may have been deleted since it was read.
        guard try tx.row("SELECT id FROM registry_webhooks WHERE id = ?", [.string(webhook)]) != nil else { return }
        let full = try WebhookStore.pendingCount(tx, webhook) >= pendingMax
        try WebhookStore.insert(
            tx,
            WebhookDelivery(
                id: Identifier.uuid(), webhookID: webhook, seq: event.seq, event: payload.event.rawValue, body: payload.body(at: event.at),
                state: full ? .failed : .pending, attempts: 0, dueAt: tx.now, answer: nil,
                error: full ? "\(pendingMax) deliveries wait for this webhook already" : nil, createdAt: tx.now, updatedAt: tx.now))
    }

    private func forget() async throws {
        let now = service.database.clock.now()
        guard forgotAt + .hours(1) < now else { return }
        forgotAt = now
        try await service.database.write { try WebhookStore.forget($0, before: now - WebhookFollower.keptFor) }
    }

    // MARK: Sending

    private func startable() async throws -> [String] {
        guard busy.count < WebhookFollower.concurrency else { return [] }
        let now = service.database.clock.now()
        let due = try await service.database.read { try WebhookStore.dueWebhooks($0, at: now) }
        return Array(due.filter { !busy.contains($0) }.prefix(WebhookFollower.concurrency - busy.count))
    }

    private func sendAll(to id: String) async {
        do {
            let now = service.database.clock.now()
            let due = try await service.database.read { try WebhookStore.due($0, id, at: now, limit: 50) }
            for delivery in due where !Task.isCancelled {
                guard let webhook = try? await service.database.read({ try WebhookStore.find($0, id) }) else { break }
                try await send(delivery, to: webhook)
            }
        } catch {
            // One that was called off at the end of the server is sent at its next start.
            if !Task.isCancelled { report(.wrapping(error)) }
        }
        busy.remove(id)
        wake.yield()
    }

    private func send(_ delivery: WebhookDelivery, to webhook: Webhook) async throws {
        guard webhook.status == .active else { return try await finish(delivery, .failed, answer: nil, error: "the webhook is disabled") }
        do {
            let answer = try await service.send(delivery.body, id: delivery.id, to: webhook)
            switch answer.status {
            case 200..<300: try await finish(delivery, .delivered, answer: answer.status, error: nil)
            case let status where WebhookFollower.retried.contains(status):
                try await retry(delivery, answer: status, error: "answered \(status)", after: answer.retryAfter)
            default: try await finish(delivery, .failed, answer: answer.status, error: "answered \(answer.status)")
            }
        } catch let error as KeelError where error.code == .unavailable {
            // A stop of the server is no fault of the receiver: it is sent again after the next start.
            if Task.isCancelled { return }
            try await retry(delivery, answer: nil, error: error.message, after: nil)
        } catch let error as KeelError where error.code == .invalidArgument || error.code == .corrupted {
            try await finish(delivery, .failed, answer: nil, error: error.message)
        }
    }

    private func finish(_ delivery: WebhookDelivery, _ state: WebhookDelivery.State, answer: Int?, error: String?) async throws {
        try await service.database.write { tx in
            try WebhookStore.update(tx, delivery.id, state, attempts: delivery.attempts + 1, due: tx.now, answer: answer, error: error)
        }
    }

    private func retry(_ delivery: WebhookDelivery, answer: Int?, error: String, after seconds: Int?) async throws {
        guard delivery.attempts + 1 < WebhookFollower.attemptsMax else {
            return try await finish(delivery, .failed, answer: answer, error: "\(error), \(delivery.attempts + 1) times")
        }
        // 1, 2, 4 … seconds, up to 10 minutes, each with up to half of it more so that receivers are not all asked at once.
        let base = min(Double(1 << delivery.attempts), 600)
        let wait = max(base * Double.random(in: 1...1.5), Double(min(seconds ?? 0, 600)))
        try await service.database.write { tx in
            let due = Timestamp(milliseconds: tx.now.milliseconds + Int64(saturating: wait * 1000))
            try WebhookStore.update(tx, delivery.id, .pending, attempts: delivery.attempts + 1, due: due, answer: answer, error: error)
        }
    }
}
