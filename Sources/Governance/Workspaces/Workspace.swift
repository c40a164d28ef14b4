import Contracts

/// A tenant of the server, with its own names, roles and history.
public struct Workspace: Sendable, Hashable {
    public let id: WorkspaceID
    public internal(set) var description: String
    public let createdAt: Timestamp
    public let createdBy: String

    public static let descriptionBytesMax = 5000

    public var json: JSON {
        [
            "name": .string(id.name), "description": .string(description), "created_at": .string(createdAt.description),
            "created_by": .string(createdBy),
        ]
    }
}
