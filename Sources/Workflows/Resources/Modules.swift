import Contracts
import Datasets
import FeatureStore
import Governance
import Monitoring
import Pipelines
import Serving
import Storage

/// The modules that resources are put in force in.
package struct Modules: Sendable {
    package let database: Storage.Database
    package let damage: DamageRegister
    package let resources: ResourceService
    package let audit: AccessAudit
    package let policy: AccessPolicy
    /// Names of what is there without being declared, by its kind: registered models.
    package let names: @Sendable (WorkspaceID) async throws -> [String: [String]]
    package let data: DatasetService
    package let features: FeatureStores
    package let history: FeatureHistory
    package let pipelines: PipelineService
    package let triggers: TriggerService
    package let runtime: ServingRuntime
    package let deployments: DeploymentService
    package let monitoring: MonitoringService
    package let models: ModelLoader
    /// The folder at which the paths of scripts begin.
    package let project: String

    package init(
        database: Storage.Database, damage: DamageRegister, resources: ResourceService, audit: AccessAudit, policy: AccessPolicy,
        names: @escaping @Sendable (WorkspaceID) async throws -> [String: [String]], data: DatasetService,
        features: FeatureStores, history: FeatureHistory, pipelines: PipelineService, triggers: TriggerService, runtime: ServingRuntime,
        deployments: DeploymentService, monitoring: MonitoringService, models: ModelLoader, project: String
    ) {
        self.database = database
        self.damage = damage
        self.resources = resources
        self.audit = audit
        self.policy = policy
        self.names = names
        self.data = data
        self.features = features
        self.history = history
        self.pipelines = pipelines
        self.triggers = triggers
        self.runtime = runtime
        self.deployments = deployments
        self.monitoring = monitoring
        self.models = models
        self.project = project
    }
}
