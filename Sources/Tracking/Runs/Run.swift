import Contracts

public enum RunStatus: String, Sendable, Hashable, CaseIterable {
    case running = "RUNNING"
    case scheduled = "SCHEDULED"
    case finished = "FINISHED"
    case failed = "FAILED"
    case killed = "KILLED"

    var isTerminal: Bool { self == .finished || self == .failed || self == .killed }
}

/// One execution that is tracked.
public struct Run: Sendable, Hashable {
    /// 32 hexadecimal characters.
    public let id: String
    public let name: String
    public let experimentID: String
    public let userID: String
    public let status: RunStatus
    public let startedAt: Timestamp
    public let endedAt: Timestamp?
    public let artifactURI: String
    public let lifecycle: Lifecycle
    /// The newest value of each metric.
    public var metrics: [Metric] = []
    public var params: [KeyValue] = []
    public var tags: [KeyValue] = []
    public var datasets: [DatasetInput] = []
    public var modelInputs: [ModelLink] = []
    public var modelOutputs: [ModelLink] = []

    package init(
        id: String, name: String, experimentID: String, userID: String, status: RunStatus, startedAt: Timestamp, endedAt: Timestamp?,
        artifactURI: String, lifecycle: Lifecycle, metrics: [Metric] = [], params: [KeyValue] = [], tags: [KeyValue] = [],
        datasets: [DatasetInput] = [], modelInputs: [ModelLink] = [], modelOutputs: [ModelLink] = []
    ) {
        self.id = id
        self.name = name
        self.experimentID = experimentID
        self.userID = userID
        self.status = status
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.artifactURI = artifactURI
        self.lifecycle = lifecycle
        self.metrics = metrics
        self.params = params
        self.tags = tags
        self.datasets = datasets
        self.modelInputs = modelInputs
        self.modelOutputs = modelOutputs
    }
}

/// The step of a pipeline run that made a run.
public struct RunOrigin: Sendable, Hashable {
    public let pipelineRun: String
    public let step: String
    public init(pipelineRun: String, step: String) {
        self.pipelineRun = pipelineRun
        self.step = step
    }

    /// The tag that shows it to MLflow's clients. Only Keel writes it.
    public static let tag = ReservedTags.prefix + "pipeline_run"

    var key: String { "\(pipelineRun)/\(step)" }
}

/// A value measured at an instant and a step.
public struct Metric: Sendable, Hashable {
    public let key: String
    /// May be NaN; infinities are clamped to the largest finite number when stored.
    public let value: Double
    public let at: Timestamp
    public let step: Int64
    /// The logged model it measures, if any, and on which dataset.
    public let modelID: String?
    public let datasetName: String?
    public let datasetDigest: String?

    public init(
        _ key: String, _ value: Double, at: Timestamp, step: Int64 = 0, modelID: String? = nil, datasetName: String? = nil,
        datasetDigest: String? = nil
    ) {
        self.key = key
        self.value = value
        self.at = at
        self.step = step
        self.modelID = modelID
        self.datasetName = datasetName
        self.datasetDigest = datasetDigest
    }
}

/// A dataset that a run read.
public struct DatasetInput: Sendable, Hashable {
    public let name: String
    public let digest: String
    public let sourceType: String
    public let source: String
    public let schema: String?
    public let profile: String?
    public let tags: [KeyValue]

    public init(
        name: String, digest: String, sourceType: String, source: String, schema: String? = nil, profile: String? = nil,
        tags: [KeyValue] = []
    ) {
        self.name = name
        self.digest = digest
        self.sourceType = sourceType
        self.source = source
        self.schema = schema
        self.profile = profile
        self.tags = tags
    }

    /// What it was used for: `training`, `evaluation`.
    var context: String? { tags.first { $0.key == "mlflow.data.context" }?.value }
}

/// A logged model that a run read or made.
public struct ModelLink: Sendable, Hashable {
    public let modelID: String
    public let step: Int64
    public init(modelID: String, step: Int64 = 0) { (self.modelID, self.step) = (modelID, step) }
}
