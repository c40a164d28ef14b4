import Contracts
import Datasets
import Governance
import Logging
import Monitoring
import Pipelines
import Registry
import Serving
import Storage
import Synchronization
import Tracking

// The ports of the modules, connected: each is a few lines that call another module.

/// Monitoring compares with the bundle of the release.
struct ReleaseReferences: ReferenceSource {
    let deployments: DeploymentService
    let objects: FolderObjectStore

    func reference(endpoint: ResourceRef, release: Int) async throws -> MonitorReference? {
        let grant = try Grant.check(.system("monitoring", in: endpoint.workspace), may: .releasesRead, on: endpoint)
        guard let found = try await deployments.releases(endpoint: endpoint, grant).first(where: { $0.number == release }) else {
            return nil
        }
        let bundle = try await ModelBundle.read(found.bundle, from: objects)
        return MonitorReference(
            inputs: try bundle.signature.inputs.compactMap { input in
                try bundle.reference.inputs[input.name].map { try ReferenceColumn(name: input.name, bins: $0) }
            },
            score: try bundle.reference.score.map { try ReferenceColumn(name: "score", bins: $0) },
            rows: Int(bundle.reference.score?.rowCount ?? 0), metrics: bundle.metrics)
    }
}

/// The signatures of releases, by which a prediction's typed inputs become the numbers that monitors count.
final class ReleaseSignatures: Sendable {
    private struct Key: Hashable {
        let endpoint: ResourceRef
        let release: Int
    }

    private let deployments: DeploymentService
    private let objects: FolderObjectStore
    /// A release never changes.
    private let known = Mutex<[Key: Signature]>([:])
    private static let knownMax = 1000

    init(deployments: DeploymentService, objects: FolderObjectStore) {
        self.deployments = deployments
        self.objects = objects
    }

    /// The inputs in the order of the model's signature; NaN for what is missing or no number. Empty when the release is gone.
    func numbers(_ inputs: [Value], endpoint: ResourceRef, release: Int) async -> [Float] {
        await signature(Key(endpoint: endpoint, release: release))?.numbers(inputs) ?? []
    }

    /// Whether the class that a release answered is the label; nil when it answers with none, or the two cannot be compared.
    func isRight(_ label: Label, _ outputs: [Value], endpoint: ResourceRef, release: Int) async -> Bool? {
        await signature(Key(endpoint: endpoint, release: release))?.answeredClass(outputs).flatMap(label.equals)
    }

    /// Nil when the release is gone or cannot be read.
    func signature(of endpoint: ResourceRef, release: Int) async -> Signature? { await signature(Key(endpoint: endpoint, release: release)) }

    private func signature(_ key: Key) async -> Signature? {
        if let signature = known.withLock({ $0[key] }) { return signature }
        guard let grant = try? Grant.check(.system("monitoring", in: key.endpoint.workspace), may: .releasesRead, on: key.endpoint),
            let release = try? await deployments.releases(endpoint: key.endpoint, grant).first(where: { $0.number == key.release }),
            let bundle = try? await ModelBundle.read(release.bundle, from: objects)
        else { return nil }
        known.withLock { known in
            if known.count >= ReleaseSignatures.knownMax { known = [:] }
            known[key] = bundle.signature
        }
        return bundle.signature
    }
}

/// Monitoring rebuilds its open windows from the prediction log.
struct LoggedPredictions: PredictionHistory {
    let queries: PredictionQueries
    let signatures: ReleaseSignatures

    func lastEventTime(endpoint: ResourceRef) async throws -> Timestamp? {
        try await queries.lastEventTime(endpoint: endpoint, try grant(endpoint))
    }

    func forEach(
        endpoint: ResourceRef, since: Timestamp, _ body: @Sendable ([(prediction: ObservedPrediction, label: ObservedLabel?)]) async throws -> Void
    ) async throws {
        var key: PredictionKey?
        while true {
            let page = try await queries.predictions(endpoint: endpoint, from: since, after: key, limit: 2000, try grant(endpoint))
            guard let last = page.last else { return }
            var rows: [(prediction: ObservedPrediction, label: ObservedLabel?)] = []
            for row in page {
                let prediction = ObservedPrediction(
                    id: row.id, endpoint: endpoint, release: row.release, eventTime: row.eventTime, score: Float(row.score ?? .nan),
                    features: await signatures.numbers(row.inputs, endpoint: endpoint, release: row.release), shadow: row.shadow)
                var label: ObservedLabel?
                if let truth = row.label {
                    label = ObservedLabel(
                        id: row.id, endpoint: endpoint, release: row.release, eventTime: row.eventTime, score: prediction.score, label: truth.number,
                        isRight: await signatures.isRight(truth, row.outputs, endpoint: endpoint, release: row.release), shadow: row.shadow)
                }
                rows.append((prediction, label))
            }
            try await body(rows)
            key = last.key
        }
    }

