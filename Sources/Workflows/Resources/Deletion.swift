import Contracts
import Governance

/// What a deletion would take away, or has taken away.
public struct Deletion: Sendable {
    public struct Item: Sendable {
        public let resource: StoredResource
        public let ref: ResourceRef
        /// The resource that goes and that this one names; nil for the one that was asked for.
        public let needs: String?
        /// What is there besides the declaration, in words: `3 snapshots, 2,000 rows`.
        public let holds: [String]
        /// Why it does not go by itself, in words: `it serves release 3`.
        public let inUse: String?
    }

    /// The one that was asked for first, then those that name it, those that name these, and so on.
    public let items: [Item]
    /// In words, what stays although its resource goes.
    public let stays: [String]
    /// Nil when nothing was done.
    public internal(set) var result: DeleteResult?

    public var json: JSON {
        [
            "items": .array(
                items.map { item in
                    [
                        "id": .string(item.resource.resource.id),
                        "environment": item.resource.resource.environment.map(JSON.string) ?? .null,
                        "revision": .int(item.resource.revision), "needs": item.needs.map(JSON.string) ?? .null,
                        "holds": .array(item.holds.map(JSON.string)), "in_use": item.inUse.map(JSON.string) ?? .null,
                    ]
                }),
            "stays": .array(stays.map(JSON.string)), "revision": result.map { .int($0.revision) } ?? .null,
            "ledger_seq": result.map { .int($0.ledgerSeq) } ?? .null,
        ]
    }
}
