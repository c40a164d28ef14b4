import Contracts

/// Where a release came from that was promoted from another environment, with what was known of it there at that moment.
///
/// It is part of the release's digest: the evidence of a release does not change after it was made.
public struct PromotedFrom: Sendable, Hashable {
    public let endpoint: ResourceRef
    /// Its number there.
    public let release: Int
    /// What it was released as there.
    public let digest: Digest
    /// Who made the release there, and when; how often it answered, what its rollout measured, and what a monitor last saw of it.
    public let evidence: JSON

    public init(endpoint: ResourceRef, release: Int, digest: Digest, evidence: JSON) {
        self.endpoint = endpoint
        self.release = release
        self.digest = digest
        self.evidence = evidence
    }

    /// `delay@staging/3`, as people say it.
    public var name: String { "\(endpoint.qualifiedName)/\(release)" }

    public var json: JSON {
        [
            "endpoint": .string(endpoint.qualifiedName), "release": .int(Int64(release)), "digest": .string(digest.hex), "evidence": evidence,
        ]
    }

    /// Nil for what `json` does not write.
    init?(json: JSON, in workspace: WorkspaceID) {
        guard let endpoint = json["endpoint"]?.string, let release = json["release"]?.integer,
            let digest = json["digest"]?.string.flatMap({ Digest(hex: $0) }), let evidence = json["evidence"]
        else { return nil }
        self.init(
            endpoint: ResourceRef(EndpointSpec.kind, stored: endpoint, in: workspace), release: Int(release), digest: digest, evidence: evidence)
    }
}
