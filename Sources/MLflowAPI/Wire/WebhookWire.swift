import Contracts
import Registry

/// Webhooks in MLflow's JSON; a secret is never in it.
enum WebhookWire {
    static func webhook(_ webhook: Webhook) -> JSON {
        object([
            ("webhook_id", .string(webhook.id)), ("name", .string(webhook.name)), ("url", .string(webhook.url)),
            (
                "events",
                list(webhook.events.map { ["entity": .string($0.entity.uppercased()), "action": .string($0.action.uppercased())] })
            ),
            ("description", webhook.description.isEmpty ? JSON?.none : .string(webhook.description)),
            ("status", .string(webhook.status.rawValue)),
            ("creation_timestamp", .int(webhook.createdAt.milliseconds)), ("last_updated_timestamp", .int(webhook.updatedAt.milliseconds)),
        ])
    }

    static func event(_ request: MLflowRequest) throws -> WebhookEvent {
        try WebhookEvent(entity: request.text("entity"), action: request.text("action"))
    }

    static func test(_ test: WebhookTest) -> JSON {
        object([
            ("success", .bool(test.succeeded)), ("response_status", test.answer.map { .int(Int64($0.status)) }),
            ("response_body", test.answer.map { .string($0.body) }), ("error_message", test.error.map(JSON.string)),
        ])
    }
}
