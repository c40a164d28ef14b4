import Contracts
import Storage

/// What to look for among experiments.
public struct ExperimentSearch: Sendable {
    public var filter: String?
    public var view: ViewType
    public var orderBy: [String]
    public var pageSize: Int?
    public var pageToken: String?

    public init(filter: String? = nil, view: ViewType = .activeOnly, orderBy: [String] = [], pageSize: Int? = nil, pageToken: String? = nil)
    {
        self.filter = filter
        self.view = view
        self.orderBy = orderBy
        self.pageSize = pageSize
        self.pageToken = pageToken
    }
}

/// What to look for among the runs of some experiments.
public struct RunSearch: Sendable {
    public var experimentIDs: [String]
    /// MLflow's filter language: `metrics.auc > 0.8 AND tags.team = 'risk'`.
    public var filter: String?
    public var view: ViewType
    /// `metrics.auc DESC`; then the newest start first, then the id.
    public var orderBy: [String]
    public var pageSize: Int?
    public var pageToken: String?

    public init(
        experimentIDs: [String], filter: String? = nil, view: ViewType = .activeOnly, orderBy: [String] = [], pageSize: Int? = nil,
        pageToken: String? = nil
    ) {
        self.experimentIDs = experimentIDs
        self.filter = filter
        self.view = view
        self.orderBy = orderBy
        self.pageSize = pageSize
        self.pageToken = pageToken
    }

    private static let spellings = [
        "created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name", "Run Name": "run_name",
    ]

    static let grammar = SearchGrammar(
        .runs,
        attributes: [
            "run_id": .text, "run_name": .text, "user_id": .text, "status": .text, "artifact_uri": .text, "start_time": .number,
            "end_time": .number, "created": .number, "Created": .number, "run name": .text, "Run name": .text, "Run Name": .text,
        ],
        orderable: ["run_id", "run_name", "user_id", "status", "artifact_uri", "start_time", "end_time", "created", "Created"],
        listable: ["run_id"], aliases: spellings)
}
