import Contracts
import Storage

/// Everything that a release needs of a model, stored under its digest: the manifest names the model's files by their own.
public struct ModelBundle: Sendable, Hashable {
    public enum Flavor: String, Sendable, CaseIterable {
        /// XGBoost's JSON or binary JSON.
        case xgboost
        /// LightGBM's text format.
        case lightgbm
        /// Any ONNX graph.
        case onnx
        /// An MLflow model of any flavour, run by its own code in processes of its own.
        case python
        /// A model that another server runs.
        case remote
        /// Several models that answer one after another.
        case parts
    }
    /// A file of the model, by its path in the model's folder.
    public struct File: Sendable, Hashable {
        public let path: String
        public let digest: Digest
        public let bytes: Int

        public init(path: String, digest: Digest, bytes: Int) {
            self.path = path
            self.digest = digest
            self.bytes = bytes
        }
    }

    public let flavor: Flavor
    /// All that the runner reads, in the order of their paths. A Python model has its whole folder.
    public let files: [File]
    /// The file that holds the model itself; of a Python model its `MLmodel`.
    public let main: String
    /// The inputs, in the order of the model's columns.
    public let signature: Signature
    /// The feature service that the inputs come from.
    public let featureService: String?
    /// What the training data looked like.
    public let reference: ModelReference
    /// Of the evaluation, by name.
    public private(set) var metrics: [String: Double]
    /// Rows that the model must answer as it did when it was stored, before it serves.
    public private(set) var example: ModelExample?
    /// Whether a classifier of trees answers with classes, as its library's scikit-learn interface does, in place of their chances.
    public let answersLabels: Bool
    /// Whether a model of XGBoost predicts up to the best iteration of its training, as its scikit-learn interface does.
    public let usesBestIteration: Bool
    /// Where a remote model is, and what its server said of it; nil for all others.
    public private(set) var remote: RemoteDescription?
    /// The models that answer one after another, in their order; empty for one model. `files` has the files of all.
    public private(set) var parts: [ModelPart] = []

    public init(
        flavor: Flavor, files: [File], main: String, signature: Signature, featureService: String? = nil,
        reference: ModelReference = ModelReference(), metrics: [String: Double] = [:], example: ModelExample? = nil,
        answersLabels: Bool = false, usesBestIteration: Bool = false
    ) {
        self.answersLabels = answersLabels
        self.usesBestIteration = usesBestIteration
        self.flavor = flavor
        self.files = files.sorted { byteOrder($0.path, $1.path) < 0 }
        self.main = main
        self.signature = signature
        self.featureService = featureService
        self.reference = reference
        self.metrics = metrics
        self.example = example
    }

    /// A model that another server runs: it has no files.
    public init(remote: RemoteDescription) {
        self.init(flavor: .remote, files: [], main: "", signature: remote.signature)
        self.remote = remote
    }

    /// Several models that answer one after another, as one.
    /// - Throws: `contractViolation` when their params contradict each other.
    public init(parts: [ModelPart]) throws(KeelError) {
        let signature = try ModelPart.signature(of: parts)
        var files: [File] = []
        for (i, part) in parts.enumerated() {
            files += part.bundle.files.map { File(path: "\(i)/\($0.path)", digest: $0.digest, bytes: $0.bytes) }
        }
        let first = parts.first?.bundle
        self.init(
            flavor: .parts, files: files, main: "", signature: signature, featureService: first?.featureService,
            reference: ModelReference(inputs: first?.reference.inputs ?? [:], score: parts.last?.bundle.reference.score),
            example: first?.example.map { ModelExample(inputs: $0.inputs) })
        self.parts = parts
    }

    /// Whether any of its models runs code of its own.
    public var runsCode: Bool { flavor == .python || parts.contains { $0.bundle.runsCode } }
    /// Whether any of its models is another server's.
    var asksServers: Bool { flavor == .remote || parts.contains { $0.bundle.asksServers } }
    /// Whether the same rows have the same answer.
    var isRepeatable: Bool { remote?.isRepeatable ?? parts.allSatisfy { $0.bundle.isRepeatable } }

    /// A model of one file.
    public init(
        flavor: Flavor, model bytes: [UInt8], signature: Signature, featureService: String? = nil,
        reference: ModelReference = ModelReference(), metrics: [String: Double] = [:], example: ModelExample? = nil
    ) {
        self.init(
            flavor: flavor, files: [File(path: "model", digest: Digest(of: bytes), bytes: bytes.count)], main: "model", signature: signature,
            featureService: featureService, reference: reference, metrics: metrics, example: example)
    }

