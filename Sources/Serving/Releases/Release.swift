import Contracts

/// What the gate said of a release.
public enum GateResult: Sendable, Hashable {
    case passed
    /// No gate judged the model, and the endpoint takes such; the reason says who deployed it.
    case unasked(reason: String)
    /// Released although the gate did not pass, by someone who may, for a stated reason.
    case forced(reason: String)

    public var isForced: Bool { if case .forced = self { true } else { false } }

    public var text: String {
        switch self {
        case .passed: "passed"
        case .unasked(let reason): "not asked: \(reason)"
        case .forced(let reason): "forced: \(reason)"
        }
    }

    init(text: String) {
        if text == "passed" {
            self = .passed
        } else if text.hasPrefix("not asked: ") {
            self = .unasked(reason: String(text.dropFirst("not asked: ".count)))
        } else {
            self = .forced(reason: String(text.dropFirst("forced: ".count)))
        }
    }
}

/// An immutable deployable bundle: a model version with its features and reference profile, numbered within its endpoint.
public struct Release: Sendable, Hashable {
    public let endpoint: ResourceRef
    /// 1, 2, 3 … within the endpoint.
    public let number: Int
    public let model: String
    public let modelVersion: String
    /// The stored `ModelBundle`.
    public let bundle: Digest
    public let featureService: String?
    public let createdAt: Timestamp
    public let createdBy: String
    public let gate: GateResult
    /// Where it came from when it was promoted from another environment.
    public var promotedFrom: PromotedFrom?
    /// The versions that answer one after another, the model's among them; empty for the model alone.
    public var parts: [String] = []

    /// `endpoint/number`, as people say it.
    public var name: String { "\(endpoint.qualifiedName)/\(number)" }

    /// Over everything that decides what it does; equal for equal content, in whichever environment and workspace.
    public var digest: Digest {
        var content: JSON = [
            "endpoint": .string(endpoint.name), "model": .string(model), "version": .string(modelVersion), "bundle": .string(bundle.hex),
            "features": featureService.map(JSON.string) ?? .null, "gate": .string(gate.text),
        ]
        if let promotedFrom { content["promoted_from"] = promotedFrom.json }
        if !parts.isEmpty { content["parts"] = .array(parts.map(JSON.string)) }
        return Digest(of: content.canonical)
    }

    /// Whether it does what another one does, and comes from the same place.
    func isSame(as other: Release) -> Bool {
        func bare(_ release: Release) -> Digest {
            var release = release
            release.promotedFrom = nil
            return release.digest
        }
        return bare(self) == bare(other) && promotedFrom?.name == other.promotedFrom?.name
    }

    public var json: JSON {
        var out: JSON = [
            "release": .int(Int64(number)), "endpoint": .string(endpoint.qualifiedName), "model": .string(model), "version": .string(modelVersion),
            "bundle": .string(bundle.hex), "features": featureService.map(JSON.string) ?? .null, "gate": .string(gate.text),
            "created_at": .string(createdAt.description), "created_by": .string(createdBy), "digest": .string(digest.hex),
        ]
        if let promotedFrom { out["promoted_from"] = promotedFrom.json }
        if !parts.isEmpty { out["parts"] = .array(parts.map(JSON.string)) }
        return out
    }
}

/// Which release serves an endpoint, and how far a rollout is.
public struct EndpointState: Sendable, Hashable {
    public enum Phase: Sendable, Hashable {
        case steady
        case shadow
        /// `step` counts the shares from 0.
        case canary(step: Int)
    }

    public let endpoint: ResourceRef
    public var stable: Int?
    public var previous: Int?
    public var candidate: Int?
    public var phase: Phase
    /// Requests in this phase, as last noted.
    public var phaseRequests: Int
    /// The candidate's requests and failures since the rollout began, as last noted.
    public var requests: Int
    public var errors: Int
    /// When the rollout began.
    public var startedAt: Timestamp?
    /// Who stopped the rollout from moving on; nil when it moves by itself.
    public var pause: RolloutPause?

    public init(endpoint: ResourceRef) {
        self.endpoint = endpoint
        (stable, previous, candidate, phase, phaseRequests, requests, errors) = (nil, nil, nil, .steady, 0, 0, 0)
        startedAt = nil
        pause = nil
    }

    /// The rollout under way, as the API has it.
    public var rolloutJSON: JSON {
        func number(_ value: Int?) -> JSON { value.map { .int(Int64($0)) } ?? .null }
        return [
            "endpoint": .string(endpoint.qualifiedName), "stable": number(stable), "candidate": number(candidate), "paused": pause?.json ?? .null,
        ]
    }
}