    private func grant(_ endpoint: ResourceRef) throws -> Grant {
        try Grant.check(.system("monitoring", in: endpoint.workspace), may: .predictionsRead, on: endpoint)
    }
}

/// Hands what was logged on to monitoring, in order, without making the log's writer wait for a window's evaluation.
final class MonitorFeed: PredictionObserver {
    private enum Batch: Sendable {
        case predictions([PredictionRecord])
        case labels([LabelledPrediction])
    }

    private let batches: AsyncStream<Batch>
    private let source: AsyncStream<Batch>.Continuation
    /// Batches (of at most a thousand rows) that may wait; beyond it some are left out of the windows, and counted.
    private static let batchesMax = 4096
    private let missed = Mutex(0)
    private let signatures: ReleaseSignatures

    init(signatures: ReleaseSignatures) {
        self.signatures = signatures
        (batches, source) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(MonitorFeed.batchesMax))
    }

    /// Batches that monitoring did not see because it was too far behind.
    var missedCount: Int { missed.withLock { $0 } }

    func observed(_ predictions: [PredictionRecord]) { send(.predictions(predictions)) }

    func observed(labels: [LabelledPrediction]) { send(.labels(labels)) }

    func run(into monitoring: MonitoringService, logger: Logger) async {
        for await batch in batches {
            do {
                switch batch {
                case .predictions(let predictions):
                    var observed: [ObservedPrediction] = []
                    for record in predictions {
                        let inputs = try record.inputs.values()
                        observed.append(
                            ObservedPrediction(
                                id: record.id, endpoint: record.endpoint, release: record.release, eventTime: record.eventTime,
                                score: record.score ?? .nan,
                                features: await signatures.numbers(inputs, endpoint: record.endpoint, release: record.release),
                                shadow: record.shadow))
                    }
                    try await monitoring.observe(observed)
                case .labels(let labels):
                    var observed: [ObservedLabel] = []
                    for label in labels {
                        let outputs = try label.outputs?.values() ?? []
                        observed.append(
                            ObservedLabel(
                                id: label.id, endpoint: label.endpoint, release: label.release, eventTime: label.eventTime,
                                score: label.score.map { Float($0) } ?? .nan, label: label.label.number,
                                isRight: await signatures.isRight(label.label, outputs, endpoint: label.endpoint, release: label.release),
                                shadow: label.shadow))
                    }
                    try await monitoring.observe(labels: observed)
                }
            } catch { logger.error("monitoring failed: \(KeelError.wrapping(error))") }
        }
    }

    func finish() { source.finish() }

    private func send(_ batch: Batch) {
        if case .dropped = source.yield(batch) { missed.withLock { $0 += 1 } }
    }
}

/// The registry asks tracking where logged models lie.
struct TrackedModels: LoggedModelLookup {
    let tracking: TrackingService

    func loggedModel(_ id: String, in workspace: WorkspaceID) async throws -> (artifactURI: String, runID: String?)? {
        do {
            let grant = try Grant.check(.system("registry", in: workspace), may: .trackingRead, on: "LoggedModel/\(id)")
            let model = try await tracking.loggedModel(id: id, grant)
            return (model.artifactURI, model.sourceRunID)
        } catch let error as KeelError where error.code == .notFound { return nil }
    }

    /// MLflow's clients read from this tag which versions a logged model is.
    func registered(_ id: String, as version: ModelVersion, in workspace: WorkspaceID) async throws {
        let key = "mlflow.modelVersions"
        let system = Caller.system("registry", in: workspace)
        let reading = try Grant.check(system, may: .trackingRead, on: "LoggedModel/\(id)")
        let model = try await tracking.loggedModel(id: id, reading)
        var versions = model.tags.first { $0.key == key }.flatMap { try? JSON.parse($0.value).array } ?? []
        versions.append(["name": .string(version.name), "version": .int(Int64(version.version))])
        let grant = try Grant.check(system, may: .trackingWrite, on: "LoggedModel/\(id)")
        _ = try await tracking.setLoggedModelTags(id: id, [KeyValue(key, JSON.array(versions).pythonText)], grant)
    }
}

extension JSON {
    /// As Python's `json.dumps` writes it: clients of MLflow compare this tag as a text.
    fileprivate var pythonText: String {
        switch self {
        case .array(let items): "[\(items.map(\.pythonText).joined(separator: ", "))]"
        case .object(let members):
            "{\(members.map { "\(JSON.string($0.key).pythonText): \($0.value.pythonText)" }.joined(separator: ", "))}"
        case .string:
            text.utf16.map { unit in
                unit < 128 ? String(UnicodeScalar(UInt8(unit))) : "\\u" + hexText([UInt8(unit >> 8), UInt8(unit & 0xff)])
            }.joined()
        default: text
        }
    }
}

