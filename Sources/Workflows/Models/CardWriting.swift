import Contracts
import Governance
import Pipelines
import Registry
import Serving
import Storage
import Tracking

/// What a card is written from, and that the caller may read it.
public struct CardGrants: Sendable {
    let registry: Grant
    let tracking: Grant
    let pipelines: Grant
    let releases: Grant
    let resources: Grant

    public init(registry: Grant, tracking: Grant, pipelines: Grant, releases: Grant, resources: Grant) {
        self.registry = registry
        self.tracking = tracking
        self.pipelines = pipelines
        self.releases = releases
        self.resources = resources
    }
}

/// Writes model cards from what all modules know of a version.
public struct CardWriting: Sendable {
    private let resources: ResourceService
    private let registry: RegistryService
    private let tracking: TrackingService
    private let pipelines: PipelineService
    private let deployments: DeploymentService
    private let objects: FolderObjectStore

    package init(
        resources: ResourceService, registry: RegistryService, tracking: TrackingService, pipelines: PipelineService,
        deployments: DeploymentService, objects: FolderObjectStore
    ) {
        self.resources = resources
        self.registry = registry
        self.tracking = tracking
        self.pipelines = pipelines
        self.deployments = deployments
        self.objects = objects
    }

    private static let decisionsMax = 200
    private static let paramsMax = 500
    private static let metricsMax = 1000

    /// The card of a version, from what all modules know of it.
    public func card(model name: String, version: Int, _ grants: CardGrants) async throws -> ModelCard {
        var version = try await registry.version(model: name, version: version, grants.registry)
        let evidence = try await registry.evidence(of: version, grants.registry)
        var bundle: ModelBundle?
        if let digest = evidence?.bundle.subject { bundle = try await found { try await ModelBundle.read(digest, from: objects) } }
        if version.facts == nil, let bundle { version.facts = ModelFacts(bundle) }
        var card = ModelCard(model: try await registry.model(name: name, grants.registry), version: version)
        card.statements = try await statements(on: name, grants.resources)
        card.evidence = evidence
        let history = try await registry.history(
            model: name, version: version.version, kinds: CardDecision.versionKinds, limit: CardWriting.decisionsMax, grants.registry)
        let releases = try await deployments.decisions(
            model: name, version: String(version.version), limit: CardWriting.decisionsMax, grants.releases)
        let decisions = (history.events + releases.events).sorted { $0.seq < $1.seq }.compactMap(CardDecision.read)
        card.hasOlderDecisions = history.next != nil || releases.hasOlder || decisions.count > CardWriting.decisionsMax
        card.decisions = decisions.suffix(CardWriting.decisionsMax)
        if let bundle {
            card.measurements = bundle.metrics.sorted { $0.key < $1.key }.compactMap { EvaluateStep.measurement($0.key, $0.value) }
            card.featureService = bundle.featureService
            card.trainedUntil = evidence?.bundle.data["until"]?.string.flatMap { Timestamp($0) }
        }
        // A run may have been removed, or be of another server: then the card says that it is not stated.
        if let id = version.runID ?? version.facts?.runID, let run = try await found({ try await tracking.run(id: id, grants.tracking) }) {
            try await read(run, into: &card, grants.pipelines)
        }
        return card
    }

    private func read(_ run: Run, into card: inout ModelCard, _ piped: Grant) async throws {
        func tag(_ key: String) -> String? { run.tags.first { $0.key == key }?.value }
        card.training = ModelCard.Training(
            run: run.id, startedAt: run.startedAt, by: run.userID, source: tag("mlflow.source.name"),
            commit: tag("mlflow.source.git.commit"),
            params: run.params.prefix(CardWriting.paramsMax).map { ModelTag($0.key, $0.value) })
        card.datasets = run.datasets.map { input in
            ModelCard.Dataset(
                name: input.name, digest: input.digest, context: input.tags.first { $0.key == "mlflow.data.context" }?.value,
                source: input.source)
        }
        // The bundle holds what the gate saw; a run that another client logged has only its metrics.
        if card.measurements.isEmpty {
            card.measurements = run.metrics.prefix(CardWriting.metricsMax).map { CardWriting.measurement($0.key, $0.value) }
        }
        // Versions from before there was evidence are known by the run's tag only.
        guard let id = card.evidence?.bundle.origin?.run ?? tag(RunOrigin.tag),
            let made = try await found({ try await pipelines.run(id, grant: piped) })
        else { return }
        card.datasets += made.steps.compactMap(\.outputs).flatMap(snapshots)
    }

    /// The statements of the resource that declares the model's card.
    private func statements(on model: String, _ grant: Grant) async throws -> ModelCard.Statements? {
        for stored in try await resources.get(ModelCardSpec.kind, by: grant) {
            let spec = try ModelCardSpec(resource: stored.resource)
            guard spec.model == model,
                let revision = try await resources.revisions(ModelCardSpec.kind, spec.name, limit: 1, by: grant).first
            else { continue }
            return ModelCard.Statements(spec: spec, revision: revision.revision, at: revision.at, by: revision.by)
        }
        return nil
    }

    private func found<T>(_ body: () async throws -> T) async throws -> T? {
        do { return try await body() } catch let error as KeelError where error.code == .notFound { return nil }
    }

    /// A metric that a run logged as `slices/carrier/UA/auc` is of the slice `carrier = UA`; a value may hold slashes.
    package static func measurement(_ key: String, _ value: Double) -> ModelCard.Measurement {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 4, parts[0] == "slices" else { return .init(name: key, value: value) }
        let slice = ModelCard.Slice(column: parts[1], value: parts[2..<(parts.count - 1)].joined(separator: "/"))
        return .init(name: parts[parts.count - 1], value: value, slice: slice)
    }

    /// The snapshots that a training set was made from.
    private func snapshots(_ outputs: JSON) -> [ModelCard.Dataset] {
        (outputs["snapshots"]?.members ?? []).map {
            .init(name: $0.key, digest: "snapshot \($0.value.string ?? $0.value.text)", context: "training", source: "Dataset/\($0.key)")
        }
    }
}

extension ModelFacts {
    /// What a bundle says of its model.
    fileprivate init(_ bundle: ModelBundle) {
        self.init()
        flavors = [bundle.flavor.rawValue]
        inputs = bundle.signature.inputs.map { .init(name: $0.name, type: $0.type, written: $0.type.description, isRequired: !$0.nullable) }
        outputs = bundle.signature.outputs.map { .init(name: $0.name, type: $0.type, written: $0.type.description, isRequired: true) }
        bytes = bundle.files.reduce(0) { $0 + Int64($1.bytes) }
    }
}
