import Contracts

/// What a webhook can be told of, as MLflow names it.
public enum WebhookEvent: String, Sendable, Hashable, CaseIterable {
    case modelCreated = "registered_model.created"
    case versionCreated = "model_version.created"
    case versionTagSet = "model_version_tag.set"
    case versionTagDeleted = "model_version_tag.deleted"
    case versionAliasCreated = "model_version_alias.created"
    case versionAliasDeleted = "model_version_alias.deleted"
    case promptCreated = "prompt.created"
    case promptVersionCreated = "prompt_version.created"
    case promptTagSet = "prompt_tag.set"
    case promptTagDeleted = "prompt_tag.deleted"
    case promptVersionTagSet = "prompt_version_tag.set"
    case promptVersionTagDeleted = "prompt_version_tag.deleted"
    case promptAliasCreated = "prompt_alias.created"
    case promptAliasDeleted = "prompt_alias.deleted"
    /// Nothing of Keel exceeds a budget yet: it can be asked for, as with MLflow, and tested.
    case budgetExceeded = "budget_policy.exceeded"

    public var entity: String { String(rawValue.prefix { $0 != "." }) }
    public var action: String { String(rawValue.drop { $0 != "." }.dropFirst()) }

    /// - Throws: `invalidArgument` in MLflow's words.
    public init(entity: String, action: String) throws(KeelError) {
        if let event = WebhookEvent(rawValue: "\(entity).\(action)") {
            self = event
            return
        }
        let actions = WebhookEvent.allCases.filter { $0.entity == entity }.map { "'\($0.action)'" }.sorted()
        guard !actions.isEmpty else { throw .invalid("'\(entity.prefix(100))' is not an entity of webhooks") }
        throw .invalid(
            "Invalid action '\(action.prefix(100))' for entity '\(entity)'. Valid actions are: [\(actions.joined(separator: ", "))]")
    }
}

public enum WebhookStatus: String, Sendable, Hashable, CaseIterable {
    case active = "ACTIVE"
    case disabled = "DISABLED"
}

/// Who is told of changes. Its secret is not part of it: nothing that shows a webhook can show the secret.
public struct Webhook: Sendable, Hashable {
    public let id: String
    public let name: String
    public let url: String
    public let description: String
    public let events: [WebhookEvent]
    public let status: WebhookStatus
    public let hasSecret: Bool
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
}

/// One event on its way to one webhook.
public struct WebhookDelivery: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        /// To be sent, or sent again.
        case pending
        case delivered
        /// Given up: refused by the receiver, or by the rules of addresses, or tried too often.
        case failed
    }
    /// Stays the same however often it is sent, so that a receiver can tell a repetition.
    public let id: String
    public let webhookID: String
    /// The ledger event it tells of.
    public let seq: Int64
    public let event: String
    public let body: String
    public let state: State
    public let attempts: Int
    /// When it is sent next, while pending.
    public let dueAt: Timestamp
    /// The status of the last answer.
    public let answer: Int?
    public let error: String?
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
}

/// What a test came to.
public struct WebhookTest: Sendable, Hashable {
    public let answer: WebhookAnswer?
    public let error: String?
    public var succeeded: Bool { (answer?.status ?? 500) < 400 }
}
