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
    let models: ModelLoader

    private struct Spec {
        var model: JSON
        var name: String
        var alias: String?
        var metrics: JSON
        var gate: JSON?

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            model = try reader.required("model")
            name = try reader.string("name")
            alias = try reader.optionalString("alias")
            metrics = reader.optional("metrics") ?? [:]
            gate = reader.optional("gate")
            try reader.finish()
        }

        /// The id of the gate's evidence; nil when no gate is referenced.
        var gateEvidence: String? {
            get throws(KeelError) {
                guard let gate else { return nil }
                guard let id = gate["evidence"]?.string else {
                    throw .invalid("is no verdict of a gate", hint: "reference a gate step, such as $gate", path: "with.gate")
                }
                return id
            }
        }
    }

    func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with) }

    func outputNames(of with: JSON) -> [String]? { ["model", "bundle", "run", "gate"] }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        let digest = try ModelOutput(spec.model, path: "with.model").bundle
        let trained = try await ModelBundle.read(digest, from: models.objects)
        let metrics = try await metrics(spec, of: digest, context)
        let bundle = trained.with(metrics: metrics)
        let model = try await models.mainFile(of: bundle)
        let stored = try await models.store(bundle, model: model)
        let run = try await record(context, spec, bundle, model, metrics)
        let grant = try Grant.check(context.caller, may: .registryWrite, on: "Model/\(spec.name)")
        let made = try await registry.register(
            BundleRegistration(
                model: spec.name, source: "mlflow-artifacts:/\(try TrackingService.artifactPath(of: run.artifactURI, below: "model"))",
                runID: run.id, bundle: stored, trained: digest,
                gate: try spec.gateEvidence, alias: spec.alias, origin: StepOrigin(run: context.runID, step: context.step)), grant)
        context.log("registered \(made.uri)")
        let verdict = try await registry.bundle(of: made, try Grant.check(context.caller, may: .registryRead, on: "Model/\(made.name)"))?.verdict
        return [
            "model": .string(made.uri), "bundle": .string(stored.hex), "run": .string(run.id), "gate": .string(verdict ?? Evidence.ungated),
        ]
    }

    /// The numbers of an evaluation of Keel's come from its evidence, those of a program from its output.
    private func metrics(_ spec: Spec, of bundle: Digest, _ context: StepContext) async throws -> [String: Double] {
        guard let id = spec.metrics["evidence"]?.string else { return GateStep.numbers(spec.metrics).compactMapValues { $0 } }
        let grant = try Grant.check(context.caller, may: .registryRead, on: "Model/\(spec.name)")
        let evaluation = try await registry.evidence(id, .evaluation, grant)
        guard try await registry.holds(evaluation, for: bundle, grant) else {
            throw KeelError.invalid("the evaluation is of another model", path: "with.metrics")
        }
        return GateStep.numbers(evaluation.data["metrics"] ?? [:]).compactMapValues { $0 }
    }

    /// A run of the experiment that is named as the pipeline, with what MLflow's clients look for.
    private func record(
        _ context: StepContext, _ spec: Spec, _ bundle: ModelBundle, _ model: [UInt8], _ metrics: [String: Double]
    ) async throws -> Run {
        let grant = try Grant.check(context.caller, may: .trackingWrite, on: "Experiment/\(context.pipeline)")
        let experiment = try await tracking.ensureExperiment(name: context.pipeline, grant)
        let run = try await tracking.createRun(
            experimentID: experiment, name: "\(spec.name) of \(context.now)",
            tags: [KeyValue("mlflow.source.name", "keel pipeline \(context.pipeline)")],
            origin: RunOrigin(pipelineRun: context.runID, step: context.step), grant)
        // A step that is repeated goes on with the run that it made; what it logs again is what it logged.
        guard run.status == .running else { return run }
        try await tracking.logBatch(
            // Values of slices may be any text and as many as a column has: the bundle has them, and the model's card shows them.
            runID: run.id,
            metrics: metrics.filter { !($0.key.hasPrefix("slices.") && $0.key.contains(".values.")) }.sorted { $0.key < $1.key }.map {
                Metric($0.key, $0.value, at: run.startedAt)
            },
            params: (context.parameters.members ?? []).map { KeyValue($0.key, $0.value.string ?? $0.value.text) }, grant)
        for (name, bytes) in [("model.\(bundle.flavor == .onnx ? "onnx" : "json")", model), ("keel.json", Array(bundle.json.pretty.utf8))] {
            let parts = AsyncThrowingStream<[UInt8], any Error> { continuation in
                continuation.yield(bytes)
                continuation.finish()
            }
            let path = try TrackingService.artifactPath(of: run.artifactURI, below: "model/\(name)")
            _ = try await tracking.putArtifact(path: path, parts: parts, grant)
        }
        return try await tracking.updateRun(id: run.id, status: .finished, endedAt: tracking.clock.now(), grant)
    }
}
