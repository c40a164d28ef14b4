import Contracts
import Storage

/// How one page of runs is asked for: the statements to run one after another until the page is full.
struct RunPlan {
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
        let experiments = Set(try experimentIDs.map { try ExperimentStore.number(of: $0) }).sorted()
        let clauses = try RunSearch.grammar.parse(filter: filter ?? "").map(RunSearch.named)
        let orders = try RunSearch.grammar.parse(order: orderBy)
        let (order, joins) = RunSearch.keyset(orders)
        let question = "runs|\(experimentIDs.sorted())|\(view)|\(filter ?? "")|\(orderBy)"
        let last = try pageToken.flatMap { $0.isEmpty ? nil : try order.values(of: $0, query: question) }
        let planner = RunPlanner(
            db: db, experiments: experiments, view: view, clauses: clauses, orders: orders, order: order, joins: joins, last: last,
            limit: limit)
        return RunPlan(statements: try planner.statements(), order: order, question: question, limit: limit)
    }

    /// A run's name is also its tag, and that one has an index.
    private static func named(_ clause: SearchClause) -> SearchClause {
        guard clause.entity == .attribute, clause.key == "run_name" else { return clause }
        return SearchClause(.tag, "mlflow.runName", clause.comparator, clause.operand)
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
        try RunStore.addData(db, to: &runs)
        return Page(items: runs, nextToken: token)
    }

    /// How the database would answer this search; tests hold it to the indexes.
    package func explain(on db: some Querying) throws -> [String] {
        try plan(on: db).statements.flatMap { statement in
            try db.rows("EXPLAIN QUERY PLAN " + statement.sql, statement.parameters).map { $0.text("detail") }
        }
    }
}

/// Chooses how runs are found.
///
/// The database's planner knows nothing of how many runs a clause finds, so bounded looks at the indexes decide. A clause that finds few runs
/// leads: they are looked up and sorted. Otherwise the runs are walked in their order and the clauses checked on the way, which ends when the
/// page is full.
private struct RunPlanner<DB: Querying> {
    let db: DB
    let experiments: [Int64]
    let view: ViewType
    let clauses: [SearchClause]
    let orders: [SearchOrder]
    let order: KeysetOrder
    /// What the order needs beside the runs.
    let joins: [SQLFragment]
    /// The order's values of the last run of the page before.
    let last: [Value]?
    let limit: Int

    /// A clause that finds at most this many runs may lead, and experiments with at most this many runs are sorted as they are.
    private var fewMax: Int { 2000 }
    /// So few are not worth a look at how many a walk would find.
    private var fewAlways: Int { 256 }
    /// The runs of so many experiments are walked side by side; those of more are sorted.
    private var walkedTogetherMax: Int { 32 }

    func statements() throws -> [SQLFragment] {
        guard !experiments.isEmpty else { return [] }
        let leader = try leader()
        if let first = orders.first, first.entity == .metric,
            leader.map({ $0.entity == .metric && $0.key == first.key }) ?? true,
            try holds(SQLFragment("tracking_runs r WHERE \(kept.sql)", kept.parameters), moreThan: fewMax)
        {
            return byMetric(first)
        }
        if let leader { return [led(by: leader)] }
        if experiments.count > 1, experiments.count <= walkedTogetherMax, orders.isEmpty { return [walkedTogether] }
        return [walked]
    }

    // MARK: Ways

    /// The runs that one clause finds.
    private func led(by clause: SearchClause) -> SQLFragment {
        guard let own = RunSearch.served(clause) else { return walked }
        let others = RunSearch.found(by: clauses.filter { $0 != clause })
        return select(
            SQLFragment("\(RunSearch.table(clause.entity)) x CROSS JOIN tracking_runs r"), others.joins + joins,
            [own, SQLFragment("r.id = x.run_id"), kept] + others.conditions + after(order))
    }

    /// The runs in their order.
    private var walked: SQLFragment {
        let found = RunSearch.found(by: clauses)
        return select(RunPlanner.runs, found.joins + joins, [kept] + found.conditions + after(order))
    }

    /// Each experiment's runs in the order of its index, a page of each, merged.
    private var walkedTogether: SQLFragment {
        let found = RunSearch.found(by: clauses)
        let pages = experiments.map { experiment in
            let page = RunPlanner.select(
                SQLFragment("r.id"), RunPlanner.runs, found.joins, [among([experiment])] + found.conditions + after(order), order,
                limit: limit)
            return SQLFragment("SELECT * FROM (\(page.sql))", page.parameters)
        }
        let merged = SQLFragment(
            "(\(pages.map(\.sql).joined(separator: " UNION ALL "))) x CROSS JOIN tracking_runs r", pages.flatMap(\.parameters))
        return select(merged, [], [SQLFragment("r.id = x.id")])
    }

