import Contracts

/// A version of a model that its workspace lets another one have. Nothing moves until the other one accepts it.
public struct ModelOffer: Sendable, Hashable {
    public enum State: String, Sendable, CaseIterable {
        case open
        case accepted
        /// By the workspace that it was offered to.
        case declined
        /// By the workspace that offered it.
        case withdrawn
        case expired
    }

    public let id: String
    /// The workspace that offers.
    public let source: WorkspaceID
    public let version: VersionKey
    /// The workspace that may accept. Whether there is one of this name, an offer does not say.
    public let target: WorkspaceID
    /// What the one side tells the other.
    public let note: String
    public let offeredBy: String
    public let offeredAt: Timestamp
    public let expiresAt: Timestamp
    public let state: State
    /// The version that it became in the other workspace.
    public let accepted: VersionKey?
    public let decidedBy: String?
    public let decidedAt: Timestamp?

    /// How long an offer stands.
    public static let life = TimeSpan.days(30)
    public static let noteBytesMax = 4000
    /// How many offers a workspace makes within `life`, those that ended included.
    public static let countMax: Int64 = 1000

    public var json: JSON {
        [
            "id": .string(id), "from": .string(source.name), "to": .string(target.name), "model": .string(version.name),
            "version": .int(Int64(version.version)), "note": .string(note), "offered_by": .string(offeredBy),
            "offered_at": .string(offeredAt.description), "expires_at": .string(expiresAt.description), "state": .string(state.rawValue),
            "accepted_as": accepted.map { .string($0.uri) } ?? .null, "decided_by": decidedBy.map(JSON.string) ?? .null,
            "decided_at": decidedAt.map { .string($0.description) } ?? .null,
        ]
    }
}

/// What whoever may accept an offer sees of it.
public struct OfferedVersion: Sendable {
    public let offer: ModelOffer
    public let version: ModelVersion
    /// Nil for a version that Keel did not train.
    public let evidence: VersionEvidence?
}
