import Contracts

/// One logged prediction: what was asked, used and answered.
public struct PredictionRecord: Sendable, Hashable {
    public let endpoint: ResourceRef
    public let id: String
    public let release: Int
    public let eventTime: Timestamp
    public let at: Timestamp
    /// Scored for comparison only: another release answered the caller.
    public let shadow: Bool
    /// The primary output as a number; nil when the model has none.
    public let score: Float?
    /// The model's inputs, in the order of its signature.
    public let inputs: PackedRow
    /// What the model gave, in the order of its outputs.
    public let outputs: PackedRow
    /// The duration of the whole request that it was part of.
    public let latencyNanoseconds: Int
}

/// A prediction whose truth is known.
public struct LabelledPrediction: Sendable, Hashable {
    public let endpoint: ResourceRef
    public let id: String
    public let release: Int
    public let eventTime: Timestamp
    public let shadow: Bool
    /// Nil when the model gives no number a row.
    public let score: Double?
    /// What the model gave, in the order of its outputs; nil in rows of a version before outputs were kept.
    public let outputs: PackedRow?
    public let label: Label
    public let labelAt: Timestamp

    public init(
        endpoint: ResourceRef, id: String, release: Int, eventTime: Timestamp, shadow: Bool, score: Double?, outputs: PackedRow? = nil,
        label: Label, labelAt: Timestamp
    ) {
        self.endpoint = endpoint
        self.id = id
        self.release = release
        self.eventTime = eventTime
        self.shadow = shadow
        self.score = score
        self.outputs = outputs
        self.label = label
        self.labelAt = labelAt
    }
}

/// The truth of a prediction, as it is posted.
public struct LabelInput: Sendable, Hashable {
    public let id: String
    public let value: Label
    /// When it became known; nil is now.
    public let at: Timestamp?

    public init(id: String, value: Label, at: Timestamp? = nil) { (self.id, self.value, self.at) = (id, value, at) }
}

/// Labels that were posted together.
struct LabelsInput: Sendable {
    let labels: [LabelInput]
    /// Whose predictions they are of.
    let workspace: WorkspaceID
    /// When given, they are of the predictions of this endpoint alone.
    let endpoint: ResourceRef?
}

/// What became of posted labels.
public struct LabelCounts: Sendable, Hashable {
    /// Labels that found their prediction.
    public var joined: Int
    /// Labels of ids that are not logged; they are kept for `unknownKept` and join when their prediction is.
    public var unknown: Int
    /// Labels that their endpoint cannot have: they are not kept.
    public var rejected: [RejectedLabel]
    /// How long a label waits for its prediction.
    public static let unknownKept = TimeSpan.days(30)

    public init(joined: Int = 0, unknown: Int = 0, rejected: [RejectedLabel] = []) {
        self.joined = joined
        self.unknown = unknown
        self.rejected = rejected
    }
}

/// A label that was refused, by its place among those posted.
public struct RejectedLabel: Sendable, Hashable {
    public let index: Int
    public let reason: String

    public init(index: Int, reason: String) {
        self.index = index
        self.reason = reason
    }
}

/// What one release answered to one request's rows, on its way to the log.
///
/// A class, so that the queue moves one reference.
final class InferenceBatch: Sendable {
    let endpoint: ResourceRef
    let release: Int
    let shadow: Bool
    let at: Timestamp
    let ids: [String]
    let inputs: ModelInputs
    let outputs: Table
    let scores: [Float]?
    let request: Table
    let latencyNanoseconds: Int

    init(
        endpoint: ResourceRef, release: Int, shadow: Bool, at: Timestamp, ids: [String], inputs: ModelInputs, outputs: Table, scores: [Float]?,
        request: Table, latencyNanoseconds: Int
    ) {
        self.endpoint = endpoint
        self.release = release
        self.shadow = shadow
        self.at = at
        self.ids = ids
        self.inputs = inputs
        self.outputs = outputs
        self.scores = scores
        self.request = request
        self.latencyNanoseconds = latencyNanoseconds
    }
}
