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
    public let score: Float
    /// The model's inputs, in the order of its signature; NaN is missing.
    public let features: [Float]
    /// The duration of the whole request that it was part of.
    public let latencyNanoseconds: Int

    public init(
        endpoint: ResourceRef, id: String, release: Int, eventTime: Timestamp, at: Timestamp, shadow: Bool, score: Float, features: [Float],
        latencyNanoseconds: Int
    ) {
        (self.endpoint, self.id, self.release, self.eventTime, self.at) = (endpoint, id, release, eventTime, at)
        (self.shadow, self.score, self.features, self.latencyNanoseconds) = (shadow, score, features, latencyNanoseconds)
    }
}

/// A prediction whose truth is known.
public struct LabelledPrediction: Sendable, Hashable {
    public let endpoint: ResourceRef
    public let id: String
    public let release: Int
    public let eventTime: Timestamp
    public let shadow: Bool
    public let score: Double
    public let label: Double
    public let labelAt: Timestamp

    public init(
        endpoint: ResourceRef, id: String, release: Int, eventTime: Timestamp, shadow: Bool, score: Double, label: Double, labelAt: Timestamp
    ) {
        (self.endpoint, self.id, self.release, self.eventTime) = (endpoint, id, release, eventTime)
        (self.shadow, self.score, self.label, self.labelAt) = (shadow, score, label, labelAt)
    }
}

/// The truth of a prediction, as it is posted.
public struct LabelInput: Sendable, Hashable {
    public let id: String
    public let value: Double
    /// When it became known; nil is now.
    public let at: Timestamp?

    public init(id: String, value: Double, at: Timestamp? = nil) { (self.id, self.value, self.at) = (id, value, at) }
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

/// The scores of one request's rows by one release, on their way to the log.
///
/// A class, so that the queue moves one reference.
final class InferenceBatch: Sendable {
    let endpoint: ResourceRef
    let release: Int
    let shadow: Bool
    let at: Timestamp
    let ids: [String]
    let eventTimes: [Timestamp]?
    let scores: [Float]
    /// Row-major, `ids.count × width`.
    let features: [Float]
    let width: Int
    let request: Table
    let latencyNanoseconds: Int

    init(
        endpoint: ResourceRef, release: Int, shadow: Bool, at: Timestamp, ids: [String], eventTimes: [Timestamp]?, scores: [Float],
        features: [Float], width: Int,
        request: Table, latencyNanoseconds: Int
    ) {
        (self.endpoint, self.release, self.shadow, self.at, self.ids, self.eventTimes) = (endpoint, release, shadow, at, ids, eventTimes)
        (self.scores, self.features, self.width) = (scores, features, width)
        (self.request, self.latencyNanoseconds) = (request, latencyNanoseconds)
    }
}
