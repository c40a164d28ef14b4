import Contracts
import Storage

/// What to look for among logged models.
public struct LoggedModelSearch: Sendable {
    /// What to order by: an attribute, or a metric, which may be one of a dataset.
    public struct Order: Sendable, Hashable {
        public let order: SearchOrder
        public let dataset: Dataset?

        public init(_ order: SearchOrder, dataset: Dataset? = nil) {
            self.order = order
            self.dataset = dataset
        }
    }

    /// Datasets that metrics are of: any version of one without a digest, any dataset of a digest without a name.
    public struct Dataset: Sendable, Hashable {
        public let name: String?
        public let digest: String?
        public init(name: String?, digest: String? = nil) {
            self.name = name
            self.digest = digest
        }

        fileprivate var condition: SQLFragment {
            var parts: [SQLFragment] = []
            if let name { parts.append(SQLFragment("x.dataset_name = ?", [.string(name)])) }
            if let digest { parts.append(SQLFragment("x.dataset_digest = ?", [.string(digest)])) }
            guard !parts.isEmpty else { return SQLFragment("1 = 1") }
            return SQLFragment("(\(parts.map(\.sql).joined(separator: " AND ")))", parts.flatMap(\.parameters))
        }
    }

    /// A model is found when all of them hold.
    public var clauses: [SearchClause] = []
    public var orderBy: [Order] = []
    public let pageToken: String?
    let experiments: [Int64]
    /// When not empty, conditions on metrics are about these datasets, and without any such condition a model needs a metric of one of them.
    let datasets: [Dataset]
    let limit: Int

    /// - Throws: `invalidArgument` for too many datasets, an experiment that is no number, or a page of another size than 1 to 50,000.
    public init(
        experimentIDs: [String], datasets: [Dataset] = [], pageSize: Int? = nil, pageToken: String? = nil
    ) throws(KeelError) {
        limit = try TrackingLimits.page(pageSize, default: 50, atMost: TrackingLimits.runsPerPageMax)
        try TrackingLimits.check(count: datasets.count, of: "datasets", atMost: TrackingLimits.datasetsPerSearchMax)
        experiments = try ExperimentStore.numbers(of: experimentIDs)
        self.datasets = datasets
        self.pageToken = pageToken
    }

    /// What clauses and orders may name.
    public static var attributes: Set<String> { Set(columns.keys) }

    private static let columns = [
        "name": "m.name", "model_id": "m.id", "experiment_id": "m.experiment_id", "model_type": "coalesce(m.model_type, '')",
        "status": "m.status", "source_run_id": "coalesce(m.source_run_id, '')", "artifact_location": "m.artifact_uri",
        "creation_timestamp_ms": "m.created_ms", "last_updated_timestamp_ms": "m.updated_ms", "lifecycle_stage": "m.lifecycle",
    ]

    private static func column(_ attribute: String) throws(KeelError) -> String {
        guard let column = columns[attribute] else { throw .invalid("'\(attribute.prefix(100))' is no attribute of a logged model") }
        return column
    }

    func run(on db: some Querying) throws -> Page<LoggedModel> {
        let ids = try ExperimentStore.numbers(db, among: experiments).map(Value.int)
        guard !ids.isEmpty else { return Page(items: [], nextToken: nil) }
        var conditions = [SQLFragment("m.experiment_id IN (\(SQLFragment.marks(ids.count))) AND m.lifecycle = 'active'", ids)]
        conditions += try clauses.map(condition)
        if !datasets.isEmpty, !clauses.contains(where: { $0.entity == .metric }) { conditions.append(measured(SQLFragment("1 = 1"))) }
        let order = try keyset()
        let question = "logged-models|\(experiments)|\(clauses)|\(datasets)|\(orderBy)"
        if let pageToken, !pageToken.isEmpty { conditions.append(order.after(try order.values(of: pageToken, query: question))) }
        let rows = try db.rows(
            """
            SELECT m.*, \(order.columns.sql) FROM tracking_logged_models m
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """, order.columns.parameters + conditions.flatMap(\.parameters) + order.orderBy.parameters + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        let next = rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil
        return Page(items: try LoggedModelStore.withData(db, page.map(LoggedModelStore.model)), nextToken: next)
    }

    /// What has no value comes last, in either direction; equal ones newest first.
    private func keyset() throws -> KeysetOrder {
        var keys: [KeysetOrder.Key] = []
        for key in orderBy {
            let value = try LoggedModelSearch.value(of: key)
            keys.append(.init("CASE WHEN \(value.sql) IS NULL THEN 1 ELSE 0 END", value.parameters, ascending: true))
            // What stands for no value only has to be comparable: the key before has told the two apart. Attributes always have one.
            let isMetric = key.order.entity == .metric
            keys.append(.init(isMetric ? "coalesce(\(value.sql), 0)" : value.sql, value.parameters, ascending: key.order.ascending))
        }
        let attributes = Set(orderBy.lazy.filter { $0.order.entity == .attribute }.map(\.order.key))
        if !attributes.contains("creation_timestamp_ms") { keys.append(.init("m.created_ms", ascending: false)) }
        if !attributes.contains("model_id") { keys.append(.init("m.id", ascending: true)) }
        return KeysetOrder(keys)
    }

    private static func value(of key: Order) throws(KeelError) -> SQLFragment {
        guard key.order.entity == .metric else { return SQLFragment(try column(key.order.key)) }
        let dataset = key.dataset?.condition ?? SQLFragment("1 = 1")
        return SQLFragment(
            """
            (SELECT CASE WHEN x.is_nan = 1 THEN NULL ELSE x.value END FROM tracking_logged_model_metrics x
            WHERE x.model_id = m.id AND x.key = ? AND \(dataset.sql) ORDER BY x.at_ms DESC, x.step DESC, x.run_id LIMIT 1)
            """, [.string(key.order.key)] + dataset.parameters)
    }

    private func condition(_ clause: SearchClause) throws -> SQLFragment {
        let kind: Value
        switch clause.entity {
        case .attribute, .dataset: return clause.condition(on: try LoggedModelSearch.column(clause.key))
        case .metric:
            let value = clause.condition(on: "x.value")
            return measured(SQLFragment("x.key = ? AND x.is_nan = 0 AND \(value.sql)", [.string(clause.key)] + value.parameters))
        case .parameter: kind = "param"
        case .tag: kind = "tag"
        }
        let own = "SELECT 1 FROM tracking_logged_model_items x WHERE x.model_id = m.id AND x.kind = ? AND x.key = ?"
        let parameters = [kind, .string(clause.key)]
        let value = clause.condition(on: "x.value")
        return SQLFragment("EXISTS (\(own) AND \(value.sql))", parameters + value.parameters)
    }

    /// That the model has a metric like this, of one of the datasets if any are asked for.
    private func measured(_ condition: SQLFragment) -> SQLFragment {
        var (sql, parameters) = (
            "SELECT 1 FROM tracking_logged_model_metrics x WHERE x.model_id = m.id AND \(condition.sql)", condition.parameters
        )
        if !datasets.isEmpty {
            let ofDatasets = datasets.map(\.condition)
            sql += " AND (\(ofDatasets.map(\.sql).joined(separator: " OR ")))"
            parameters += ofDatasets.flatMap(\.parameters)
        }
        return SQLFragment("EXISTS (\(sql))", parameters)
    }
}
