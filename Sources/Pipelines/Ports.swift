import Contracts

/// A kind of step, by the name that `uses` gives it. Platform supplies those that reach into other modules.
public protocol StepKind: Sendable {
    /// What `uses` says: `training-set`.
    var name: String { get }
    /// Raised whenever the same inputs would give another result; it is part of the cache key.
    var version: Int { get }
    /// Whether a result is reused for the same inputs when the step itself does not say (`cache:`).
    var cachedByDefault: Bool { get }
    /// Whether the result may depend on every parameter of the run, not only on those that `with` references.
    var readsParameters: Bool { get }
    /// Whether it runs programs that the pipeline's author wrote: applying such a pipeline takes the permission to run code.
    var runsPrograms: Bool { get }
    /// Fields of `with` that are program text, in which `$` is the program's own and never a reference.
    var literalFields: Set<String> { get }

    /// The names of everything that a result may hold, so that a reference to anything else is found before a run gets there. Nil when it is not known
    /// before, as of a program's outputs.
    /// - Parameter with: what `validate` accepts.
    func outputNames(of with: JSON) -> [String]?

    /// Checks `with` before anything runs. References to other steps stand in it as texts such as `$train.model`.
    func validate(_ with: JSON) throws(KeelError)
    /// What the result depends on beside `with`, such as the newest snapshot of a dataset that is named there.
    /// - Parameter workspace: of the run: what `with` names is looked for in it.
    func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON
    /// Whether what earlier outputs point to is still there.
    func isUsable(_ outputs: JSON) async -> Bool
    /// Does the work; the result is an object small enough to read, and big data lies where it points. Cancellation of the task (timeout,
    /// a failed neighbour, `cancel`) should end it soon; the step is not over before this returns.
    func run(_ context: StepContext) async throws -> JSON
}

extension StepKind {
    public var cachedByDefault: Bool { true }
    public var readsParameters: Bool { false }
    public var runsPrograms: Bool { false }
    public var literalFields: Set<String> { [] }
    public func outputNames(of with: JSON) -> [String]? { nil }
    public func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON { .object([]) }
    public func isUsable(_ outputs: JSON) async -> Bool { true }
}

/// What a step is given to do its work.
public struct StepContext: Sendable {
    public let runID: String
    public let pipeline: String
    public let step: String
    /// `with`, every reference replaced by its value.
    public let with: JSON
    /// All parameters of the run, as an object.
    public let parameters: JSON
    /// The run's now: event time when a replay's alert started it.
    public let now: Timestamp
    /// A folder of this step alone; removed afterwards when nothing is in it.
    public let workingDirectory: String
    /// 1, 2, … over retries and restarts of the server: no two attempts of a step in one run have the same number.
    public let attempt: Int
    /// Under whose permissions the step acts, and in which workspace.
    public let caller: Caller
    /// Writes a line to the step's log file and to those who watch the run.
    public let log: @Sendable (String) -> Void
    /// What the finished steps of a kind have put out in this run, as it was recorded. Values in `with` may have passed through a program, which can
    /// write anything; these have not.
    public let outputs: @Sendable (_ kind: String) -> [JSON]
    /// The share done, 0…1, and what is being done.
    public let progress: @Sendable (Double, String) -> Void
}
