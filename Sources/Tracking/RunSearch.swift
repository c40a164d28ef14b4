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

    private static let columns = [
        "run_id": "r.id", "run_name": "r.name", "user_id": "r.user_id", "status": "r.status", "artifact_uri": "r.artifact_uri",
        "start_time": "r.start_ms", "end_time": "r.end_ms",
    ]

    /// The statement of one page, asking for one row more than the page to know whether there is a next.
    struct Plan {
        let statement: SQLFragment
        let order: KeysetOrder
        let question: String
        let limit: Int
    }

    func plan() throws -> Plan {
        guard experimentIDs.count <= TrackingLimits.experimentsPerFilterMax else {
            throw KeelError.invalid("at most \(TrackingLimits.experimentsPerFilterMax) experiments can be searched at once")
        }
        let limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        let ids = try experimentIDs.map { Value.int(try ExperimentStore.number(of: $0)) }
        var conditions = [
            ids.isEmpty ? SQLFragment("1 = 0") : SQLFragment("r.experiment_id IN (\(SQLFragment.marks(ids.count)))", ids),
            SQLFragment("r.lifecycle IN (\(SQLFragment.marks(view.lifecycles.count)))", view.lifecycles.map { .string($0.rawValue) }),
        ]
        for clause in try RunSearch.grammar.parse(filter: filter ?? "") { conditions.append(RunSearch.condition(clause)) }
        let (order, joins) = try keyset()
        let question = "runs|\(experimentIDs.sorted())|\(view)|\(filter ?? "")|\(orderBy)"
        if let pageToken, !pageToken.isEmpty { conditions.append(order.after(try order.values(of: pageToken, query: question))) }
        let statement = SQLFragment(
            """
            SELECT r.*, \(order.columns.sql) FROM tracking_runs r \(joins.map(\.sql).joined(separator: " "))
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """,
            order.columns.parameters + joins.flatMap(\.parameters) + conditions.flatMap(\.parameters) + order.orderBy.parameters + [
                .int(Int64(limit) + 1)
            ])
        return Plan(statement: statement, order: order, question: question, limit: limit)
    }

    private static func condition(_ clause: SearchClause) -> SQLFragment {
        switch clause.entity {
        case .attribute: return clause.condition(on: columns[clause.key] ?? "r.id")
        case .dataset:
            let value = clause.condition(on: "x.\(clause.key)")
            return SQLFragment("EXISTS (SELECT 1 FROM tracking_inputs x WHERE x.run_id = r.id AND \(value.sql))", value.parameters)
        case .metric:
            // NaN is stored as 0: it is unequal to everything and satisfies nothing else.
            var value = clause.condition(on: "x.value")
            value.sql = clause.comparator == .notEqual ? "(x.is_nan = 1 OR \(value.sql))" : "x.is_nan = 0 AND \(value.sql)"
            return own("tracking_latest_metrics", clause, value)
        case .parameter: return text("tracking_params", clause)
        case .tag: return text("tracking_tags", clause)
        }
    }

    private static func text(_ table: String, _ clause: SearchClause) -> SQLFragment {
        let own = "SELECT 1 FROM \(table) x WHERE x.run_id = r.id AND x.key = ?"
        switch (clause.comparator, clause.operand) {
        case (.isNull, _): return SQLFragment("NOT EXISTS (\(own))", [.string(clause.key)])
        case (.isNotNull, _): return SQLFragment("EXISTS (\(own))", [.string(clause.key)])
        case (.equal, .text(let text)):
            // The index holds the beginning of values; the whole value decides.
            return self.own(
                table, clause, SQLFragment("substr(x.value, 1, 200) = substr(?, 1, 200) AND x.value = ?", [.string(text), .string(text)]))
        default: return self.own(table, clause, clause.condition(on: "x.value"))
        }
    }

    /// Equality picks few runs, so the value's index leads; other comparisons look at the runs in their order.
    private static func own(_ table: String, _ clause: SearchClause, _ value: SQLFragment) -> SQLFragment {
        clause.comparator == .equal
            ? SQLFragment(
                "r.id IN (SELECT x.run_id FROM \(table) x WHERE x.key = ? AND \(value.sql))", [.string(clause.key)] + value.parameters)
            : SQLFragment(
                "EXISTS (SELECT 1 FROM \(table) x WHERE x.run_id = r.id AND x.key = ? AND \(value.sql))",
                [.string(clause.key)] + value.parameters)
    }

    /// Values first, then NaN, then runs without the key, in either direction, as MLflow orders them.
    private func keyset() throws -> (KeysetOrder, [SQLFragment]) {
        var (keys, joins): ([KeysetOrder.Key], [SQLFragment]) = ([], [])
        var seen: Set<String> = []
        for (i, order) in try RunSearch.grammar.parse(order: orderBy).enumerated() {
            seen.insert("\(order.entity.rawValue).\(order.key)")
            switch order.entity {
            case .attribute where order.key == "end_time":
                keys.append(.init("CASE WHEN r.end_ms IS NULL THEN 1 ELSE 0 END", ascending: true))
                keys.append(.init("coalesce(r.end_ms, 0)", ascending: order.ascending))
            case .attribute: keys.append(.init(RunSearch.columns[order.key] ?? "r.id", ascending: order.ascending))
            case .metric:
                joins.append(
                    SQLFragment("LEFT JOIN tracking_latest_metrics o\(i) ON o\(i).run_id = r.id AND o\(i).key = ?", [.string(order.key)]))
                keys.append(.init("CASE WHEN o\(i).value IS NULL THEN 2 ELSE o\(i).is_nan END", ascending: true))
                keys.append(.init("coalesce(o\(i).value, 0)", ascending: order.ascending))
            case .parameter, .tag, .dataset:
                let table = order.entity == .parameter ? "tracking_params" : "tracking_tags"
                joins.append(SQLFragment("LEFT JOIN \(table) o\(i) ON o\(i).run_id = r.id AND o\(i).key = ?", [.string(order.key)]))
                keys.append(.init("CASE WHEN o\(i).value IS NULL THEN 1 ELSE 0 END", ascending: true))
                keys.append(.init("coalesce(o\(i).value, '')", ascending: order.ascending))
            }
        }
        if !seen.contains("attribute.start_time") { keys.append(.init("r.start_ms", ascending: false)) }
        if !seen.contains("attribute.run_id") { keys.append(.init("r.id", ascending: true)) }
        return (KeysetOrder(keys), joins)
    }
}

extension RunSearch {
    func run(on db: some Querying) throws -> Page<Run> {
        let plan = try plan()
        let rows = try db.rows(plan.statement.sql, plan.statement.parameters)
        let page = Array(rows.prefix(plan.limit))
        let next = rows.count > plan.limit ? page.last.map { plan.order.token(after: $0, query: plan.question) } : nil
        return Page(items: try RunStore.withData(db, page.map(RunStore.run)), nextToken: next)
    }

    /// How the database would answer this search; tests hold it to the indexes.
    package func explain(on db: some Querying) throws -> [String] {
        let statement = try plan().statement
        return try db.rows("EXPLAIN QUERY PLAN " + statement.sql, statement.parameters).map { $0.text("detail") }
    }
}
