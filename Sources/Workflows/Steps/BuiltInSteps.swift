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
    private let objects: FolderObjectStore
    private let lake: String

    /// - Parameter lake: the folder of Parquet files.
    package init(
        data: DatasetService, features: FeatureStores, resources: ResourceService, tracking: TrackingService, registry: RegistryService,
        releasing: Releasing, analytics: DuckDB, objects: FolderObjectStore, lake: String
    ) {
        self.data = data
        self.features = features
        self.resources = resources
        self.tracking = tracking
        self.registry = registry
        self.releasing = releasing
        self.analytics = analytics
        self.objects = objects
        self.lake = lake
    }

    package var all: [any StepKind] {
        [
            TrainingSetStep(data: data, features: features, analytics: analytics, resources: resources, lake: lake),
            GradientBoostingStep(analytics: analytics, objects: objects, registry: registry, lake: lake),
            EvaluateStep(analytics: analytics, objects: objects, registry: registry, lake: lake),
            GateStep(registry: registry),
            RegisterStep(tracking: tracking, registry: registry, objects: objects),
            ReleaseStep(releasing: releasing),
        ]
    }
}
