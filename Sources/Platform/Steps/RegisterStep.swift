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
        let trained = try await ModelBundle.load(digest, from: objects)
        let metrics = GateStep.numbers(spec.metrics).compactMapValues { $0 }
        let bundle = trained.with(metrics: metrics)
        let stored = try await bundle.store(in: objects)
        let run = try await record(context, spec, bundle, metrics)
        let grant = try Grant.check(context.caller, may: .registryWrite, on: "Model/\(spec.name)")
        let failures = (spec.gate["failures"]?.array ?? []).compactMap(\.string).joined(separator: "; ")
        let gate = spec.gate["passed"]?.bool == true ? "passed" : "failed: \(failures)"
        let made = try await registry.createVersionOfModel(
            named: spec.name, source: "mlflow-artifacts:/\(run.experiment)/\(run.id)/artifacts/model", runID: run.id,
            tags: [ModelTag(Self.bundleTag, stored.hex), ModelTag(Self.gateTag, String(gate.prefix(4000)))], grant)
        if let alias = spec.alias { _ = try await registry.setAlias(model: spec.name, alias: alias, version: made.version, grant) }
        context.log("registered \(made.uri)")
        return ["model": .string(made.uri), "bundle": .string(stored.hex), "run": .string(run.id), "gate": .string(gate)]
    }

    /// The bundle of a registered version.
    static func bundle(of version: ModelVersion, from objects: some ObjectStore) async throws -> ModelBundle {
        guard let digest = version.tags.first(where: { $0.key == bundleTag }).flatMap({ Digest(hex: $0.value) }) else {
            throw KeelError(
                .failedPrecondition, "\(version.uri) has no bundle that Keel can serve", hint: "register it with the 'register' step of a pipeline")
        }
        return try await ModelBundle.load(digest, from: objects)
    }

    private func record(
        _ context: StepContext, _ spec: Spec, _ bundle: ModelBundle, _ metrics: [String: Double]
    ) async throws -> (id: String, experiment: String) {
        let grant = try Grant.check(context.caller, may: .trackingWrite, on: "Experiment/\(context.pipeline)")
        return try await tracking.recordTraining(
            experiment: context.pipeline, runName: context.runID, startedAt: context.now,
            params: (context.parameters.members ?? []).map { ($0.key, JSON($0.value.value).string ?? $0.value.text) }, metrics: metrics,
            tags: [("keel.pipeline_run", context.runID), ("keel.model", spec.name)],
            artifacts: [("model/\(bundle.fileName)", bundle.model), ("model/keel.json", bundle.manifest.bytes)], grant)
    }
}
