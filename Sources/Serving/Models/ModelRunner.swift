import Contracts

/// A model in memory that answers tables. Immutable; any number of threads may run it at once.
///
/// There are two lanes. A runner whose time is bounded and short (trees) runs on the thread that has the request, an event loop included, as long as the
/// rows are few. All others have threads of their own, a bounded queue, and deadlines; what waits for them is run together.
public protocol ModelRunner: Sendable {
    var lane: ModelLane { get }
    /// Whether requests that wait together are run as one; true unless a runner says otherwise.
    var joinsRequests: Bool { get }
    /// How long each of several models took; empty for one.
    var partTimings: [PartTiming] { get }

    /// Runs the model on every row.
    ///
    /// - Parameters:
    ///   - inputs: the columns of the bundle's signature, in its order and of its types. A tensor column has the concrete shape of each of its rows.
    ///   - params: what the caller set of the signature's params; an object, or null.
    ///   - deadline: when the call is ended, if it takes longer than that.
    /// - Returns: the outputs, as many rows as `inputs` has.
    /// - Throws: `invalidArgument` for rows that the model cannot take; `deadlineExceeded`; `unavailable` when its process or server does not answer;
    ///   `badGateway`; `internal`.
    func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table
}

extension ModelRunner {
    public var joinsRequests: Bool { true }
    public var partTimings: [PartTiming] { [] }
}

/// Where a model runs.
public enum ModelLane: Sendable, Hashable {
    /// On the calling thread, as long as there are no more rows than this: they take a fraction of a millisecond.
    case inline(rowsMax: Int)
    /// On as many threads of its own.
    case pooled(threads: Int)
}
