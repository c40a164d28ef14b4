import Contracts

public enum LoggedModelStatus: String, Sendable, Hashable, CaseIterable {
    case pending = "LOGGED_MODEL_PENDING"
    case ready = "LOGGED_MODEL_READY"
    case failed = "LOGGED_MODEL_UPLOAD_FAILED"
}

/// A model as a run left it, before anyone registers it.
public struct LoggedModel: Sendable, Hashable {
    /// `m-` and 32 hexadecimal characters.
    public let id: String
    public let experimentID: String
    public let name: String
    public let modelType: String?
    public let sourceRunID: String?
    public let status: LoggedModelStatus
    public let artifactURI: String
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public var params: [KeyValue] = []
    public var tags: [KeyValue] = []
    public var metrics: [LoggedModelMetric] = []
}

/// A metric of a logged model, with the run that measured it.
public struct LoggedModelMetric: Sendable, Hashable {
    public let runID: String
    public let metric: Metric
}
