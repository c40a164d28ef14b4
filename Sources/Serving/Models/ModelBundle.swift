import Contracts
import Storage

/// Everything that a release needs of a model, stored under its digest: the manifest names the model file by its own.
public struct ModelBundle: Sendable, Hashable {
    public enum Flavor: String, Sendable, CaseIterable {
        /// XGBoost's JSON format.
        case xgboost
        /// One float32 tensor of rows in; probabilities out.
        case onnx
    }

    public let flavor: Flavor
    /// The stored model file.
    public let model: Digest
    public let modelBytes: Int
    /// The inputs, in the order of the model's columns.
    public let signature: Signature
    /// The feature service that the inputs come from.
    public let featureService: String?
    /// What the training data looked like.
    public let reference: ModelReference
    /// Of the evaluation, by name.
    public let metrics: [String: Double]

    public init(
        flavor: Flavor, model: Digest, modelBytes: Int, signature: Signature, featureService: String? = nil,
        reference: ModelReference = ModelReference(), metrics: [String: Double] = [:]
    ) {
        (self.flavor, self.model, self.modelBytes, self.signature) = (flavor, model, modelBytes, signature)
        (self.featureService, self.reference, self.metrics) = (featureService, reference, metrics)
    }

    public var json: JSON {
        [
            "format": "keel/bundle/v1", "flavor": .string(flavor.rawValue), "model": .string(model.hex), "bytes": .int(Int64(modelBytes)),
            "signature": signature.json, "features": featureService.map(JSON.string) ?? .null, "reference": reference.json,
            "metrics": .object(metrics.sorted { $0.key < $1.key }.map { JSON.Member($0.key, JSON(.double($0.value))) }),
        ]
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "bundle")
        guard try reader.string("format") == "keel/bundle/v1" else {
            throw reader.failure("format", "is not a bundle that this version reads")
        }
        flavor = try reader.word("flavor")
        guard let digest = Digest(hex: try reader.string("model")) else { throw reader.failure("model", "is not a digest") }
        model = digest
        modelBytes = try reader.int("bytes")
        signature = try Signature(json: try reader.required("signature"))
        featureService = try reader.optionalString("features")
        reference = try ModelReference(json: try reader.required("reference"))
        var metrics: [String: Double] = [:]
        for member in try reader.required("metrics").members ?? [] { metrics[member.key] = member.value.number }
        self.metrics = metrics
        try reader.finish()
    }

    /// Stores the model and its manifest; returns the manifest's digest, by which a release names the bundle.
    ///
    /// The model is loaded and tried first: one that cannot predict is refused and nothing is stored.
    public static func store(
        flavor: Flavor, model bytes: [UInt8], signature: Signature, featureService: String? = nil,
        reference: ModelReference = ModelReference(),
        metrics: [String: Double] = [:], in objects: any ObjectStore
    ) async throws -> Digest {
        let bundle = ModelBundle(
            flavor: flavor, model: Digest(of: bytes), modelBytes: bytes.count, signature: signature, featureService: featureService,
            reference: reference, metrics: metrics)
        _ = try await Blocking.run { try LoadedModel(bundle, model: bytes) }
        _ = try await objects.put(bytes)
        return try await objects.put(bundle.json.canonical)
    }

    /// - Throws: `notFound`, or `corrupted` when the stored bytes are no bundle.
    public static func read(_ digest: Digest, from objects: any ObjectStore) async throws -> ModelBundle {
        let bytes = try await objects.get(digest)
        do throws(KeelError) { return try ModelBundle(json: try JSON.parse(bytes)) } catch {
            throw KeelError(.corrupted, "bundle \(digest.short) cannot be read: \(error)", hint: "register and release the model again")
        }
    }
}
