import Contracts
import Registry
import Storage

/// Models, their changes and webhooks in Keel's JSON.
enum ModelWire {
    static func past(_ model: PastModel) -> JSON {
        [
            "name": .string(model.name), "description": .string(model.description),
            "tags": .object(model.tags.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }),
            "versions": .array(
                model.versions.sorted { $0.key < $1.key }.map { ["version": .int(Int64($0.key)), "stage": .string($0.value)] }),
            "aliases": .object(model.aliases.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .int(Int64($0.value))) }),
            "latest_version": model.versions.keys.max().map { .int(Int64($0)) } ?? .null,
            "created_at": .string(model.createdAt.description), "updated_at": .string(model.updatedAt.description),
        ]
    }

    /// Without the hash chain, which the ledger shows.
    static func change(_ event: LedgerEvent) -> JSON {
        [
            "seq": .int(event.seq), "at": .string(event.at.description), "by": .string(event.caller), "persona": .string(event.persona),
            "request_id": .string(event.requestID), "kind": .string(event.kind), "subject": .string(event.subject), "data": event.data,
        ]
    }

    static func webhook(_ webhook: Webhook, last: WebhookDelivery?) -> JSON {
        [
            "id": .string(webhook.id), "name": .string(webhook.name), "url": .string(webhook.url),
            "description": .string(webhook.description),
            "events": .array(webhook.events.map { .string($0.rawValue) }), "status": .string(webhook.status.rawValue),
            "signed": .bool(webhook.hasSecret), "created": .string(webhook.createdAt.description),
            "updated": .string(webhook.updatedAt.description),
            "last_delivery": last.map(delivery) ?? .null,
        ]
    }

    static func delivery(_ delivery: WebhookDelivery) -> JSON {
        [
            "id": .string(delivery.id), "event": .string(delivery.event), "seq": .int(delivery.seq),
            "state": .string(delivery.state.rawValue),
            "attempts": .int(Int64(delivery.attempts)), "answer": delivery.answer.map { .int(Int64($0)) } ?? .null,
            "error": delivery.error.map(JSON.string) ?? .null, "due": .string(delivery.dueAt.description),
            "created": .string(delivery.createdAt.description), "updated": .string(delivery.updatedAt.description),
        ]
    }

    /// `{"team": "ops"}`
    static func tags(_ reader: FieldReader) throws(KeelError) -> [ModelTag] {
        try TrackingJSON.texts(reader, "tags").map { ModelTag($0.key, $0.value) }
    }
}
