import Contracts
import Foundation
import Registry
import Serving
import Storage

/// A home in a temporary folder with one endpoint; opening it again is a restart after a crash.
final class Home: Sendable {
    let folder: String
    let database: Database
    let objects: FolderObjectStore
    let runtime: ServingRuntime
    let service: DeploymentService
    let promoted = Promotions()
    private let writer: Task<Void, Never>?

    actor Promotions {
        var releases: [Int] = []
        func add(_ release: Release) { releases.append(release.number) }
    }

    actor Texts {
        var texts: [String] = []
        func add(_ text: String) { texts.append(text) }
    }

    static let deployer = try! Grant.check(Caller(name: "ada", persona: .owner), may: .releasesDeploy)
    static let forcer = try! Grant.check(Caller(name: "ada", persona: .owner), may: .releasesForce)
    static let labeller = try! Grant.check(Caller(name: "ada", persona: .owner), may: .labelsWrite)
    static let reader = try! Grant.check(Caller(name: "ada", persona: .owner), may: .predictionsRead)

    /// - Parameter writes: whether the log's writer runs; without it predictions get no further than the journal.
    init(
        at folder: String? = nil, features: (any OnlineFeatures)? = nil, versions: (any ReleasableVersions)? = nil, denials: Texts? = nil,
        clock: any Contracts.Clock = SystemClock(), logRows: Int = 20_000, writes: Bool = true,
        tracer: (any RequestTracer)? = nil, remote: (any RemoteModels)? = nil
    ) async throws {
        self.folder = folder ?? FileManager.default.temporaryDirectory.appendingPathComponent("keel-serving-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: self.folder, withIntermediateDirectories: true)
        database = try Database(path: self.folder + "/keel.sqlite", clock: clock)
        try await database.migrate(
            Ledger.migrations + ServingTables.migrations + RegistryTables.migrations + RegistryTables.importMigrations,
            backupFolder: self.folder + "/backups")
        objects = try FolderObjectStore(root: self.folder + "/objects")
        let log = try PredictionLog(database: database, journal: self.folder + "/predictions", rowsMax: logRows)
        try await log.recover()
        runtime = ServingRuntime(log: log, threads: 2, tracer: tracer)
        let promoted = promoted
        service = DeploymentService(
            database: database, models: ModelLoader(objects: objects, remote: remote), runtime: runtime, features: features, versions: versions,
            denied: { caller, action, subject in await denials?.add("\(caller.name) \(action.rawValue) \(subject)") },
            onPromoted: { release, _ in await promoted.add(release) })
        writer = writes ? Task { await log.run() } : nil
    }

    /// Ends this process's part; a crash does not even flush.
    func stop() async {
        writer?.cancel()
        await writer?.value
    }

    /// A copy of the folder: what would be left of the process if it were killed now. This one goes on, and may be moving answers out of its ring; the ring
    /// is copied first, so that each is in one of the two.
    func remains() throws -> String {
        let (from, to) = (URL(fileURLWithPath: folder), URL(fileURLWithPath: folder + "-killed"))
        let files = FileManager.default
        let ring = "predictions/ring"
        let all = (files.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []).filter { $0 != ring && !$0.hasSuffix("-shm") }
        for path in [ring] + all {
            let copy = to.appendingPathComponent(path)
            var isFolder: ObjCBool = false
            guard files.fileExists(atPath: from.appendingPathComponent(path).path, isDirectory: &isFolder) else { continue }
            try files.createDirectory(at: isFolder.boolValue ? copy : copy.deletingLastPathComponent(), withIntermediateDirectories: true)
            if !isFolder.boolValue { try files.copyItem(at: from.appendingPathComponent(path), to: copy) }
        }
        return to.path
    }

    /// A model with one input `x`: `low` below 0.5, else `high`.
    func bundle(_ low: Double, _ high: Double, input: String = "x", service: String? = nil) async throws -> Digest {
        try await ModelLoader(objects: objects).store(
            ModelBundle(
                flavor: .xgboost, model: Home.tree(low, high), signature: Home.signature(input), featureService: service, metrics: ["auc": 0.8]),
            model: Home.tree(low, high))
    }

    static func signature(_ input: String) -> Signature { Signature(inputs: [.init(input, .float64)], outputs: [.init("score", .float32)]) }

    static func tree(_ low: Double, _ high: Double) -> [UInt8] {
        func margin(_ p: Double) -> Double { log(p / (1 - p)) }
        return Array(
            """
            {"learner":{"attributes":{},"feature_names":[],"feature_types":[],"gradient_booster":{"model":{"gbtree_model_param":{"num_parallel_tree":"1",
            "num_trees":"1"},"iteration_indptr":[0,1],"tree_info":[0],"trees":[{"base_weights":[0.0,0.0,0.0],"categories":[],"categories_nodes":[],
            "categories_segments":[],"categories_sizes":[],"default_left":[0,0,0],"id":0,"left_children":[1,-1,-1],"loss_changes":[1.0,0.0,0.0],
            "parents":[2147483647,0,0],"right_children":[2,-1,-1],"split_conditions":[0.5,\(margin(low)),\(margin(high))],"split_indices":[0,0,0],
            "split_type":[0,0,0],"sum_hessian":[1.0,1.0,1.0],"tree_param":{"num_deleted":"0","num_feature":"1","num_nodes":"3",
            "size_leaf_vector":"1"}}]},"name":"gbtree"},"learner_model_param":{"base_score":"5E-1","boost_from_average":"1","num_class":"0",
            "num_feature":"1","num_target":"1"},"objective":{"name":"binary:logistic","reg_loss_param":{"scale_pos_weight":"1"}}},"version":[3,0,0]}
            """.utf8)
    }

    /// Creates and deploys.
    @discardableResult
    func release(_ low: Double, _ high: Double, forced: Bool = false, to endpoint: ResourceRef = .delay) async throws -> Deployment? {
        let digest = try await bundle(low, high)
        let gate: GateResult = forced ? .forced(reason: "to see") : .passed
        let grant = try Home.may(forced ? .releasesForce : .releasesDeploy, in: endpoint.workspace)
        let release = try await service.createRelease(
            endpoint: endpoint, model: "delay", version: "\(low)", bundle: digest, gate: gate, grant)
        return try await service.deploy(endpoint: endpoint, release: release.number, grant)
    }

    static func may(_ action: Action, in workspace: WorkspaceID) throws -> Grant {
        try Grant.check(Caller(name: "ada", persona: .owner, workspace: workspace), may: action)
    }

    /// Asks one question a row and lets everything be logged.
    @discardableResult
    func ask(_ count: Int, from start: Int = 0) async throws -> [InferenceResult] {
        var results: [InferenceResult] = []
        for i in start..<start + count {
            results.append(try await runtime.infer(endpoint: .delay, request: Home.request([Double(i % 10) / 10]), ids: ["p\(i)"]))
        }
        try await runtime.flush()
        return results
    }

    static func request(_ values: [Double], column: String = "x") -> Table {
        try! Table([(name: column, column: Column(.float64, .float64(values)))])
    }

    func events(_ kind: String) async throws -> [LedgerEvent] {
        try await database.read { try $0.ledgerEvents(kind: kind, subject: "Endpoint/delay") }
    }
}

extension ResourceRef {
    static let delay = ResourceRef("Endpoint", "delay")
    static let staging = ResourceRef("Endpoint", "delay", environment: .staging)
}

extension EndpointSpec {
    static func delay(
        _ rollout: RolloutPlan = RolloutPlan(), log: LogPolicy = LogPolicy(), limits: EndpointLimits = EndpointLimits(),
        features: String? = nil
    ) -> EndpointSpec {
        EndpointSpec(.delay, features: features, rollout: rollout, log: log, limits: limits)
    }
}
