import Contracts
import Storage

/// What the `register` step asks for.
public struct BundleRegistration: Sendable {
    public let model: String
    /// Where the model's files are among the artifacts of the tracked run.
    public let source: String
    /// The tracked run.
    public let runID: String
    /// What is served.
    public let bundle: Digest
    /// The bundle as the training step made it, which the gate judged.
    public let trained: Digest
    /// The id of the gate's evidence; nil when no gate was asked.
    public let gate: String?
    public let alias: String?
    public let origin: StepOrigin

    public init(
        model: String, source: String, runID: String, bundle: Digest, trained: Digest, gate: String?, alias: String?, origin: StepOrigin
    ) {
        self.model = model
        self.source = source
        self.runID = runID
        self.bundle = bundle
        self.trained = trained
        self.gate = gate
        self.alias = alias
        self.origin = origin
    }
}

extension RegistryService {
    /// Registers a version and binds it to its bundle, with the verdict of the gate that judged it, in one transaction. A step that is repeated gets
    /// the version that it made before.
    /// - Throws: `invalidArgument` when the gate judged another bundle, or in another run.
    public func register(_ request: BundleRegistration, _ grant: Grant) async throws -> ModelVersion {
        try grant.require(.registryWrite)
        try RegistryRules.check(modelName: request.model)
        if let alias = request.alias { try RegistryRules.check(newAlias: alias) }
        return try await guarded(request.model, grant) { tx in
            try checkMayMove(request.alias.map { [$0] } ?? [], of: request.model, grant)
            if let made = try RegistryStore.version(tx, madeBy: request.origin) { return made }
            let trainings = try EvidenceStore.trainings(tx, of: request.trained)
            let gate = try RegistryService.judge(tx, request, trainings)
            let training = trainings.last { $0.data["candidate"]?.string == gate?.subject.hex } ?? trainings.last
            let origin = ModelSource(source: request.source, location: request.source, runID: request.runID, modelID: nil)
            try ensureModel(tx, request.model, grant)
            let version = try insertVersion(tx, request.model, origin, grant)
            try RegistryStore.note(tx, version: version.version, of: request.model, madeBy: request.origin)
            try EvidenceStore.insert(
                tx, .bundle, of: request.bundle, version: VersionKey(request.model, version.version), origin: request.origin,
                verdict: gate?.verdict ?? Evidence.ungated,
                data: [
                    "trained": .string(request.trained.hex), "gate": gate.map { .string($0.id) } ?? .null,
                    "until": training?.data["until"] ?? .null, "training": training.map { .string($0.id) } ?? .null,
                ], grant)
            if let alias = request.alias { try move(tx, alias, of: request.model, to: version.version, grant) }
            return try RegistryStore.version(tx, request.model, version.version)
        }
    }

    /// The gate's verdict on what is registered; nil when no gate was asked.
    private static func judge(_ tx: Transaction, _ request: BundleRegistration, _ trainings: [Evidence]) throws -> Evidence? {
        guard let id = request.gate else { return nil }
        let gate = try evidence(tx, id, .gate)
        guard gate.origin?.run == request.origin.run else {
            throw KeelError.invalid(
                "the verdict is of pipeline run \(gate.origin?.run ?? ""), not of this one",
                hint: "ask the gate in the run that registers the model, without `cache: true`", path: "with.gate")
        }
        guard holds(gate, for: request.trained, trainings) else {
            throw KeelError.invalid(
                "the gate judged the bundle \(gate.subject.short), not \(request.trained.short)",
                hint: "evaluate the model that is registered, or the candidate that it is the refit of", path: "with.gate")
        }
        return gate
    }
}
