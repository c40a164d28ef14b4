import Datasets
import Engines
import FeatureStore
import Governance
import Pipelines
import Registry
import Serving
import Storage
import Tracking

/// The steps that a pipeline has without a program of its own.
package struct BuiltInSteps: Sendable {
    private let data: DatasetService
    private let features: FeatureStores
    private let resources: ResourceService
    private let tracking: TrackingService
    private let registry: RegistryService
    private let releasing: Releasing
    private let analytics: DuckDB
    private let models: ModelLoader
    private let lake: String

    /// - Parameter lake: the folder of Parquet files.
    package init(
        data: DatasetService, features: FeatureStores, resources: ResourceService, tracking: TrackingService, registry: RegistryService,
        releasing: Releasing, analytics: DuckDB, models: ModelLoader, lake: String
    ) {
        self.data = data
        self.features = features
        self.resources = resources
        self.tracking = tracking
        self.registry = registry
        self.releasing = releasing
        self.analytics = analytics
        self.models = models
        self.lake = lake
    }

    package var all: [any StepKind] {
        [
            TrainingSetStep(data: data, features: features, analytics: analytics, resources: resources, lake: lake),
            GradientBoostingStep(analytics: analytics, models: models, registry: registry, lake: lake),
            EvaluateStep(analytics: analytics, models: models, registry: registry, lake: lake),
            GateStep(registry: registry),
            RegisterStep(tracking: tracking, registry: registry, models: models),
            ReleaseStep(releasing: releasing),
        ]
    }
}