    /// The same model with other numbers of its evaluation.
    public func with(metrics: [String: Double]) -> ModelBundle {
        var copy = self
        copy.metrics = metrics
        return copy
    }

    /// The same model with these files besides its main one.
    public func with(others: [File]) -> ModelBundle {
        ModelBundle(
            flavor: flavor, files: files.filter { $0.path == main } + others, main: main, signature: signature, featureService: featureService,
            reference: reference, metrics: metrics, example: example, answersLabels: answersLabels, usesBestIteration: usesBestIteration)
    }

    /// The same model with an example.
    public func with(example: ModelExample?) -> ModelBundle {
        var copy = self
        copy.example = example
        return copy
    }

    /// Where the main file lies, with a slash at the end; empty for the root. What the model says of other files is relative to it.
    public var folder: String { main.lastIndex(of: "/").map { String(main[...$0]) } ?? "" }

    /// The digests of all files.
    public var contents: [Digest] { files.map(\.digest) }

    public var json: JSON {
        var out: JSON = [
            "format": "keel/bundle/v2", "flavor": .string(flavor.rawValue), "main": .string(main),
            "files": .array(
                files.map { ["path": .string($0.path), "digest": .string($0.digest.hex), "bytes": .int(Int64($0.bytes))] }),
            "signature": signature.json, "features": featureService.map(JSON.string) ?? .null, "reference": reference.json,
            "metrics": .object(metrics.sorted { $0.key < $1.key }.map { JSON.Member($0.key, JSON(.double($0.value))) }),
            "example": example?.json ?? .null,
        ]
        if answersLabels { out["labels"] = true }
        if usesBestIteration { out["best_iteration"] = true }
        if let remote { out["remote"] = ["model": remote.model.json, "facts": remote.facts, "repeatable": .bool(remote.isRepeatable)] }
        if !parts.isEmpty { out["parts"] = .array(parts.map(\.json)) }
        return out
    }

    /// Reads a manifest of this version, and those of version 1: one file, without an example.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "bundle")
        flavor = try reader.word("flavor")
        switch try reader.string("format") {
        case "keel/bundle/v1":
            files = [
                File(path: "model", digest: try ModelBundle.digest(reader, "model"), bytes: try reader.int("bytes"))
            ]
            main = "model"
        case "keel/bundle/v2":
            var files: [File] = []
            for item in try reader.objects("files") {
                files.append(File(path: try item.string("path"), digest: try ModelBundle.digest(item, "digest"), bytes: try item.int("bytes")))
                try item.finish()
            }
            self.files = files
            main = try reader.string("main")
        default: throw reader.failure("format", "is not a bundle that this version reads")
        }
        signature = try Signature(json: try reader.required("signature"))
        featureService = try reader.optionalString("features")
        reference = try ModelReference(json: try reader.required("reference"))
        var metrics: [String: Double] = [:]
        for member in try reader.required("metrics").members ?? [] { metrics[member.key] = member.value.number }
        self.metrics = metrics
        example = try reader.optional("example").map { (json) throws(KeelError) in try ModelExample(json: json) }
        answersLabels = try reader.optionalBool("labels") ?? false
        usesBestIteration = try reader.optionalBool("best_iteration") ?? false
        remote = nil
        if let inner = try reader.optionalObject("remote") {
            remote = RemoteDescription(
                model: try RemoteModel(json: try inner.required("model")), signature: signature, facts: try inner.required("facts"),
                isRepeatable: try inner.optionalBool("repeatable") ?? false)
            try inner.finish()
        }
        for item in try reader.objects("parts") { parts.append(try ModelPart(item)) }
        try reader.finish()
    }

    private static func digest(_ reader: FieldReader, _ name: String) throws(KeelError) -> Digest {
        guard let digest = Digest(hex: try reader.string(name)) else { throw reader.failure(name, "is not a digest") }
        return digest
    }

    /// - Throws: `notFound`, or `corrupted` when the stored bytes are no bundle.
    public static func read(_ digest: Digest, from objects: any ObjectStore) async throws -> ModelBundle {
        let bytes = try await objects.get(digest)
        do throws(KeelError) { return try ModelBundle(json: try JSON.parse(bytes)) } catch {
            throw KeelError(.corrupted, "bundle \(digest.short) cannot be read: \(error)", hint: "register and release the model again")
        }
    }
}
