import Contracts

public struct ModelTag: Sendable, Hashable {
    public let key: String
    public let value: String
    public init(_ key: String, _ value: String) { (self.key, self.value) = (key, value) }

    /// A model with this tag at `true` is a prompt.
    static let isPrompt = "mlflow.prompt.is_prompt"
}

extension [ModelTag] {
    /// The value of a tag as JSON, null when there is none.
    func value(_ key: String) -> JSON { last { $0.key == key }.map { .string($0.value) } ?? .null }

    public func text(_ key: String) -> String? { last { $0.key == key }?.value }

    /// Whether they say that what they are of is a prompt.
    var arePromptTags: Bool { text(ModelTag.isPrompt)?.lowercased() == "true" }
}

/// A movable name of one version: `champion`.
public struct ModelAlias: Sendable, Hashable {
    public let alias: String
    public let version: Int
}

/// A name under which versions of a model are registered.
public struct RegisteredModel: Sendable, Hashable {
    public let name: String
    public let description: String
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public var tags: [ModelTag] = []
    public var aliases: [ModelAlias] = []
    /// The newest version of each stage.
    public var latest: [ModelVersion] = []
}

/// MLflow's stages; new work uses aliases.
public enum ModelStage: String, Sendable, Hashable, CaseIterable {
    case none = "None"
    case staging = "Staging"
    case production = "Production"
    case archived = "Archived"
}

/// One version of a model. What it was made from never changes: only description, tags, stage and aliases may.
public struct ModelVersion: Sendable, Hashable {
    public let name: String
    /// 1, 2, 3 …; a number is never given twice, also after a deletion.
    public let version: Int
    /// Where the model lies, as it was given: `mlflow-artifacts:/…`, `models:/m-…`, a bundle's digest.
    public let source: String
    /// Where its files are, with `models:/` resolved.
    public let storageLocation: String
    public let runID: String?
    public let runLink: String?
    /// The logged model it was made from.
    public let modelID: String?
    public let userID: String
    public let stage: ModelStage
    public let description: String
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    /// What its files say it is; nil when they are not kept here, or have no `MLmodel`.
    public var facts: ModelFacts?
    public var tags: [ModelTag] = []
    public var aliases: [String] = []

    /// How it is referred to: `models:/delay/3`.
    public var uri: String { "models:/\(name)/\(version)" }
}
