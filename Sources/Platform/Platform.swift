import Contracts
import Datasets
import Engines
import FeatureStore
import Foundation
import Governance
import Logging
import Monitoring
import OpenIDConnect
import Outgoing
import Pipelines
import Registry
import RemoteInference
import Serving
import Storage
import TraceExport
import Tracking
import Workers
import Workflows

/// The composition root: every module made once, its ports connected, and what runs in the background between a start and a stop.
public final class Platform: Sendable {
    public let configuration: KeelConfiguration
    public let logger: Logger
    /// Locked for as long as the platform lives.
    let home: Home
    /// What is stored and not what it was.
    public let damage: DamageRegister
    public let checkpoints: CheckpointService
    public let database: Storage.Database
    public let objects: FolderObjectStore
    public let resources: ResourceService
    public let tokens: TokenService
    public let policy: AccessPolicy
    public let workspaces: WorkspaceService
    public let audit: AccessAudit
    /// Who holds a token of an identity provider.
    public let openID: OpenIDAuthenticator
    public let memory: MemoryBudget
    public let data: DatasetService
    public let features: FeatureStores
    public let tracking: TrackingService
    public let registry: RegistryService
    public let webhooks: WebhookService
    public let pipelines: PipelineService
    public let stepIsolation: IsolationChoice
    let models: ModelLoader
    public let triggers: TriggerService
    public let runtime: ServingRuntime
    public let endpointHistory: EndpointHistory
    public let deployments: DeploymentService
    public let monitoring: MonitoringService
    /// The prediction log in the lake.
    public let exporter: PredictionExporter
    public let predictionSQL: PredictionSQL
    public let parquetPreviews: ParquetPreviews
    let feed: MonitorFeed
    /// Nil when nobody wants traces.
    let traces: TraceExporter?
    let featureCheckpoints: FeatureCheckpoints

    // What crosses modules.
    public let applying: Applying
    public let ingesting: Ingesting
    public let releasing: Releasing
    public let deploying: Deploying
    public let cards: CardWriting
    public let signing: ModelSigning
    public let parity: FeatureParity
    public let reports: ServingReports
    public let collecting: Collecting
    public let backups: BackingUp
    public let verifying: Verifying

