import Contracts
import Registry
import Tracking

// Searches as clients write them. Each reads its parts in the order in which MLflow's server does, so that of two mistakes the same one is named.

extension ExperimentSearch {
    /// - Throws: `invalidArgument` in MLflow's words.
    public init(
        filter: String?, view: ViewType = .activeOnly, orderBy: [String] = [], pageSize: Int? = nil, pageToken: String? = nil
    ) throws(KeelError) {
        try self.init(view: view, pageSize: pageSize, pageToken: pageToken)
        clauses = try SearchGrammar.experiments.parse(filter: filter ?? "")
        orders = try SearchGrammar.experiments.parse(order: orderBy)
    }
}

extension RunSearch {
    /// - Parameters:
    ///   - filter: `metrics.auc > 0.8 AND tags.team = 'risk'`.
    ///   - orderBy: `metrics.auc DESC`.
    /// - Throws: `invalidArgument` in MLflow's words.
    public init(
        experimentIDs: [String], filter: String?, view: ViewType = .activeOnly, orderBy: [String] = [], pageSize: Int? = nil,
        pageToken: String? = nil
    ) throws(KeelError) {
        try self.init(experimentIDs: experimentIDs, view: view, pageSize: pageSize, pageToken: pageToken)
        clauses = try SearchGrammar.runs.parse(filter: filter ?? "")
        orders = try SearchGrammar.runs.parse(order: orderBy)
    }
}

extension LoggedModelSearch {
    /// - Throws: `invalidArgument` in MLflow's words.
    public init(
        experimentIDs: [String], filter: String?, datasets: [Dataset] = [], orderBy: [LoggedModelOrderText], pageSize: Int? = nil,
        pageToken: String? = nil
    ) throws(KeelError) {
        try self.init(experimentIDs: experimentIDs, datasets: datasets, pageSize: pageSize, pageToken: pageToken)
        // In no experiment there is nothing to find, whatever the filter says.
        guard !experimentIDs.isEmpty else { return }
        clauses = try LoggedModelFilter.parse(filter ?? "")
        for written in orderBy { self.orderBy.append(try LoggedModelFilter.parse(order: written)) }
    }
}

extension EvaluationDatasetSearch {
    /// - Throws: `invalidArgument` in MLflow's words.
    public init(
        experimentIDs: [String] = [], filter: String?, orderBy: [String] = [], pageSize: Int? = nil, pageToken: String? = nil
    ) throws(KeelError) {
        try self.init(experimentIDs: experimentIDs, pageSize: pageSize, pageToken: pageToken)
        clauses = try SearchGrammar.evaluationDatasets.parse(filter: filter ?? "")
        orders = try SearchGrammar.evaluationDatasets.parse(order: orderBy)
    }
}

extension RegistrySearch {
    /// - Parameter grammar: that of `models` or of `versions`.
    /// - Throws: `invalidArgument` in MLflow's words.
    public init(
        _ grammar: SearchGrammar, filter: String?, orderBy: [String] = [], pageSize: Int? = nil, pageToken: String? = nil
    ) throws(KeelError) {
        self.init(
            clauses: try grammar.parse(filter: filter ?? ""), orders: try grammar.parse(order: orderBy), pageSize: pageSize,
            pageToken: pageToken)
    }
}
