import Contracts

/// What to look for among experiments.
public struct ExperimentSearch: Sendable {
    public let view: ViewType
    /// An experiment is found when all of them hold.
    public var clauses: [SearchClause] = []
    /// The newest first when empty.
    public var orders: [SearchOrder] = []
    public var pageToken: String?
    let limit: Int

    /// - Throws: `invalidArgument` for a page of another size than 1 to 50,000.
    public init(view: ViewType = .activeOnly, pageSize: Int? = nil, pageToken: String? = nil) throws(KeelError) {
        limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        self.view = view
        self.pageToken = pageToken
    }
}