    /// Opens the home folder, migrates the database, and brings back what was configured, served and known when the server last stopped.
    ///
    /// What is damaged is reported and left out; only a home that another process uses, and a database that cannot be opened, keep the server from starting.
    public init(configuration: KeelConfiguration, logger: Logger) async throws {
        let home = configuration.home
        // Before anything is read or changed: another server's files look like a crashed one's.
        self.home = try Home(home, user: configuration.url)
        let damage = DamageRegister()
        self.damage = damage
        for folder in Platform.folders { try self.home.folder(folder, damage: damage) }
        try self.home.clearSidecars(of: "keel.sqlite", damage: damage)
        Platform.removeLeftovers(below: home + "/work", damage)
        Platform.reportMissingDatabase(home, damage)
        self.configuration = configuration
        self.logger = logger
        let memory = MemoryBudget(bytes: configuration.memoryBytes)
        self.memory = memory
        let database = try Storage.Database(path: home + "/keel.sqlite")
        try await database.migrate(Platform.migrations, backupFolder: home + "/backups")
        let resources = ResourceService(database: database)
        let objects = try FolderObjectStore(root: home + "/objects") { damage.report("Storage/objects", $0) }
        let analytics = DuckDB(
            openedAtFirstUse: DuckDB.Settings(
                folders: [home + "/lake", home + "/work"], threads: 2, memoryBytesMax: memory.capacity(of: .analytics),
                temporaryDirectory: home + "/work/spill"))
        let data = try DatasetService(
            database: database, lake: home + "/lake", streams: home + "/streams", duckdb: analytics, damage: damage)
        let seed = try self.home.key("features.key", new: SecretBox.newKey, damage: damage).bytes.prefix(8).reduce(0) {
            $0 << 8 | UInt64($1)
        }
        let features = FeatureStores(seed: seed, version: KeelVersion.text)
        let pushes = PushGate()
        let featureCheckpoints = FeatureCheckpoints(
            folder: home + "/features", bytesMin: configuration.checkpointBytes, data: data, features: features, pushes: pushes,
            damage: damage,
            logger: logger)
        self.featureCheckpoints = featureCheckpoints
        let tracking = TrackingService(
            database: database, objects: objects, artifactUsage: RegisteredArtifacts(),
            artifactBytesMax: Int64(configuration.artifactBytesMax), folder: FileManager.default.currentDirectoryPath)
        let audit = AccessAudit(database: database, refusalsMax: configuration.refusalsMax) { logger.warning("\($0)") }
        let denied = { @Sendable (caller: Caller, action: Action, subject: String) async throws in
            try await audit.recordDenial(caller, action: action, subject: subject)
        }
        let registry = RegistryService(
            database: database, loggedModels: TrackedModels(tracking: tracking), usage: ReleasedVersions(),
            runs: TrackedRuns(tracking: tracking), files: TrackedModelFiles(tracking: tracking),
            protectedAliases: Set(configuration.protectedAliases),
            denied: denied)
        let secretsKey = try self.home.key("secrets.key", new: SecretBox.newKey, damage: damage)
        let http = try OutgoingHTTP(trusting: configuration.outgoingAuthorities)
        openID = OpenIDAuthenticator(
            configuration.issuers,
            documents: HTTPIssuerDocuments(
                GuardedHTTP(
                    for: .issuer, schemes: configuration.issuerSchemes, allowsInternal: configuration.issuersInternal,
                    resolver: SystemResolver(), http: http)))
        webhooks = WebhookService(
            database: database,
            sender: WebhookHTTP(
                schemes: configuration.webhookSchemes, allowsInternal: configuration.webhooksInternal, resolver: SystemResolver(),
                http: http),
            secrets: try SecretBox(key: secretsKey.bytes, canSeal: secretsKey.isStored))
        traces = try configuration.tracing.map { settings in
            try TraceExporter(
                settings,
                http: GuardedHTTP(
                    for: .collector, schemes: settings.schemes, allowsInternal: settings.allowsInternal, resolver: SystemResolver(), http: http),
                seed: UInt64(Identifier.hex32().prefix(16), radix: 16) ?? 0
            ) { logger.warning("\($0)") }
        }
        ONNXModel.limitMemory(bytes: memory.capacity(of: .models))
        let runtime = ServingRuntime(
            log: try PredictionLog(database: database, journal: home + "/predictions") { damage.report("Predictions", $0) },
            threads: configuration.modelThreads > 0 ? configuration.modelThreads : ProcessInfo.processInfo.activeProcessorCount, tracer: traces)
        let project = FileManager.default.currentDirectoryPath
        let hidden =
            (configuration.tls.map { [$0.key.hasPrefix("/") ? $0.key : project + "/" + $0.key] } ?? [])
            + (configuration.remoteSecrets.map { [$0] } ?? [])
        let isolationOfModels = IsolationChoice {
            try await ProgramIsolation.choose(
                configuration.stepsSandbox, user: configuration.stepsUser,
                folders: ProgramIsolation.Folders(home: home, project: project, work: home + "/python", hidden: hidden), view: .only,
                users: configuration.pythonUsers)
        }
        let models = ModelLoader(
            objects: objects,
            python: PythonModels(
                folder: home + "/python", isolation: isolationOfModels, settings: configuration.pythonModels,
                secrets: ProgramEnvironment.secretsOfThisProcess(), report: { logger.notice("python model: \($0)") }),
            remote: RemoteServers(
                GuardedHTTP(
                    for: .model, schemes: configuration.remoteSchemes, allowsInternal: configuration.remotesInternal,
                    resolver: SystemResolver(), http: http), secrets: configuration.remoteSecrets, memory: memory),
            signatures: RegisteredSignatures(registry: registry),
            threads: configuration.modelThreads > 0 ? configuration.modelThreads : ProcessInfo.processInfo.activeProcessorCount)
        let deployments = DeploymentService(
            database: database, models: models, runtime: runtime, features: ServedFeatures(stores: features),
            versions: RegisteredVersions(), denied: denied,
            onPromoted: { release, since in await Platform.markChampion(release, since: since, registry, logger) },
            onFailed: { endpoint, error in damage.report(endpoint, error) })
        let queries = PredictionQueries(database: database)
        let signatures = ReleaseSignatures(deployments: deployments, objects: objects)
        feed = MonitorFeed(signatures: signatures)
        let monitoring = MonitoringService(
            database: database, references: ReleaseReferences(deployments: deployments, objects: objects),
            history: LoggedPredictions(queries: queries, signatures: signatures))
        let files = TrackedModelFiles(tracking: tracking)
        let binding = ModelBinding(registry: registry, tracking: tracking, models: models) { try await files.facts(at: $0, in: $1) }
        let releasing = Releasing(registry: registry, binding: binding, deployments: deployments, monitoring: monitoring, denied: denied)
        self.releasing = releasing
        let lake = home + "/lake"
        let policy = AccessPolicy()
        self.policy = policy
        let tokens = try await TokenService.open(database: database, policy: policy, denied: denied, report: damage.report)
        let ledgerKey = try self.home.key("ledger.key", new: SigningKey.newSeed, damage: damage)
        let checkpoints = try CheckpointService(
            database: database, key: SigningKey(seed: ledgerKey.bytes), isKeyStored: ledgerKey.isStored, folder: home + "/checkpoints",
            report: { damage.report("Ledger/checkpoints", $0) })
        self.checkpoints = checkpoints
        stepIsolation = IsolationChoice {
            try await ProgramIsolation.choose(
                configuration.stepsSandbox, user: configuration.stepsUser,
                folders: ProgramIsolation.Folders(home: home, project: project, work: home + "/work", hidden: hidden))
        }
        let programs = ProgramEnvironment(
            projectFolder: project, isolation: stepIsolation, secrets: ProgramEnvironment.secretsOfThisProcess()
        ) { caller, actor in
            let secret = tokens.lend(to: caller, actor: actor)
            return ProgramAccess(
                variables: [
                    "MLFLOW_TRACKING_URI": configuration.url, "MLFLOW_TRACKING_TOKEN": secret, "KEEL_URL": configuration.url,
                    "KEEL_TOKEN": secret, "KEEL_WORKSPACE": caller.workspace.name, "MLFLOW_WORKSPACE": caller.workspace.name,
                ],
                end: { tokens.takeBack(secret) })
        }
        let pipelines = PipelineService(
            database: database,
            kinds: BuiltInSteps(
                data: data, features: features, resources: resources, tracking: tracking, registry: registry, releasing: releasing,
                analytics: analytics, models: models, lake: lake
            ).all + [ShellStep(environment: programs), PythonStep(environment: programs)],
            workFolder: home + "/work", concurrency: configuration.stepsMax)
        workspaces = WorkspaceService(
            database: database, policy: policy,
            content: [TrackedWorkspaces(), RegisteredWorkspaces(), StoredDatasets(data: data), PipelineWorkspaces(), ServedWorkspaces()])
        let triggers = TriggerService(
            database: database, pipelines: pipelines,
            authority: { [openID] name, workspace in
                (tokens.principal(named: name) ?? openID.principal(named: name)).flatMap { try? policy.caller($0, in: workspace) }
            })
        self.resources = resources
        self.tokens = tokens
        self.audit = audit
        self.database = database
        self.objects = objects
        self.models = models
        self.data = data
        self.features = features
        self.tracking = tracking
        self.registry = registry
        self.pipelines = pipelines
        self.triggers = triggers
        self.runtime = runtime
        endpointHistory = EndpointHistory(runtime)
        self.deployments = deployments
        self.monitoring = monitoring

        let history = FeatureHistory(
            data: data, analytics: analytics, checkpoints: featureCheckpoints, pushes: pushes, clock: database.clock)
        applying = Applying(
            Modules(
                database: database, damage: damage, resources: resources, audit: audit, policy: policy,
                names: { workspace in
                    let grant = try Grant.check(.system("plan", in: workspace), may: .registryRead)
                    return ["Model": try await registry.modelNames(grant)]
                }, data: data, features: features, history: history,
                pipelines: pipelines, triggers: triggers, runtime: runtime, deployments: deployments, monitoring: monitoring,
                models: models, project: project), report: { logger.error("\($0)") })
        deploying = Deploying(
            applying: applying, releasing: releasing, remotes: RemoteBinding(registry: registry, models: models, denied: denied), registry: registry,
            deployments: deployments)
        ingesting = Ingesting(data: data, features: features, applying: applying, pushes: pushes, workFolder: home + "/work")
        cards = CardWriting(
            resources: resources, registry: registry, tracking: tracking, pipelines: pipelines, deployments: deployments, objects: objects)
        signing = ModelSigning(registry: registry, tracking: tracking, models: models)
        parity = FeatureParity(
            data: data, features: features, runtime: runtime, deployments: deployments, queries: queries, objects: objects,
            analytics: analytics)
        reports = ServingReports(
            runtime: runtime, deployments: deployments, monitoring: monitoring, queries: queries,
            signature: { await signatures.signature(of: $0, release: $1) })
        collecting = Collecting(
            database: database, damage: damage, objects: objects, tracking: tracking, registry: registry, deployments: deployments,
            pipelines: pipelines, models: models)
        backups = BackingUp(database: database, damage: damage, home: home)
        exporter = PredictionExporter(database: database, objects: objects, lake: lake, duckdb: analytics, damage: damage)
        predictionSQL = PredictionSQL(
            database: database, exporter: exporter, duckdb: analytics, work: home + "/work", runner: QueryProcess.run)
        parquetPreviews = ParquetPreviews(work: home + "/work")
        verifying = Verifying(database: database, data: data, predictions: exporter, objects: objects, checkpoints: checkpoints, tokens: tokens)
        runtime.log.observe(feed)
        runtime.log.observe(endpointHistory)
        await start()
    }

