import Contracts
import Registry
import Storage

/// Models, their changes and webhooks in Keel's JSON.
enum ModelWire {
    private static func tags(_ tags: [ModelTag]) -> JSON { .object(tags.map { JSON.Member($0.key, .string($0.value)) }) }

    static func model(_ model: RegisteredModel) -> JSON {
        [
            "name": .string(model.name), "description": .string(model.description), "tags": tags(model.tags),
            "aliases": .object(model.aliases.map { JSON.Member($0.alias, .int(Int64($0.version))) }),
            "latest": .array(model.latest.map { ["version": .int(Int64($0.version)), "stage": .string($0.stage.rawValue)] }),
            "created": .string(model.createdAt.description), "updated": .string(model.updatedAt.description),
        ]
    }

    static func version(_ version: ModelVersion) -> JSON {
        func text(_ value: String?) -> JSON { value.map(JSON.string) ?? .null }
        return [
            "name": .string(version.name), "version": .int(Int64(version.version)), "stage": .string(version.stage.rawValue),
            "aliases": .array(version.aliases.map(JSON.string)), "description": .string(version.description), "tags": tags(version.tags),
            "source": .string(version.source), "location": .string(version.storageLocation), "run": text(version.runID),
            "run_link": text(version.runLink), "model": text(version.modelID), "by": .string(version.userID),
            "created": .string(version.createdAt.description), "updated": .string(version.updatedAt.description),
            "signature": version.facts?.signature?.json ?? .null, "file": version.facts?.json ?? .null,
        ]
    }

    static func past(_ model: PastModel) -> JSON {
        [
            "name": .string(model.name), "description": .string(model.description),
            "tags": .object(model.tags.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }),
            "versions": .array(
                model.versions.sorted { $0.key < $1.key }.map { ["version": .int(Int64($0.key)), "stage": .string($0.value)] }),
            "aliases": .object(model.aliases.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .int(Int64($0.value))) }),
            "created": .string(model.createdAt.description),
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
            "id": .string(webhook.id), "name": .string(webhook.name), "url": .string(webhook.url), "description": .string(webhook.description),
            "events": .array(webhook.events.map { .string($0.rawValue) }), "status": .string(webhook.status.rawValue),
            "signed": .bool(webhook.hasSecret), "created": .string(webhook.createdAt.description), "updated": .string(webhook.updatedAt.description),
            "last_delivery": last.map(delivery) ?? .null,
        ]
    }

    static func delivery(_ delivery: WebhookDelivery) -> JSON {
        [
            "id": .string(delivery.id), "event": .string(delivery.event), "seq": .int(delivery.seq), "state": .string(delivery.state.rawValue),
            "attempts": .int(Int64(delivery.attempts)), "answer": delivery.answer.map { .int(Int64($0)) } ?? .null,
            "error": delivery.error.map(JSON.string) ?? .null, "due": .string(delivery.dueAt.description),
            "created": .string(delivery.createdAt.description), "updated": .string(delivery.updatedAt.description),
        ]
    }
}
