import Contracts
import Foundation
import Pipelines
import Registry
import Serving
import Storage
import Tracking

/// `register`: records the training as a run that MLflow's clients can see, with the model among its artifacts, and registers it as a new
/// version under a name, with an alias when one is given.
struct RegisterStep: StepKind {
    let name = "register"
    let version = 1
    /// A version is made each time: registering is a deed, not a computation.
    let cachedByDefault = false
    let tracking: TrackingService
    let registry: RegistryService
    let objects: FolderObjectStore
    static let bundleTag = "keel.bundle"
    static let gateTag = "keel.gate"
    /// The instant of the last row that the model was trained on.
    static let trainedUntilTag = "keel.trained_until"

    private struct Spec {
        var model: JSON
        var name: String
        var alias: String?
        var metrics: JSON
        var gate: JSON

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            model = try reader.required("model")
            name = try reader.string("name")
            alias = try reader.optionalString("alias")
            metrics = reader.optional("metrics") ?? [:]
            gate = reader.optional("gate") ?? ["passed": false, "failures": ["no gate was asked"]]
            try reader.finish()
        }
    }

    func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with) }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        guard let digest = spec.model["bundle"]?.string.flatMap(Digest.init(hex:)) else {
            throw KeelError.invalid("is not a model", hint: "reference an output such as $train.model", path: "with.model")
        }
        let trained = try await ModelBundle.read(digest, from: objects)
        let metrics = GateStep.numbers(spec.metrics).compactMapValues { $0 }
        let model = try await objects.get(trained.model)
        let stored = try await ModelBundle.store(
            flavor: trained.flavor, model: model, signature: trained.signature, featureService: trained.featureService,
            reference: trained.reference,
            metrics: metrics, in: objects)
        let bundle = try await ModelBundle.read(stored, from: objects)
        let run = try await record(context, spec, bundle, model, metrics)
        let grant = try Grant.check(context.caller, may: .registryWrite, on: "Model/\(spec.name)")
        let failures = (spec.gate["failures"]?.array ?? []).compactMap(\.string).joined(separator: "; ")
        let gate = spec.gate["passed"]?.bool == true ? "passed" : "failed: \(failures)"
        let made = try await registry.createVersion(
            model: spec.name, source: "mlflow-artifacts:/\(run.experiment)/\(run.id)/artifacts/model", runID: run.id,
            tags: [
                ModelTag(Self.bundleTag, stored.hex), ModelTag(Self.gateTag, String(gate.prefix(4000))),
                ModelTag(Self.trainedUntilTag, spec.model["until"]?.string ?? ""),
            ], creatingModel: true, grant)
        if let alias = spec.alias { _ = try await registry.setAlias(model: spec.name, alias: alias, version: made.version, grant) }
        context.log("registered \(made.uri)")
        return ["model": .string(made.uri), "bundle": .string(stored.hex), "run": .string(run.id), "gate": .string(gate)]
    }

    /// The bundle that Keel serves for a version; nil for a version that another client registered.
    static func bundleDigest(of version: ModelVersion) -> Digest? {
        version.tags.first { $0.key == bundleTag }.flatMap { Digest(hex: $0.value) }
    }

    static func noBundle(_ version: ModelVersion) -> KeelError {
        KeelError(
            .failedPrecondition, "\(version.uri) has no bundle that Keel can serve",
            hint: "register it with the 'register' step of a pipeline")
    }

    /// A run of the experiment that is named as the pipeline, with what MLflow's clients look for.
    private func record(
        _ context: StepContext, _ spec: Spec, _ bundle: ModelBundle, _ model: [UInt8], _ metrics: [String: Double]
    ) async throws -> (id: String, experiment: String) {
        let grant = try Grant.check(context.caller, may: .trackingWrite, on: "Experiment/\(context.pipeline)")
        let experiment = try await tracking.ensureExperiment(name: context.pipeline, grant)
        let started = Timestamp.systemNow()
        let run = try await tracking.createRun(
            experimentID: experiment, name: "\(spec.name) of \(context.now)", startedAt: started,
            tags: [KeyValue("keel.pipeline_run", context.runID), KeyValue("mlflow.source.name", "keel pipeline \(context.pipeline)")], grant
        )
        let id = run.id
        try await tracking.logBatch(
            // Values of slices may be any text and as many as a column has: the bundle has them, and the model's card shows them.
            runID: id,
            metrics: metrics.filter { !($0.key.hasPrefix("slices.") && $0.key.contains(".values.")) }.sorted { $0.key < $1.key }.map {
                Metric($0.key, $0.value, at: started)
            },
            params: (context.parameters.members ?? []).map { KeyValue($0.key, $0.value.string ?? $0.value.text) }, grant)
        for (name, bytes) in [("model.\(bundle.flavor == .onnx ? "onnx" : "json")", model), ("keel.json", Array(bundle.json.pretty.utf8))] {
            let parts = AsyncThrowingStream<[UInt8], any Error> { continuation in
                continuation.yield(bytes)
                continuation.finish()
            }
            _ = try await tracking.putArtifact(path: "\(experiment)/\(id)/artifacts/model/\(name)", parts: parts, grant)
        }
        _ = try await tracking.updateRun(id: id, status: .finished, endedAt: .systemNow(), grant)
        return (id, experiment)
    }
}
