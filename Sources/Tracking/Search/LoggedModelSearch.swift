import Contracts
import Storage

/// What to look for among logged models.
public struct LoggedModelSearch: Sendable {
    /// What to order by: an attribute, or `metrics.KEY`, which may be one of a dataset.
    public struct Order: Sendable, Hashable {
        public let field: String
        public let ascending: Bool
        public let dataset: Dataset?

        public init(field: String, ascending: Bool = true, dataset: Dataset? = nil) {
            self.field = field
            self.ascending = ascending
            self.dataset = dataset
        }

        /// - Parameter text: `metrics.auc DESC`
        public init(_ text: String) {
            let words = text.split(separator: " ")
            let last = words.count > 1 ? words[words.count - 1].uppercased() : ""
            let isDirection = last == "DESC" || last == "ASC"
            self.init(field: words.dropLast(isDirection ? 1 : 0).joined(separator: " "), ascending: last != "DESC")
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

    public var experimentIDs: [String]
    public var filter: String?
    /// When not empty, conditions on metrics are about these datasets, and without any such condition a model needs a metric of one of them.
    public var datasets: [Dataset]
    public var orderBy: [Order]
    public var pageSize: Int?
    public var pageToken: String?

    public init(
        experimentIDs: [String], filter: String? = nil, datasets: [Dataset] = [], orderBy: [Order] = [], pageSize: Int? = nil,
        pageToken: String? = nil
    ) {
        self.experimentIDs = experimentIDs
        self.filter = filter
        self.datasets = datasets
        self.orderBy = orderBy
        self.pageSize = pageSize
        self.pageToken = pageToken
    }

    private static let columns = [
        "name": "m.name", "model_id": "m.id", "experiment_id": "m.experiment_id", "model_type": "coalesce(m.model_type, '')",
        "status": "m.status", "source_run_id": "coalesce(m.source_run_id, '')", "artifact_location": "m.artifact_uri",
        "creation_timestamp_ms": "m.created_ms", "last_updated_timestamp_ms": "m.updated_ms", "lifecycle_stage": "m.lifecycle",
    ]

    /// Of an attribute's name or one of its other spellings.
    private static func column(_ name: String) -> String? { columns[LoggedModelFilter.spellings[name] ?? name] }

    func run(on db: some Querying) throws -> Page<LoggedModel> {
        let limit = try TrackingLimits.page(pageSize, default: 50, atMost: TrackingLimits.runsPerPageMax)
        try TrackingLimits.check(count: datasets.count, of: "datasets", atMost: TrackingLimits.datasetsPerSearchMax)
        let ids = try ExperimentStore.numbers(db, of: experimentIDs).map(Value.int)
        guard !ids.isEmpty else { return Page(items: [], nextToken: nil) }
        var conditions = [SQLFragment("m.experiment_id IN (\(SQLFragment.marks(ids.count))) AND m.lifecycle = 'active'", ids)]
        let clauses = try LoggedModelFilter.parse(filter ?? "")
        conditions += try clauses.map(condition)
        if !datasets.isEmpty, !clauses.contains(where: { $0.entity == .metric }) { conditions.append(measured(SQLFragment("1 = 1"))) }
        let order = try keyset()
        let question = "logged-models|\(experimentIDs)|\(filter ?? "")|\(datasets)|\(orderBy)"
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
        for order in orderBy {
            let value = try LoggedModelSearch.value(of: order)
            keys.append(.init("CASE WHEN \(value.sql) IS NULL THEN 1 ELSE 0 END", value.parameters, ascending: true))
            // What stands for no value only has to be comparable: the key before has told the two apart. Attributes always have one.
            let isMetric = order.field.contains(".")
            keys.append(.init(isMetric ? "coalesce(\(value.sql), 0)" : value.sql, value.parameters, ascending: order.ascending))
        }
        let fields = Set(orderBy.compactMap { LoggedModelSearch.column($0.field) })
        if !fields.contains("m.created_ms") { keys.append(.init("m.created_ms", ascending: false)) }
        if !fields.contains("m.id") { keys.append(.init("m.id", ascending: true)) }
        return KeysetOrder(keys)
    }

    private static func value(of order: Order) throws -> SQLFragment {
        guard let dot = order.field.firstIndex(of: ".") else {
            guard let column = column(order.field) else {
                throw KeelError.invalid("Invalid order by field name: \(order.field.prefix(200))")
            }
            return SQLFragment(column)
        }
        guard order.field[..<dot] == "metrics" else {
            throw KeelError.invalid("Invalid order by field name: \(order.field.prefix(200)). Only metrics are supported.")
        }
        let dataset = order.dataset?.condition ?? SQLFragment("1 = 1")
        return SQLFragment(
            """
            (SELECT CASE WHEN x.is_nan = 1 THEN NULL ELSE x.value END FROM tracking_logged_model_metrics x
            WHERE x.model_id = m.id AND x.key = ? AND \(dataset.sql) ORDER BY x.at_ms DESC, x.step DESC, x.run_id LIMIT 1)
            """, [.string(String(order.field[order.field.index(after: dot)...]))] + dataset.parameters)
    }

    private func condition(_ clause: SearchClause) throws -> SQLFragment {
        let kind: Value
        switch clause.entity {
        case .attribute, .dataset:
            guard let column = LoggedModelSearch.column(clause.key) else {
                throw KeelError.invalid("Invalid attribute key '\(clause.key.prefix(100))' specified.")
            }
            return clause.condition(on: column)
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