    /// In production the promoted version is the champion of its model: what the next one is compared with.
    /// - Parameter since: the event that promoted it, at a start: an alias that was moved after it stays where it is.
    private static func markChampion(_ release: Release, since: Int64?, _ registry: RegistryService, _ logger: Logger) async {
        guard release.endpoint.environment == .production, let version = Int(release.modelVersion) else { return }
        do {
            let grant = try Grant.check(.system("deployments", in: release.endpoint.workspace), may: .registryWrite, on: "Model/\(release.model)")
            if let since, try await registry.hasChanged(alias: "champion", of: release.model, after: since, grant) { return }
            try await registry.setAlias(model: release.model, alias: "champion", version: version, grant)
        } catch { logger.error("could not move the alias champion to \(release.model)/\(version): \(KeelError.wrapping(error))") }
    }

    /// Background work, until the task is cancelled: the log's writer, rollouts, monitors, triggers, and the runs that a stop interrupted.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await runtime.log.run() }
            group.addTask { [self] in await endpointHistory.run() }
            group.addTask { [self] in await exporter.run(every: configuration.predictionsExport) }
            group.addTask { [self] in await feed.run(into: monitoring, logger: logger) }
            group.addTask { [self] in await deployments.run(onFailure: { [logger] in logger.error("rollout: \($0)") }) }
            group.addTask { [self] in await WebhookFollower(webhooks, report: { [logger] in logger.error("webhooks: \($0)") }).run() }
            group.addTask { [self] in await openID.run(report: { [logger] in logger.warning("\($0)") }) }
            group.addTask { [self] in await triggers.follow(report: { [logger] in logger.error("trigger: \($0)") }) }
            group.addTask { [self] in await traces?.run() }
            group.addTask { [self] in await sweepUploads() }
            group.addTask { [self] in await recordDamage() }
            group.addTask { [self] in await featureCheckpoints.run() }
            group.addTask { [self] in await checkpoints.run(report: { [logger] in logger.error("ledger checkpoint: \($0)") }) }
            group.addTask { [self] in
                // Denials are gathered, and when tokens were used: what a minute gathered is stored.
                while (try? await Task.sleep(for: .seconds(60))) != nil {
                    try? await audit.flush()
                    try? await tokens.flush()
                }
            }
            group.addTask { [self] in
                do {
                    let resumed = try await pipelines.resumeUnfinished()
                    if !resumed.isEmpty { logger.notice("resumed \(resumed.count) pipeline runs") }
                } catch { logger.error("could not resume pipeline runs: \(KeelError.wrapping(error))") }
            }
        }
    }

    /// Puts in the table what a killed server had answered and not yet put there.
    func recoverPredictions() async throws {
        try await runtime.log.recover()
        let recovered = runtime.log.counters.recovered
        if recovered > 0 { logger.notice("\(recovered) predictions were recovered from the journal") }
    }

    /// Finds out how programs of steps are kept apart here, and says so in the log.
    /// - Throws: `failedPrecondition` when the settings demand what the machine does not offer.
    public func isolateSteps() async throws {
        let isolation = try await stepIsolation.value()
        for problem in isolation.passedOver { logger.notice("a stricter isolation of steps does not work here: \(problem)") }
        logger.notice("programs of steps run in this isolation: \(isolation.description)")
        if isolation.exposesSecrets {
            logger.warning(
                "programs of steps can read what the server's user can, its secrets too; \(isolation.advice) (docs/steps.md)")
        }
        if isolation.refusesPrograms {
            logger.error(
                "steps with programs will fail, as the server is root and no other user can run them; \(isolation.advice) (docs/steps.md)")
        }
    }

    /// Brings everything that was accepted to the disk. Call it after the last request was answered and before `run` is cancelled.
    public func shutdown() async throws {
        await pipelines.shutdown()
        do { try await runtime.flush() } catch {
            logger.error(
                "\(runtime.log.counters.queued) predictions could not be put in the table: \(KeelError.wrapping(error)). They are in the journal, and the next start puts them there"
            )
        }
        feed.finish()
        try await audit.flush()
        try await tokens.flush()
        try data.sync()
        try await checkpoints.close()
        try await database.close()
        // Last: a start without the checkpoints takes longer, and that is all; what is lost of the traces is lost.
        await featureCheckpoints.close()
        await traces?.close()
    }
}
