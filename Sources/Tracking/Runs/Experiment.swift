import Contracts

/// Whether a thing is in use or in the bin; what is in the bin can be restored.
public enum Lifecycle: String, Sendable, Hashable, CaseIterable { case active, deleted }

/// Which things a search sees.
public enum ViewType: String, Sendable, CaseIterable {
    case activeOnly = "ACTIVE_ONLY"
    case deletedOnly = "DELETED_ONLY"
    case all = "ALL"

    var lifecycles: [Lifecycle] {
        switch self {
        case .activeOnly: [.active]
        case .deletedOnly: [.deleted]
        case .all: [.active, .deleted]
        }
    }
}

/// A key and a text: a tag or a parameter.
public struct KeyValue: Sendable, Hashable {
    public let key: String
    public let value: String
    public init(_ key: String, _ value: String) { (self.key, self.value) = (key, value) }
}

/// A named set of runs.
public struct Experiment: Sendable, Hashable {
    /// A decimal number as text; `0` is the experiment `Default`.
    public let id: String
    public let name: String
    /// Where artifacts of its runs go: `mlflow-artifacts:/{id}` unless the user chose another place.
    public let artifactLocation: String
    public let lifecycle: Lifecycle
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public var tags: [KeyValue]
}

/// One page of a list, and the opaque token of the next.
public struct Page<Item: Sendable>: Sendable {
    public let items: [Item]
    public let nextToken: String?
}
