import Contracts
import Storage

/// What to look for among the logged models of some experiments.
public struct LoggedModelSearch: Sendable {
    /// A dataset by its name; without a digest, every state of it.
    public struct Dataset: Sendable {
        public var name: String
        public var digest: String?
        public init(name: String, digest: String? = nil) { (self.name, self.digest) = (name, digest) }
    }

    /// One key of the order: an attribute, or `metrics.auc`, on one dataset when that is named.
    public struct Order: Sendable {
        public var field: String
        public var ascending: Bool
        public var datasetName: String?
        public var datasetDigest: String?

        public init(_ field: String, ascending: Bool = true, datasetName: String? = nil, datasetDigest: String? = nil) {
            self.field = field
            self.ascending = ascending
            self.datasetName = datasetName
            self.datasetDigest = datasetDigest
        }
    }

    public var experimentIDs: [String]
    public var filter: String?
    /// Metrics of the filter are looked for on these datasets only; without any, models that have a metric on one of them.
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

    private static let datasetsMax = 100
    private static let columns = [
        "name": "m.name", "model_id": "m.id", "experiment_id": "m.experiment_id", "model_type": "coalesce(m.model_type, '')",
        "status": "m.status", "source_run_id": "coalesce(m.source_run_id, '')", "artifact_location": "m.artifact_uri",
        "creation_timestamp_ms": "m.created_ms", "last_updated_timestamp_ms": "m.updated_ms", "lifecycle_stage": "m.lifecycle",
    ]

    func run(on db: some Querying) throws -> Page<LoggedModel> {
        let limit = pageSize == 0 ? 100 : try TrackingLimits.page(pageSize, default: 50, atMost: TrackingLimits.runsPerPageMax)
        let ids = try experimentIDs.map { Value.int(try ExperimentStore.number(of: $0)) }
        guard ids.count <= TrackingLimits.experimentsPerFilterMax, datasets.count <= LoggedModelSearch.datasetsMax else {
            throw KeelError.invalid(
                "at most \(TrackingLimits.experimentsPerFilterMax) experiments and \(LoggedModelSearch.datasetsMax) datasets can be searched at once")
        }
        guard datasets.allSatisfy({ !$0.name.isEmpty }) else {
            throw KeelError.invalid("`dataset_name` in the `datasets` clause must be specified.")
        }
        var conditions = try self.conditions()
        let order = try keyset()
        guard !ids.isEmpty else { return Page(items: [], nextToken: nil) }
        conditions.insert(SQLFragment("m.experiment_id IN (\(SQLFragment.marks(ids.count))) AND m.lifecycle = 'active'", ids), at: 0)
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

    // MARK: Filter

    private func conditions() throws -> [SQLFragment] {
        let clauses = try LoggedModelFilter.parse(filter ?? "")
        var out = try clauses.map(condition)
        if !datasets.isEmpty, !clauses.contains(where: { $0.entity == .metric }) {
            out.append(LoggedModelSearch.exists("tracking_logged_model_metrics", [onDatasets]))
        }
        return out
    }

    private func condition(_ clause: SearchClause) throws -> SQLFragment {
        let key = SQLFragment("x.key = ?", [.string(clause.key)])
        switch clause.entity {
        case .attribute, .dataset:
            guard let column = LoggedModelSearch.columns[clause.key] else {
                throw KeelError.invalid(
                    "Invalid attribute key '\(clause.key.prefix(100))' specified. Valid keys are \(LoggedModelSearch.columns.keys.sorted())")
            }
            return clause.condition(on: column)
        case .metric:
            let value = clause.condition(on: "x.value")
            let own = [key, SQLFragment("x.is_nan = 0"), value]
            return LoggedModelSearch.exists("tracking_logged_model_metrics", datasets.isEmpty ? own : own + [onDatasets])
        case .parameter, .tag:
            let kind = SQLFragment("x.kind = ?", [.string(clause.entity == .tag ? "tag" : "param")])
            return LoggedModelSearch.exists("tracking_logged_model_items", [kind, key, clause.condition(on: "x.value")])
        }
    }

    private var onDatasets: SQLFragment {
        let each = datasets.map {
            LoggedModelSearch.on(name: $0.name, digest: $0.digest)
        }
        return SQLFragment("(" + each.map(\.sql).joined(separator: " OR ") + ")", each.flatMap(\.parameters))
    }

    private static func on(name: String?, digest: String?) -> SQLFragment {
        var out = SQLFragment("1 = 1")
        if let name { out = SQLFragment("x.dataset_name = ?", [.string(name)]) }
        if let digest { out = SQLFragment("(\(out.sql) AND x.dataset_digest = ?)", out.parameters + [.string(digest)]) }
        return out
    }

    private static func exists(_ table: String, _ conditions: [SQLFragment]) -> SQLFragment {
        SQLFragment(
            "EXISTS (SELECT 1 FROM \(table) x WHERE x.model_id = m.id AND \(conditions.map(\.sql).joined(separator: " AND ")))",
            conditions.flatMap(\.parameters))
    }

    // MARK: Order

    /// Models without a value come last, in either direction; then the newest first, then by id.
    private func keyset() throws -> KeysetOrder {
        var keys: [KeysetOrder.Key] = []
        var seen: Set<String> = []
        for order in orderBy {
            guard let period = order.field.firstIndex(of: ".") else {
                let name = LoggedModelFilter.spellings[order.field] ?? order.field
                guard let column = LoggedModelSearch.columns[name] else {
                    throw KeelError.invalid("Invalid order by field name: \(order.field.prefix(300))")
                }
                seen.insert(name)
                keys.append(.init(column, ascending: order.ascending))
                continue
            }
            guard order.field[..<period] == "metrics" else {
                throw KeelError.invalid("Invalid order by field name: \(order.field.prefix(300)). Only metrics are supported.")
            }
            let value = LoggedModelSearch.latest(String(order.field[order.field.index(after: period)...]), order)
            keys.append(.init("CASE WHEN \(value.sql) IS NULL THEN 1 ELSE 0 END", value.parameters, ascending: true))
            keys.append(.init("coalesce(\(value.sql), 0)", value.parameters, ascending: order.ascending))
        }
        if !seen.contains("creation_timestamp_ms") { keys.append(.init("m.created_ms", ascending: false)) }
        if !seen.contains("model_id") { keys.append(.init("m.id", ascending: true)) }
        return KeysetOrder(keys)
    }

    private static func latest(_ key: String, _ order: Order) -> SQLFragment {
        let on = on(name: order.datasetName, digest: order.datasetDigest)
        return SQLFragment(
            """
            (SELECT CASE WHEN x.is_nan = 1 THEN NULL ELSE x.value END FROM tracking_logged_model_metrics x
            WHERE x.model_id = m.id AND x.key = ? AND \(on.sql) ORDER BY x.at_ms DESC, x.step DESC, x.run_id LIMIT 1)
            """, [.string(key)] + on.parameters)
    }
}
