import Contracts
import Datasets
import Engines
import FeatureStore
import Foundation
import Governance
import Logging
import Monitoring
import Pipelines
import Registry
import Serving
import Storage
import Tracking
import Workflows

/// A home in a temporary folder with every module that resources are put in force in. Opening the folder again is a restart after a crash.
final class Workshop: Sendable {
    let folder: String
    let modules: Modules
    let objects: FolderObjectStore
    let applying: Applying
    let ingesting: Ingesting
    var damage: DamageRegister { modules.damage }

    static let ann = Caller(name: "ann", persona: .owner)

    /// - Parameters:
    ///   - code: runs models that bring code of their own.
    ///   - signatures: those of their files.
    ///   - clock: of the datasets and the features.
    init(
        at folder: String? = nil, code: (any CodeModels)? = nil, signatures: (any ModelSignatures)? = nil, clock: any Contracts.Clock = SystemClock()
    ) async throws {
        let folder = folder ?? NSTemporaryDirectory() + "keel-workflows-" + Identifier.hex32()
        self.folder = folder
        for name in ["work", "lake"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + GovernanceTables.migrations + DatasetTables.migrations + RegistryTables.migrations
                + RegistryTables.importMigrations + TrackingTables.migrations + TrackingTables.importMigrations + PipelineMigrations.all
                + ServingTables.migrations + MonitoringTables.migrations,
            backupFolder: folder + "/backups")
        let damage = DamageRegister()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        objects = try FolderObjectStore(root: folder + "/objects")
        let analytics = try DuckDB(settings: .init(folders: [folder], threads: 1))
        let data = try DatasetService(
            database: database, lake: folder + "/lake", streams: folder + "/streams", duckdb: analytics, damage: damage, clock: clock)
        try await data.start()
        let features = FeatureStores(clock: clock, seed: 1)
        let pushes = PushGate()
        let checkpoints = FeatureCheckpoints(
            folder: folder + "/features", bytesMin: 1 << 20, data: data, features: features, pushes: pushes, damage: damage, logger: logger)
        let resources = ResourceService(database: database)
        let pipelines = PipelineService(database: database, kinds: [Nothing(), Program()], workFolder: folder + "/work")
        let runtime = ServingRuntime(log: try PredictionLog(database: database, journal: folder + "/predictions"), threads: 1)
        let models = ModelLoader(objects: objects, python: code, signatures: signatures)
        let deployments = DeploymentService(
            database: database, models: models, runtime: runtime, features: ServedFeatures(stores: features))
        modules = Modules(
            database: database, damage: damage, resources: resources, audit: AccessAudit(database: database), policy: AccessPolicy(),
            names: { _ in ["Model": ["fraud-eu"]] }, data: data, features: features,
            history: FeatureHistory(data: data, analytics: analytics, checkpoints: checkpoints, pushes: pushes, clock: database.clock),
            pipelines: pipelines,
            triggers: TriggerService(database: database, pipelines: pipelines, authority: { Caller(name: $0, persona: .owner, workspace: $1) }),
            runtime: runtime, deployments: deployments,
            monitoring: MonitoringService(database: database, references: NoReferences(), history: NoPredictions()), models: models,
            project: folder)
        applying = Applying(modules, report: { _ in })
        ingesting = Ingesting(data: data, features: features, applying: applying, pushes: pushes, workFolder: folder + "/work")
        try await applying.configure(.default, isStart: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    static func may(_ action: Action, _ caller: Caller = ann) throws -> Grant { try Grant.check(caller, may: action) }

    @discardableResult
    func apply(_ resources: [Resource], by caller: Caller = ann) async throws -> ApplyResult {
        try await applying.apply(resources, by: Workshop.may(.resourcesApply, caller))
    }

    func plan(_ resources: [Resource]) async throws -> [ResourceChange] {
        try await applying.plan(resources, by: Workshop.may(.resourcesRead))
    }

    @discardableResult
    func delete(
        _ kind: String, _ name: String, cascade: Bool = false, data: Bool = false, isRehearsal: Bool = false
    ) async throws -> Deletion {
        try await applying.delete(
            kind, name, environment: nil, cascade: cascade, data: data, isRehearsal: isRehearsal, by: Workshop.may(.resourcesApply))
    }

    func push(_ dataset: String, _ rows: JSON) async throws {
        _ = try await ingesting.push(dataset, Array((["rows": rows] as JSON).text.utf8), Workshop.may(.eventsPush))
    }

    /// A model with one input, released on the endpoint `clicking`.
    func release(input: String, service: String?) async throws {
        let bundle = try await ModelLoader(objects: objects).store(
            ModelBundle(
                flavor: .xgboost, model: Workshop.tree,
                signature: Signature(inputs: [.init(input, .float64)], outputs: [.init("score", .float32)]), featureService: service,
                metrics: ["auc": 0.8]), model: Workshop.tree)
        let release = try await modules.deployments.createRelease(
            endpoint: Shop.clicking, model: "clicks", version: "1", bundle: bundle, gate: .passed, Workshop.may(.releasesDeploy))
        try await modules.deployments.deploy(endpoint: Shop.clicking, release: release.number, Workshop.may(.releasesDeploy))
    }

    var collecting: Collecting {
        Collecting(
            database: modules.database, damage: damage, objects: objects,
            tracking: TrackingService(database: modules.database, objects: objects),
            registry: RegistryService(database: modules.database), deployments: modules.deployments, pipelines: modules.pipelines,
            models: ModelLoader(objects: objects))
    }

    func verifying() async throws -> Verifying {
        Verifying(
            database: modules.database, data: modules.data,
            predictions: PredictionExporter(database: modules.database, objects: objects, lake: folder + "/lake", duckdb: DuckDB(openedAtFirstUse: .init())),
            objects: objects,
            checkpoints: try CheckpointService(
                database: modules.database, key: SigningKey(seed: SigningKey.newSeed()), folder: folder + "/checkpoints", report: { _ in }),
            tokens: try await TokenService.open(database: modules.database))
    }

    /// What is stored: every resource with its revision.
    func stored() async throws -> [String: Int64] {
        let all = try await modules.resources.all(by: Workshop.may(.resourcesRead))
        return Dictionary(uniqueKeysWithValues: all.map { ($0.resource.id, $0.revision) })
    }

    func events(_ kind: String) async throws -> [LedgerEvent] { try await modules.database.read { try $0.ledgerEvents(kind: kind) } }

    /// A feature of a user now; nil when the service has no such feature.
    func feature(_ name: String, of user: String) throws -> Value? {
        let request = try Table([(name: "user", column: try Column(.string, values: [.string(user)]))])
        return try modules.features[.default].read(service: "buying", request: request)[name]?[0]
    }

    private static let tree = Array(
        """
        {"learner":{"attributes":{},"feature_names":[],"feature_types":[],"gradient_booster":{"model":{"gbtree_model_param":{"num_parallel_tree":"1",
        "num_trees":"1"},"iteration_indptr":[0,1],"tree_info":[0],"trees":[{"base_weights":[0.0,0.0,0.0],"categories":[],"categories_nodes":[],
        "categories_segments":[],"categories_sizes":[],"default_left":[0,0,0],"id":0,"left_children":[1,-1,-1],"loss_changes":[1.0,0.0,0.0],
        "parents":[2147483647,0,0],"right_children":[2,-1,-1],"split_conditions":[0.5,-1.0,1.0],"split_indices":[0,0,0],
        "split_type":[0,0,0],"sum_hessian":[1.0,1.0,1.0],"tree_param":{"num_deleted":"0","num_feature":"1","num_nodes":"3",
        "size_leaf_vector":"1"}}]},"name":"gbtree"},"learner_model_param":{"base_score":"5E-1","boost_from_average":"1","num_class":"0",
        "num_feature":"1","num_target":"1"},"objective":{"name":"binary:logistic","reg_loss_param":{"scale_pos_weight":"1"}}},"version":[3,0,0]}
        """.utf8)
}

/// The declarations of a small shop, each valid beside the others.
enum Shop {
    static let clicking = ResourceRef("Endpoint", "clicking")
    static let dataset = Resource(
        kind: "Dataset", name: "clicks",
        spec: [
            "key": ["id"], "eventTime": "at",
            "columns": [
                ["name": "id", "type": "string"], ["name": "at", "type": "timestamp"], ["name": "user", "type": "string"],
                ["name": "price", "type": "float64"],
            ],
        ])
    static let entity = Resource(kind: "Entity", name: "user", spec: ["keys": ["user": "string"]])
    static func view(_ features: JSON) -> Resource {
        Resource(kind: "FeatureView", name: "habits", spec: ["source": "clicks", "entity": "user", "features": features])
    }
    static let spent = view([["name": "spent", "aggregate": "sum", "of": "price", "window": "3650d"]])
    static let service = Resource(kind: "FeatureService", name: "buying", spec: ["features": ["habits"]])
    static func endpoint(_ spec: JSON = ["features": "buying"]) -> Resource { Resource(kind: "Endpoint", name: "clicking", spec: spec) }
    static let monitor = Resource(
        kind: "Monitor", name: "drift", spec: ["endpoint": "clicking", "window": "1d", "drift": ["threshold": 0.2]])
    static func pipeline(_ uses: String = "nothing") -> Resource {
        Resource(kind: "Pipeline", name: "train", spec: ["steps": [["name": "one", "uses": .string(uses)]]])
    }
    static let trigger = Resource(kind: "Trigger", name: "retrain", spec: ["when": ["monitor/drift fires"], "run": "train"])
    static let all = [dataset, entity, spent, service, endpoint(), monitor, pipeline(), trigger]
}

/// A step that does nothing.
struct Nothing: StepKind {
    let name = "nothing"
    let version = 1
    func validate(_ with: JSON) throws(KeelError) {}
    func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON { .object([]) }
    func run(_ context: StepContext) async throws -> JSON { .object([]) }
}

/// A step that runs what its author wrote.
struct Program: StepKind {
    let name = "program"
    let version = 1
    let runsPrograms = true
    func validate(_ with: JSON) throws(KeelError) {}
    func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON { .object([]) }
    func run(_ context: StepContext) async throws -> JSON { .object([]) }
}

struct NoReferences: ReferenceSource {
    func reference(endpoint: ResourceRef, release: Int) async throws -> MonitorReference? { nil }
}

struct NoPredictions: PredictionHistory {
    func lastEventTime(endpoint: ResourceRef) async throws -> Timestamp? { nil }
    func forEach(
        endpoint: ResourceRef, since: Timestamp, _ body: @Sendable ([(prediction: ObservedPrediction, label: ObservedLabel?)]) async throws -> Void
    ) async throws {}
}
