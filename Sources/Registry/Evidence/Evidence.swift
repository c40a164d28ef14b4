import Contracts

/// What Keel itself saw of a model's bundle: how it was trained and measured, what a gate said, which version it became, who approved it.
///
/// Evidence is written once, by the code that made it, and never changed: no tag and no output of a program can stand in for it.
public struct Evidence: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable {
        /// A training step made the bundle. `data` says from which data, and of which candidate it is the refit.
        case training
        /// Keel measured the bundle. `data` holds the numbers, the rows, and the baseline or why there is none.
        case evaluation
        /// A gate judged the bundle. `data` holds each condition and what was seen.
        case gate
        /// A version was bound to the bundle. `data` names the gate's evidence.
        case bundle
        /// A person approved the version.
        case approval
        /// Somebody signed the version's files with a key of their own; the subject is the digest of what was signed. `data` holds the public key and
        /// the signature, so that anybody can check it.
        case signature
    }

    public let id: String
    public let kind: Kind
    /// The bundle's digest: model, features and reference together. Of a signature that of the manifest of the files.
    public let subject: Digest
    /// The version that it concerns; nil for what was seen before there was one.
    public let version: VersionKey?
    /// The pipeline run and its step; nil for what a person did.
    public let origin: StepOrigin?
    /// `passed`, or `failed: ` and why; nil for what judges nothing.
    public let verdict: String?
    public let data: JSON
    public let by: String
    public let at: Timestamp

    /// Everything that the ledger's event vouches for.
    public var content: JSON {
        [
            "id": .string(id), "kind": .string(kind.rawValue), "subject": .string(subject.hex),
            "model": version.map { .string($0.name) } ?? .null, "version": version.map { .int(Int64($0.version)) } ?? .null,
            "run": origin.map { .string($0.run) } ?? .null, "step": origin.map { .string($0.step) } ?? .null,
            "verdict": verdict.map(JSON.string) ?? .null, "data": data, "by": .string(by), "at": .string(at.description),
        ]
    }

    public var hasPassed: Bool { verdict == Evidence.passed }

    public static let passed = "passed"
    /// The verdict on a bundle that no gate judged.
    public static let ungated = "failed: no gate was asked"
    public var isUngated: Bool { (verdict ?? Evidence.ungated) == Evidence.ungated }
}

/// What Keel saw of a version, from its training to who approved it.
public struct VersionEvidence: Sendable {
    public let bundle: Evidence
    /// Nil when no gate was asked, or it is from before there was evidence.
    public let gate: Evidence?
    /// Nil when the gate's numbers were those of a program.
    public let evaluation: Evidence?
    public let training: Evidence?
    /// Oldest first.
    public let approvals: [Evidence]
    /// Oldest first.
    public let signatures: [Evidence]

    public var json: JSON {
        [
            "bundle": bundle.content, "gate": gate?.content ?? .null, "evaluation": evaluation?.content ?? .null,
            "training": training?.content ?? .null, "approvals": .array(approvals.map(\.content)), "signatures": .array(signatures.map(\.content)),
        ]
    }
}

/// A version of a model, by its number.
public struct VersionKey: Sendable, Hashable {
    public let name: String
    public let version: Int
    public init(_ name: String, _ version: Int) {
        self.name = name
        self.version = version
    }

    public var uri: String { "models:/\(name)/\(version)" }
}

/// The step of a pipeline run that does something. What it made is found by it when the step is repeated.
public struct StepOrigin: Sendable, Hashable {
    public let run: String
    public let step: String
    public init(run: String, step: String) {
        self.run = run
        self.step = step
    }

    public var key: String { "\(run)/\(step)" }
}
