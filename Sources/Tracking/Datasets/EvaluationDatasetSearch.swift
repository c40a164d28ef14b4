import Contracts

/// What to look for among evaluation datasets.
public struct EvaluationDatasetSearch: Sendable {
    /// A dataset is found when all of them hold.
    public var clauses: [SearchClause] = []
    /// The newest first when empty.
    public var orders: [SearchOrder] = []
    public var pageToken: String?
    let experiments: [Int64]
    let limit: Int

    /// - Parameter experimentIDs: those that belong to one of these; all when empty.
    /// - Throws: `invalidArgument` for an experiment that is no number, or a page of another size than 1 to 50,000.
    public init(experimentIDs: [String] = [], pageSize: Int? = nil, pageToken: String? = nil) throws(KeelError) {
        limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        experiments = try ExperimentStore.numbers(of: experimentIDs)
        self.pageToken = pageToken
    }
}