    /// An order by a metric is read from the metric's index: first the runs with a value, then those with NaN, then those without it.
    private func byMetric(_ metric: SearchOrder) -> [SQLFragment] {
        let own = clauses.filter { $0.entity == .metric && $0.key == metric.key }
        let others = RunSearch.found(by: clauses.filter { $0.entity != .metric || $0.key != metric.key })
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
            var conditions = [kept] + others.conditions
            let source = rank == 2 ? RunPlanner.runs : SQLFragment("tracking_latest_metrics o0 CROSS JOIN tracking_runs r")
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
            return RunPlanner.select(
                RunPlanner.runColumns(columns), source, others.joins + joins.dropFirst(), conditions, segment, limit: limit)
        }
    }

    // MARK: Looks at the indexes

    /// The first clause that finds so few runs that they are looked up and sorted.
    private func leader() throws -> SearchClause? {
        try clauses.first { clause in
            guard let own = RunSearch.served(clause) else { return false }
            let found = SQLFragment("\(RunSearch.table(clause.entity)) x WHERE \(own.sql)", own.parameters)
            guard try holds(found, moreThan: fewAlways) else { return true }
            return try !holds(found, moreThan: min(fewMax, sortedMax()))
        }
    }

    /// Of more runs that the only clause finds, walking fills a page sooner than looking them up and sorting them. The next runs tell how many
    /// of them it finds.
    private func sortedMax() throws -> Int {
        guard clauses.count == 1, orders.isEmpty, experiments.count == 1 else { return .max }
        let ahead = 64
        let next = RunPlanner.select(SQLFragment("r.id"), RunPlanner.runs, [], [kept] + after(order), order, limit: ahead - 1)
        let own = RunSearch.found(by: clauses)
        let found =
            try db.row(
                """
                SELECT count(*) FROM (\(next.sql)) r \(own.joins.map(\.sql).joined(separator: " "))
                WHERE \(own.conditions.map(\.sql).joined(separator: " AND "))
                """, next.parameters + own.joins.flatMap(\.parameters) + own.conditions.flatMap(\.parameters))?[0].integer ?? 0
        // A step of the walk costs about a third of a run that is looked up and sorted.
        return found == 0 ? .max : (limit + 1) * ahead / Int(found) / 3
    }

    private func holds(_ source: SQLFragment, moreThan count: Int) throws -> Bool {
        try db.row("SELECT 1 FROM \(source.sql) LIMIT 1 OFFSET ?", source.parameters + [.int(Int64(count))]) != nil
    }

    // MARK: Pieces

    private static var runs: SQLFragment { SQLFragment("tracking_runs r") }

    private var kept: SQLFragment { among(experiments) }

    /// The runs of the experiments, `r.experiment_id` first.
    private func among(_ experiments: [Int64]) -> SQLFragment {
        let ids = experiments.map(Value.int)
        // One value is an equality: the order of its index is then the order of the answer.
        let experiment = ids.count == 1 ? "= ?" : "IN (\(SQLFragment.marks(ids.count)))"
        guard view != .all else { return SQLFragment("r.experiment_id \(experiment)", ids) }
        return SQLFragment("r.experiment_id \(experiment) AND r.lifecycle = ?", ids + view.lifecycles.map { .string($0.rawValue) })
    }

    private func after(_ order: KeysetOrder) -> [SQLFragment] { last.map { [order.after($0)] } ?? [] }

    private func select(_ source: SQLFragment, _ joins: [SQLFragment], _ conditions: [SQLFragment]) -> SQLFragment {
        RunPlanner.select(RunPlanner.runColumns(order.columns), source, joins, conditions, order, limit: limit)
    }

    private static func runColumns(_ keys: SQLFragment) -> SQLFragment {
        SQLFragment("\(RunStore.runColumns), \(keys.sql)", keys.parameters)
    }

    /// A page and one more, which tells that there is a next page.
    private static func select(
        _ columns: SQLFragment, _ source: SQLFragment, _ joins: [SQLFragment], _ conditions: [SQLFragment], _ order: KeysetOrder, limit: Int
    ) -> SQLFragment {
        SQLFragment(
            """
            SELECT \(columns.sql) FROM \(source.sql) \(joins.map(\.sql).joined(separator: " "))
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """,
            columns.parameters + source.parameters + joins.flatMap(\.parameters) + conditions.flatMap(\.parameters)
                + order.orderBy.parameters
                + [.int(Int64(limit) + 1)])
    }
}
