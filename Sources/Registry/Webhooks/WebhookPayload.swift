import Contracts
import Storage

/// What a ledger event is to a webhook: MLflow's event and its data.
struct WebhookPayload {
    let event: WebhookEvent
    let data: JSON

    /// Nil for changes that webhooks are not told of.
    init?(_ event: LedgerEvent) {
        guard event.subject.hasPrefix("Model/") else { return nil }
        let (data, prompt) = (event.data, event.data["prompt"] == .bool(true))
        let name: (String, JSON) = ("name", .string(String(event.subject.dropFirst("Model/".count))))
        let version: (String, JSON) = ("version", .string(data["version"]?.integer.map(String.init) ?? ""))
        let key = ("key", data["key"] ?? .null)
        func make(_ event: WebhookEvent, _ fields: (String, JSON)...) -> WebhookPayload {
            WebhookPayload(event, .object(fields.map { JSON.Member($0.0, $0.1) }))
        }
        switch event.kind {
        case "model.created":
            let tags = ("tags", WebhookPayload.tags(data, without: prompt ? [ModelTag.isPrompt, "_mlflow_prompt_type"] : []))
            self = make(prompt ? .promptCreated : .modelCreated, name, tags, ("description", data["description"] ?? .null))
        case "model.version.created":
            let description = ("description", data["description"]?.string == "" ? JSON.null : data["description"] ?? .null)
            if prompt {
                let text = ("template", data["tags"]?["mlflow.prompt.text"] ?? .null)
                let tags = WebhookPayload.tags(data, without: [ModelTag.isPrompt, "_mlflow_prompt_type", "mlflow.prompt.text"])
                self = make(.promptVersionCreated, name, version, text, ("tags", tags), description)
            } else {
                let source: [(String, JSON)] = [("source", data["source"] ?? .null), ("run_id", data["run"] ?? .null)]
                self = make(.versionCreated, name, version, source[0], source[1], ("tags", data["tags"] ?? [:]), description)
            }
        case "model.tagged" where prompt: self = make(.promptTagSet, name, key, ("value", data["after"] ?? .null))
        case "model.untagged" where prompt: self = make(.promptTagDeleted, name, key)
        case "model.version.tagged":
            self = make(prompt ? .promptVersionTagSet : .versionTagSet, name, version, key, ("value", data["after"] ?? .null))
        case "model.version.untagged": self = make(prompt ? .promptVersionTagDeleted : .versionTagDeleted, name, version, key)
        case "model.alias.set":
            self = make(prompt ? .promptAliasCreated : .versionAliasCreated, name, ("alias", data["alias"] ?? .null), version)
        case "model.alias.removed":
            self = make(prompt ? .promptAliasDeleted : .versionAliasDeleted, name, ("alias", data["alias"] ?? .null))
        default: return nil
        }
    }

    private init(_ event: WebhookEvent, _ data: JSON) { (self.event, self.data) = (event, data) }

    /// The whole body of a delivery.
    func body(at time: Timestamp) -> String { WebhookPayload.body(event, data, at: time) }

    static func body(_ event: WebhookEvent, _ data: JSON, at time: Timestamp) -> String {
        let body: JSON = [
            "entity": .string(event.entity), "action": .string(event.action), "timestamp": .string(time.description), "data": data,
        ]
        return body.text
    }

    /// Made-up data of the same shape, for tests of a webhook.
    static func example(_ event: WebhookEvent) -> JSON {
        let thing =
            event.rawValue.hasPrefix("prompt") ? "prompt" : event.entity.hasPrefix("model_version") ? "model version" : "registered model"
        let name = JSON.string(thing == "prompt" ? "example_prompt" : "example_model")
        let tags: JSON = ["example_key": "example_value"]
        switch event {
        case .modelCreated: return ["name": name, "tags": tags, "description": "An example registered model"]
        case .promptCreated: return ["name": name, "tags": tags, "description": "An example prompt"]
        case .versionCreated:
            return [
                "name": name, "version": "1", "source": "models:/123", "run_id": "abcd1234abcd5678", "tags": tags,
                "description": "An example model version",
            ]
        case .promptVersionCreated:
            return ["name": name, "version": "1", "template": "Hello {{name}}!", "tags": tags, "description": "An example prompt version"]
        case .versionTagSet, .promptVersionTagSet: return ["name": name, "version": "1", "key": "example_key", "value": "example_value"]
        case .versionTagDeleted, .promptVersionTagDeleted: return ["name": name, "version": "1", "key": "example_key"]
        case .promptTagSet: return ["name": name, "key": "example_key", "value": "example_value"]
        case .promptTagDeleted: return ["name": name, "key": "example_key"]
        case .versionAliasCreated, .promptAliasCreated: return ["name": name, "alias": "example_alias", "version": "1"]
        case .versionAliasDeleted, .promptAliasDeleted: return ["name": name, "alias": "example_alias"]
        case .budgetExceeded:
            return [
                "budget_policy_id": "bp-abc123", "budget_unit": "USD", "budget_amount": 100.0, "current_spend": 105.5,
                "duration_unit": "MONTHS",
                "duration_value": 1, "target_scope": "ENDPOINT", "workspace": "default", "target_value": "ep-abc123",
                "window_start": 1_704_067_200_000,
            ]
        }
    }

    private static func tags(_ data: JSON, without internals: Set<String>) -> JSON {
        .object((data["tags"]?.members ?? []).filter { !internals.contains($0.key) })
    }
}
