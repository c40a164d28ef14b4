import Contracts
import Storage

/// How one page of runs is asked for: the statements to run one after another until the page is full.
///
/// The database's planner knows nothing of how many runs a clause finds, so a bounded look at the index decides: a clause that finds few
/// runs leads; otherwise the runs are walked in their order and the clauses checked on the way, which ends when the page is full.
struct RunPlan {
    /// A clause that finds at most this many runs leads, and experiments with at most this many runs are sorted as they are.
    static let fewMax = 2000

    let statements: [SQLFragment]
    let order: KeysetOrder
    let question: String
    let limit: Int
}

extension RunSearch {
    func plan(on db: some Querying) throws -> RunPlan {
        guard experimentIDs.count <= TrackingLimits.experimentsPerFilterMax else {
            throw KeelError.invalid("at most \(TrackingLimits.experimentsPerFilterMax) experiments can be searched at once")
        }
        let limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        let ids = Set(try experimentIDs.map { try ExperimentStore.number(of: $0) }).sorted().map(Value.int)
        let clauses = try RunSearch.grammar.parse(filter: filter ?? "").map(RunSearch.named)
        let orders = try RunSearch.grammar.parse(order: orderBy)
        let (order, joins) = RunSearch.keyset(orders)
        let question = "runs|\(experimentIDs.sorted())|\(view)|\(filter ?? "")|\(orderBy)"
        let last = try pageToken.flatMap { $0.isEmpty ? nil : try order.values(of: $0, query: question) }
        func plan(_ statements: [SQLFragment]) -> RunPlan { RunPlan(statements: statements, order: order, question: question, limit: limit) }
        guard !ids.isEmpty else { return plan([]) }

        let kept = RunSearch.among(ids, view)
        let leader = try RunSearch.leader(clauses, on: db)
        let first = orders.first.flatMap { $0.entity == .metric ? $0 : nil }
        if let first, leader.map({ $0.clause.entity == .metric && $0.clause.key == first.key }) ?? true,
            try RunSearch.count(db, "tracking_runs r WHERE \(kept.sql)", kept.parameters) == nil
        {
            return plan(RunSearch.metricFirst(first, kept, clauses, Array(joins.dropFirst()), order, after: last, limit: limit))
        }
        var few = leader?.clause
        if let leader, clauses.count == 1, orders.isEmpty,
            try RunSearch.fillsSooner(db, clauses[0], than: leader.runs, kept, order, after: last, limit: limit)
        {
            few = nil
        }
        var (source, conditions) = ("tracking_runs r", [kept])
        if let few, let own = RunSearch.served(few) {
            source = "\(RunSearch.table(few.entity)) x CROSS JOIN tracking_runs r"
            conditions = [own, SQLFragment("r.id = x.run_id"), kept]
        }
        for clause in clauses where clause != few { conditions.append(RunSearch.condition(clause)) }
        if let last { conditions.append(order.after(last)) }
        return plan([RunSearch.select(order.columns, source, joins, conditions, order, limit: limit)])
    }

    /// A run's name is also its tag, and that one has an index.
    private static func named(_ clause: SearchClause) -> SearchClause {
        guard clause.entity == .attribute, clause.key == "run_name" else { return clause }
        return SearchClause(.tag, "mlflow.runName", clause.comparator, clause.operand)
    }

    /// The runs of the experiments, `r.experiment_id` first.
    private static func among(_ ids: [Value], _ view: ViewType) -> SQLFragment {
        let stages = view.lifecycles.map { Value.string($0.rawValue) }
        // One value is an equality: the order of its index is then the order of the answer.
        let experiment = ids.count == 1 ? "= ?" : "IN (\(SQLFragment.marks(ids.count)))"
        guard view != .all else { return SQLFragment("r.experiment_id \(experiment)", ids) }
        return SQLFragment("r.experiment_id \(experiment) AND r.lifecycle = ?", ids + stages)
    }

    /// The first clause that finds few runs, and how many.
    private static func leader(_ clauses: [SearchClause], on db: some Querying) throws -> (clause: SearchClause, runs: Int)? {
        for clause in clauses {
            guard let own = served(clause), let runs = try count(db, "\(table(clause.entity)) x WHERE \(own.sql)", own.parameters) else { continue }
            return (clause, runs)
        }
        return nil
    }

    /// How many rows there are; nil when they are more than few.
    private static func count(_ db: some Querying, _ source: String, _ parameters: [Value]) throws -> Int? {
        let counted = try db.row("SELECT count(*) FROM (SELECT 1 FROM \(source) LIMIT ?) few", parameters + [.int(Int64(RunPlan.fewMax) + 1)])?[0].integer
        return counted.flatMap { $0 <= Int64(RunPlan.fewMax) ? Int($0) : nil }
    }

