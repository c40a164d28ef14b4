import Contracts
import Storage

/// The online feature store, as serving needs it. Platform connects it.
public protocol OnlineFeatures: Sendable {
    /// Prepares the reads of a feature service of a workspace for a model's inputs, in the order of the model's columns.
    /// - Throws: an error that names the input that the service does not give, or whose type differs.
    func plan(service: String, of workspace: WorkspaceID, inputs: [Signature.Input]) throws(KeelError) -> any FeaturePlan
}

/// Fills the rows of a model's matrix from a request. It is called on event loops: it must not block.
public protocol FeaturePlan: Sendable {
    /// The columns that a request must have.
    var requestFields: [Field] { get }
    /// Writes `request.rowCount × inputs` values row by row; NaN is a missing value.
    /// - Returns: the event time of each row, or nil when the service's requests carry none; then the time of the request is taken.
    /// - Throws: `contractViolation` or `invalidArgument` for a request with a missing, extra or wrong column.
    func fill(_ request: Table, into matrix: UnsafeMutableBufferPointer<Float>) throws(KeelError) -> [Timestamp]?
}

/// The registered versions, as serving needs them. Platform connects it.
public protocol ReleasableVersions: Sendable {
    /// Asked inside the transaction that makes a release, so that no release names a version that is gone.
    /// - Throws: `notFound` when there is no such version (any more).
    func require(_ db: any Querying, model: String, version: String) throws
}

/// Who wants to know of logged predictions and labels. Called by the log's writer after the commit, in the order of the log, one call at a time:
/// what takes long must be handed on.
public protocol PredictionObserver: Sendable {
    func observed(_ predictions: [PredictionRecord])
    func observed(labels: [LabelledPrediction])
}
