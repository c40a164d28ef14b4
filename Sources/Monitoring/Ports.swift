import Contracts
import Statistics

/// A prediction that was answered, as the prediction log has it.
public struct ObservedPrediction: Sendable, Hashable {
    public let id: String
    public let endpoint: ResourceRef
    /// The number of the release that answered.
    public let release: Int
    /// The instant the question is about.
    public let eventTime: Timestamp
    public let score: Float
    /// In the order of the model's inputs; NaN is a missing value.
    public let features: [Float]
    /// Answered beside the release that serves, for comparison only: it does not count.
    public let shadow: Bool

    public init(id: String, endpoint: ResourceRef, release: Int, eventTime: Timestamp, score: Float, features: [Float], shadow: Bool = false) {
        (self.id, self.endpoint, self.release, self.eventTime) = (id, endpoint, release, eventTime)
        (self.score, self.features, self.shadow) = (score, features, shadow)
    }
}

/// The truth of an earlier prediction. Each prediction's label is observed once.
public struct ObservedLabel: Sendable, Hashable {
    /// The prediction's id.
    public let id: String
    public let endpoint: ResourceRef
    public let release: Int
    /// The prediction's event time, not the instant the label arrived.
    public let eventTime: Timestamp
    /// NaN when the model gives no number.
    public let score: Float
    /// As a number: true is 1; nil for a text.
    public let label: Double?
    /// Whether the class that the model answered is the label. Nil when it answers with none, or the two cannot be compared.
    public let isRight: Bool?
    public let shadow: Bool

    public init(
        id: String, endpoint: ResourceRef, release: Int, eventTime: Timestamp, score: Float, label: Double?, isRight: Bool? = nil,
        shadow: Bool = false
    ) {
        self.id = id
        self.endpoint = endpoint
        self.release = release
        self.eventTime = eventTime
        self.score = score
        self.label = label
        self.isRight = isRight
        self.shadow = shadow
    }
}

/// How one column was distributed when the model was trained.
public struct ReferenceColumn: Sendable, Hashable {
    public let name: String
    /// Upper edges of the bins, ascending and inclusive: bin `i` holds `edges[i-1] < x <= edges[i]`, the last of `edges.count + 1` all above.
    public let edges: [Float]
    /// The share of training rows in each bin, and last, beyond the bins, the share of missing values: `edges.count + 2` numbers.
    public let shares: [Double]

    /// The edges are rounded as features are, so that a value equal to an edge stays in its bin; two that become equal are set one step apart,
    /// so that the upper one keeps its value and an edge just below the smallest value stays below it.
    /// - Throws: `invalidArgument` when the edges do not ascend, or the number of shares does not fit.
    public init(name: String, edges exact: [Double], shares: [Double]) throws(KeelError) {
        guard zip(exact, exact.dropFirst()).allSatisfy({ $0 < $1 }), exact.allSatisfy({ !$0.isNaN }) else {
            throw .invalid("the edges of '\(name)' do not ascend")
        }
        guard shares.count == exact.count + 2, shares.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            throw .invalid(
                "'\(name)' has \(shares.count) shares for \(exact.count) edges", hint: "one for each bin and one for missing values")
        }
        var edges = exact.map { Float($0) }
        for i in edges.indices.reversed().dropFirst() where edges[i] >= edges[i + 1] { edges[i] = edges[i + 1].nextDown }
        (self.name, self.edges, self.shares) = (name, edges, shares)
    }

    /// From the bins of a numeric column.
    /// - Throws: `invalidArgument` for bins of texts: a model's inputs are numbers, a category the number of its place.
    public init(name: String, bins: ReferenceBins) throws(KeelError) {
        guard let edges = bins.edges else {
            throw .invalid("the reference of '\(name)' counts texts", hint: "make it of the numbers that the model is given")
        }
        try self.init(name: name, edges: edges, shares: bins.shares)
    }
}

/// What a release looked like when it was trained and evaluated.
public struct MonitorReference: Sendable, Hashable {
    /// In the order of the model's inputs.
    public let inputs: [ReferenceColumn]
    public let score: ReferenceColumn?
    /// How many rows the shares were counted over; above 0.
    public let rows: Int
    /// `auc`, `logloss`, … as `reference.auc` in conditions.
    public let metrics: [String: Double]

    public init(inputs: [ReferenceColumn], score: ReferenceColumn?, rows: Int, metrics: [String: Double]) {
        (self.inputs, self.score, self.rows, self.metrics) = (inputs, score, rows, metrics)
    }
}

/// Where references come from: the bundle of the release.
public protocol ReferenceSource: Sendable {
    /// Nil when the release has none; its windows are then counted but not compared.
    func reference(endpoint: ResourceRef, release: Int) async throws -> MonitorReference?
}

/// The prediction log, to rebuild windows that were open when the process ended.
public protocol PredictionHistory: Sendable {
    /// The greatest event time in the log, shadows left out; nil when there is none.
    func lastEventTime(endpoint: ResourceRef) async throws -> Timestamp?
    /// Calls `body` with every prediction of event time `since` and later, in any order, in batches, each with its label if it has one.
    func forEach(
        endpoint: ResourceRef, since: Timestamp, _ body: @Sendable ([(prediction: ObservedPrediction, label: ObservedLabel?)]) async throws -> Void
    ) async throws
}