    /// Whether runs walked in their order fill a page before `runs` that a clause finds would be looked up and sorted. The next runs tell how
    /// many of them the clause finds.
    private static func fillsSooner(
        _ db: some Querying, _ clause: SearchClause, than runs: Int, _ kept: SQLFragment, _ order: KeysetOrder, after last: [Value]?, limit: Int
    ) throws -> Bool {
        let ahead = 128
        guard runs > 2 * ahead else { return false }
        let (condition, after) = (condition(clause), last.map { order.after($0) } ?? SQLFragment("1 = 1"))
        let found = try db.row(
            """
            SELECT count(*) FROM (
                SELECT r.id FROM tracking_runs r WHERE \(kept.sql) AND \(after.sql) ORDER BY \(order.orderBy.sql) LIMIT \(ahead)) r
            WHERE \(condition.sql)
            """, kept.parameters + after.parameters + order.orderBy.parameters + condition.parameters)?[0].integer ?? 0
        // A step of the walk costs about two thirds of a run that is looked up and sorted.
        return found > 0 && (limit + 1) * ahead / Int(found) <= runs + runs / 2
    }

    private static func select(
        _ columns: SQLFragment, _ source: String, _ joins: [SQLFragment], _ conditions: [SQLFragment], _ order: KeysetOrder, limit: Int
    ) -> SQLFragment {
        SQLFragment(
            """
            SELECT \(RunStore.runColumns), \(columns.sql) FROM \(source) \(joins.map(\.sql).joined(separator: " "))
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """,
            columns.parameters + joins.flatMap(\.parameters) + conditions.flatMap(\.parameters) + order.orderBy.parameters + [
                .int(Int64(limit) + 1)
            ])
    }

    /// An order by a metric is read from the metric's index: first the runs with a value, then those with NaN, then those without it.
    private static func metricFirst(
        _ metric: SearchOrder, _ kept: SQLFragment, _ clauses: [SearchClause], _ joins: [SQLFragment], _ order: KeysetOrder, after last: [Value]?,
        limit: Int
    ) -> [SQLFragment] {
        let own = clauses.filter { $0.entity == .metric && $0.key == metric.key }
        let others = clauses.filter { $0.entity != .metric || $0.key != metric.key }.map { condition($0) }
        let rest = Array(order.keys.dropFirst(2))
        // A token can be forged: its rank is brought into bounds.
        let reached = min(max(last.flatMap { $0.first?.integer } ?? 0, 0), 2)
        return (reached...2).map { rank in
            let value = rank == 0 ? "o0.value" : "0.0"
            let keys = rank == 0 ? [KeysetOrder.Key("o0.value", ascending: metric.ascending)] + rest : rest
            let segment = KeysetOrder(keys)
            var columns = SQLFragment("\(rank) AS k0, \(value) AS k1")
            for (i, key) in rest.enumerated() {
                columns = SQLFragment(
                    columns.sql + ", \(key.expression.sql) AS k\(i + 2)", columns.parameters + key.expression.parameters)
            }
            var conditions = [kept] + others
            let source = rank == 2 ? "tracking_runs r" : "tracking_latest_metrics o0 CROSS JOIN tracking_runs r"
            if rank == 2 {
                conditions.append(
                    SQLFragment(
                        "NOT EXISTS (SELECT 1 FROM tracking_latest_metrics x WHERE x.run_id = r.id AND x.key = ?)", [.string(metric.key)]))
                if !own.isEmpty { conditions.append(SQLFragment("1 = 0")) }
            } else {
                conditions.append(SQLFragment("r.id = o0.run_id AND o0.key = ? AND o0.is_nan = \(rank)", [.string(metric.key)]))
                for clause in own {
                    if rank == 0 { conditions.append(clause.condition(on: "o0.value")) }
                    if rank == 1, clause.comparator != .notEqual { conditions.append(SQLFragment("1 = 0")) }
                }
            }
            if let last, rank == reached { conditions.append(segment.after(Array(last.dropFirst(rank == 0 ? 1 : 2)))) }
            return select(columns, source, joins, conditions, segment, limit: limit)
        }
    }

    func run(on db: some Querying) throws -> Page<Run> {
        let plan = try plan(on: db)
        var (runs, last, token): ([Run], [Value], String?) = ([], [], nil)
        for statement in plan.statements where token == nil {
            try db.scan(statement.sql, statement.parameters) { row in
                if runs.count < plan.limit {
                    runs.append(RunStore.run(cells: row))
                    if runs.count == plan.limit { last = plan.order.keys.indices.map { row.value(RunStore.runColumnCount + $0) } }
                } else if token == nil {
                    token = KeysetOrder.token(of: last, query: plan.question)
                }
            }
        }
        return Page(items: try RunStore.withData(db, runs), nextToken: token)
    }

    /// How the database would answer this search; tests hold it to the indexes.
    package func explain(on db: some Querying) throws -> [String] {
        try plan(on: db).statements.flatMap { statement in
            try db.rows("EXPLAIN QUERY PLAN " + statement.sql, statement.parameters).map { $0.text("detail") }
        }
    }
}
