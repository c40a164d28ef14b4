import Contracts
import Storage
import Workers

/// The online feature store, as serving needs it. Platform connects it.
public protocol OnlineFeatures: Sendable {
    /// Prepares the reads of a feature service of a workspace for a model's inputs, in the order of the model's columns.
    /// - Throws: an error that names the input that the service does not give, or whose type differs.
    func plan(service: String, of workspace: WorkspaceID, inputs: [Signature.Input]) throws(KeelError) -> any FeaturePlan
}

/// Makes a model's inputs from a request. It is called on event loops: it must not block.
public protocol FeaturePlan: Sendable {
    /// The columns that a request must have.
    var requestFields: [Field] { get }
    /// - Throws: `contractViolation` or `invalidArgument` for a request with a missing, extra or wrong column.
    func read(_ request: Table) throws(KeelError) -> ModelInputs
}

/// The inputs of a model for the rows of a request.
public struct ModelInputs: Sendable, Hashable {
    /// The columns of the model's signature, in its order.
    public let table: Table
    /// Of each row, or nil when the requests carry none; then the time of the request is taken.
    public let eventTimes: [Timestamp]?
    /// Nil when no features were read.
    public let reads: FeatureReads?

    public init(table: Table, eventTimes: [Timestamp]?, reads: FeatureReads? = nil) {
        self.table = table
        self.eventTimes = eventTimes
        self.reads = reads
    }
}

/// Which rows the features of a request were made of, so that they can be made again.
public struct FeatureReads: Sendable, Hashable {
    /// Every row that was accepted by the lower bound counted, and none that was accepted after the upper one.
    public let known: ClosedRange<Timestamp>
    /// The rows of the request whose features lack something that they cover.
    public let inexact: Set<Int>

    public init(known: ClosedRange<Timestamp>, inexact: Set<Int> = []) {
        self.known = known
        self.inexact = inexact
    }
}

/// Runs models that bring code of their own, apart from the server. `PythonModels` does.
public protocol CodeModels: Sendable {
    /// Starts what runs the model; it is ready when it can answer.
    func runner(_ bundle: ModelBundle, _ objects: any ObjectStore) async throws -> any ModelRunner
    /// Removes what models were unpacked to that no running model and none of these bundles needs.
    /// - Returns: how many folders are gone, or would be.
    func sweep(keeping bundles: [ModelBundle], at now: Timestamp, dryRun: Bool) async throws -> Int
    /// What keeps the code apart from the server on this machine; empty where none may run.
    func protections() async throws -> [ProgramProtection]
}

/// The signatures of models' files, as serving needs them. Platform connects it.
public protocol ModelSignatures: Sendable {
    /// All that the workspace has of a manifest, whoever made them.
    func signatures(of manifest: Digest, in workspace: WorkspaceID) async throws -> [ModelSignature]
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
