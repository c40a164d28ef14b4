import Contracts
import DataEstate
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

public enum KeelVersion {
    public static let text = "0.1.0"
}

/// The composition root: every room made once, its ports connected, and what holds them together across a start, an apply and a stop.
public final class Platform: Sendable {
    public let configuration: KeelConfiguration
    public let logger: Logger
    public let database: Storage.Database
    public let objects: FolderObjectStore
    public let resources: ResourceService
    public let tokens: TokenService
    public let audit: AccessAudit
    public let data: DataEstate
    public let features: FeatureStore
    public let tracking: TrackingService
    public let registry: RegistryService
    public let pipelines: PipelineService
    public let triggers: TriggerService
    public let runtime: ServingRuntime
    public let deployments: DeploymentService
    public let releasing: Releasing
    public let monitoring: MonitoringService
    let analytics: Analytics
    let predictions: PredictionLog

    /// Opens the home folder, migrates the database, and brings back what was configured, served and known when the server last stopped.
    public init(configuration: KeelConfiguration, logger: Logger) async throws {
        let home = configuration.home
        for folder in ["", "/lake", "/streams", "/work"] {
            try FileManager.default.createDirectory(atPath: home + folder, withIntermediateDirectories: true)
        }
        self.configuration = configuration
        self.logger = logger
        let clock = SystemClock()
        database = try Storage.Database(path: home + "/keel.sqlite", clock: clock)
        try await database.migrate(
            Ledger.migrations + GovernanceTables.migrations + DataEstateTables.migrations + TrackingTables.migrations + RegistryTables.migrations
                + PipelineTables.migrations + ServingTables.migrations + MonitoringTables.migrations,
            backupFolder: home + "/backups")
        objects = try FolderObjectStore(root: home + "/objects")
        analytics = Analytics(settings: DuckDB.Settings(threads: 2, temporaryDirectory: home + "/work"))
        resources = ResourceService(database: database)
        tokens = try await TokenService.open(database: database, clock: clock)
        audit = AccessAudit(database: database, clock: clock)
        let analytics = analytics
        data = try DataEstate(database: database, lake: home + "/lake", streams: home + "/streams") { () throws(KeelError) in try analytics.connect() }
        features = FeatureStore(clock: clock)
        tracking = TrackingService(database: database, objects: objects)
        registry = RegistryService(database: database)
        predictions = PredictionLog(database: database)
        runtime = ServingRuntime(log: predictions, clock: clock)
        deployments = DeploymentService(database: database, objects: objects, runtime: runtime, features: features)
        releasing = Releasing(registry: registry, deployments: deployments, objects: objects)
        monitoring = MonitoringService(database: database, references: ReleaseReferences(runtime: runtime))
        let lake = home + "/lake"
        pipelines = PipelineService(
            database: database,
            kinds: [
                TrainingSetStep(data: data, features: features, analytics: analytics, lake: lake),
                GradientBoostingStep(analytics: analytics, objects: objects, lake: lake),
                EvaluateStep(analytics: analytics, objects: objects, registry: registry, lake: lake), GateStep(),
                RegisterStep(tracking: tracking, registry: registry, objects: objects), ReleaseStep(releasing: releasing),
                ShellStep(server: configuration.url), PythonStep(server: configuration.url),
            ],
            workFolder: home + "/work", concurrency: configuration.stepsMax, clock: clock)
        triggers = TriggerService(database: database, pipelines: pipelines)
        try await restore()
    }
}
