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
        try WebhookEvent(
            entity: request.requiredWord("entity", of: entities).lowercased(),
            action: request.requiredWord("action", of: actions).lowercased())
    }

    // In protobuf's order.
    private static let entities = [
        "REGISTERED_MODEL", "MODEL_VERSION", "MODEL_VERSION_TAG", "MODEL_VERSION_ALIAS", "PROMPT", "PROMPT_VERSION", "PROMPT_TAG",
        "PROMPT_VERSION_TAG", "PROMPT_ALIAS", "BUDGET_POLICY",
    ]
    private static let actions = ["CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED"]

    static func test(_ test: WebhookTest) -> JSON {
        object([
            ("success", .bool(test.succeeded)), ("response_status", test.answer.map { .int(Int64($0.status)) }),
            ("response_body", test.answer.map { .string($0.body) }), ("error_message", test.error.map(JSON.string)),
        ])
    }
}