/// The registry asks serving which releases name a version.
package struct ReleasedVersions: VersionUsage {
    package init() {}

    package func uses(_ db: any Querying, ofModel name: String, version: Int?) throws -> [String] {
        try DeploymentService.releases(ofModel: name, version: version.map(String.init), in: db).map { "release \($0)" }
    }
}

/// Serving asks the registry for signatures.
struct RegisteredSignatures: ModelSignatures {
    let registry: RegistryService

    func signatures(of manifest: Digest, in workspace: WorkspaceID) async throws -> [ModelSignature] {
        let grant = try Grant.check(.system("deployments", in: workspace), may: .registryRead)
        return try await registry.signatures(of: manifest, grant).compactMap { evidence in
            guard let key = evidence.data["key"]?.string.flatMap({ SignerKey($0) }), let signature = evidence.data["signature"]?.string else { return nil }
            return ModelSignature(key: key, signature: signature)
        }
    }
}

/// Serving asks the registry whether a version still exists.
package struct RegisteredVersions: ReleasableVersions {
    package init() {}

    package func require(_ db: any Querying, model: String, version: String) throws {
        guard let number = Int(version), try RegistryService.isRegistered(db, model: model, version: number) else {
            throw KeelError.notFound(
                "there is no version \(version) of model '\(model)' (any more)", hint: "it was deleted or renamed meanwhile")
        }
    }
}

/// The registry asks tracking where a run's artifacts lie.
struct TrackedRuns: RunLookup {
    let tracking: TrackingService

    func artifactURI(ofRun id: String, in workspace: WorkspaceID) async throws -> String? {
        do {
            let grant = try Grant.check(.system("registry", in: workspace), may: .trackingRead, on: "Run/\(id)")
            return try await tracking.artifactURI(runID: id, grant)
        } catch let error as KeelError where error.code == .notFound { return nil }
    }
}

/// The registry reads what a model is from the artifacts that tracking keeps.
struct TrackedModelFiles: ModelFiles {
    let tracking: TrackingService

    func copy(_ tx: Transaction, from location: String, of source: WorkspaceID, offer: String) throws -> String? {
        try TrackingService.copyArtifacts(tx, at: location, of: source, offer: offer)
    }

    func facts(at location: String, in workspace: WorkspaceID) async throws -> ModelFacts? {
        guard let folder = TrackingService.artifactPath(of: location) else { return nil }
        let grant = try Grant.check(.system("registry", in: workspace), may: .trackingRead, on: "Artifact/\(folder)")
        let content: ArtifactContent
        do {
            content = try await tracking.openArtifact(path: "\(folder)/MLmodel", grant)
        } catch let error as KeelError where error.code == .notFound || error.code == .invalidArgument { return nil }
        return try await Blocking.run {
            var (bytes, offset) = ([UInt8](repeating: 0, count: min(Int(content.bytes), ModelFile.bytesMax + 1)), 0)
            while offset < bytes.count {
                let count = try bytes.withUnsafeMutableBytes {
                    try content.reader.read(at: Int64(offset), into: UnsafeMutableRawBufferPointer(rebasing: $0[offset...]))
                }
                if count == 0 { break }
                offset += count
            }
            return ModelFile.parse(Array(bytes.prefix(offset)))
        }
    }
}

/// Every workspace has an experiment, and is deleted only when nothing was logged in it.
struct TrackedWorkspaces: WorkspaceContent {
    func prepare(_ tx: Transaction) throws { try TrackingService.prepareWorkspace(tx) }
    func holds(_ db: any Querying) throws -> String? { try TrackingService.workspaceHolds(db) }
    func clear(_ tx: Transaction) throws { try TrackingService.clearWorkspace(tx) }
}

/// A workspace is deleted only when nothing was released in it.
struct ServedWorkspaces: WorkspaceContent {
    func prepare(_ tx: Transaction) throws {}
    func holds(_ db: any Querying) throws -> String? { try DeploymentService.workspaceHolds(db) }
    func clear(_ tx: Transaction) throws {}
}

/// A workspace is deleted only when nothing is registered in it.
struct RegisteredWorkspaces: WorkspaceContent {
    func prepare(_ tx: Transaction) throws {}
    func holds(_ db: any Querying) throws -> String? { try RegistryService.workspaceHolds(db) }
    func clear(_ tx: Transaction) throws {}
}

/// A workspace is deleted only when no dataset has rows in it.
struct StoredDatasets: WorkspaceContent {
    let data: DatasetService

    func prepare(_ tx: Transaction) throws {}
    func holds(_ db: any Querying) throws -> String? { try data.workspaceHolds(db) }
    func clear(_ tx: Transaction) throws {}
}

/// A workspace is deleted only when no pipeline runs in it.
struct PipelineWorkspaces: WorkspaceContent {
    func prepare(_ tx: Transaction) throws {}
    func holds(_ db: any Querying) throws -> String? { try PipelineService.workspaceHolds(db) }
    func clear(_ tx: Transaction) throws { try PipelineService.clearWorkspace(tx) }
}
