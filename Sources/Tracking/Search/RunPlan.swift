import Contracts
import Storage

/// How one page of runs is asked for: the statements to run one after another until the page is full.
struct RunPlan {
    /// Made when their turn comes: one may look at the indexes, and most pages are full before it.
    let statements: [() throws -> SQLFragment]
    let order: KeysetOrder
    let question: String
    let limit: Int
}

extension RunSearch {
    func plan(on db: some Querying) throws -> RunPlan {
        let (order, joins) = RunSearch.keyset(orders)
        let question = "runs|\(experimentIDs.sorted())|\(view)|\(clauses)|\(orders)"
        let last = try pageToken.flatMap { $0.isEmpty ? nil : try order.values(of: $0, query: question) }
        let planner = RunPlanner(
            db: db, experiments: try ExperimentStore.numbers(db, among: experiments), view: view, clauses: clauses.map(RunSearch.named), orders: orders, order: order, joins: joins,
            last: last,
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
            let statement = try statement()
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
    /// - Parameter first: how many of the statements, of which those after a full page are not run.
    package func explain(on db: some Querying, first: Int = .max) throws -> [String] {
        try plan(on: db).statements.prefix(first).flatMap { statement in
            let statement = try statement()
            return try db.rows(SQLDialect.sqlite.explain + statement.sql, statement.parameters).map { $0.text("detail") }
        }
    }
}

/// Chooses how runs are found.
///
/// The database's planner knows nothing of how many runs a clause finds, so bounded looks at the indexes decide. A clause that finds few runs
/// leads: they are looked up and sorted. Otherwise the runs are walked in their order and the clauses checked on the way, which ends when the
/// page is full; an order that no index of the runs gives is walked stretch by stretch (`RunStretch`), or sorted.
struct RunPlanner<DB: Querying> {
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
    var fewMax: Int { 2000 }
    /// The parts of the runs that are walked side by side in one statement.
    var walkedTogetherMax: Int { 32 }

    func statements() throws -> [() throws -> SQLFragment] {
        guard !experiments.isEmpty else { return [] }
        let leader = try leader()
        let first = orders.first
        if let leader, leader.entity != .metric || first?.entity != .metric || leader.key != first?.key {
            return [{ led(by: leader) }]
        }
        if try areFew() { return [{ leader.map(led(by:)) ?? sorted }] }
        if let first, let stretches = try stretches(by: first) {
            return stretches.enumerated().map { i, stretch in { try walked(stretch, after: i == 0 ? last : nil) } }
        }
        return [{ try leader.map(led(by:)) ?? walked(RunStretch(clauses: clauses), after: last) }]
    }

    // MARK: Ways

    /// The runs that one clause finds.
    private func led(by clause: SearchClause) -> SQLFragment {
        guard let own = RunSearch.served(clause) else { return sorted }
        let others = RunSearch.found(by: clauses.filter { $0 != clause })
        return select(
            RunPlanner.runColumns(order.columns), SQLFragment("\(RunSearch.table(clause.entity)) x CROSS JOIN tracking_runs r"),
            others.joins + joins,
            [own, SQLFragment("r.id = x.run_id"), kept] + others.conditions
                + after(RunStretch(clauses: []), last), order)
    }

    /// The runs as they are, found by their times if that is how few they are.
    private var sorted: SQLFragment {
        let found = RunSearch.found(by: clauses)
        return select(
            RunPlanner.runColumns(order.columns), RunPlanner.runs, found.joins + joins,
            [kept] + found.conditions + after(RunStretch(clauses: []), last), order)
    }

    /// The runs of a stretch in their order.
    private func walked(_ stretch: RunStretch, after last: [Value]?) throws -> SQLFragment {
        let order = order(in: stretch)
        let found = RunSearch.found(by: stretch.clauses, order: order.keys.first?.expression.sql)
        let conditions = stretch.conditions + found.conditions + after(stretch, last)
        // The order's first joins go with its leading keys.
        let joins = stretch.leading.isEmpty || orders.first?.entity == .attribute ? joins : Array(joins.dropFirst())
        let columns = columns(of: stretch)
        if let table = stretch.table {
            let source = SQLFragment("\(table) x CROSS JOIN tracking_runs r")
            return select(
                columns, source, found.joins + joins, [SQLFragment("r.id = x.run_id"), kept] + conditions,
                KeysetOrder((stretch.indexed.map { [$0] } ?? []) + order.keys))
        }
        var bounds = [kept]
        if joins.isEmpty, isMerged(by: order) {
            if parts.count <= walkedTogetherMax {
                let merged = together(parts[...], SQLFragment("r.id"), found.joins, conditions, order)
                let source = SQLFragment("(\(merged.sql)) x CROSS JOIN tracking_runs r", merged.parameters)
                return select(columns, source, [], [SQLFragment("r.id = x.id")], order)
            }
            bounds += try reach(found.joins, conditions, order)
        }
        return select(columns, RunPlanner.runs, found.joins + joins, bounds + conditions, order)
    }

    // MARK: Looks at the indexes

    /// Whether the runs, or those between two times, are so few that they are sorted, when the order's index has not these times.
    private func areFew() throws -> Bool {
        let ordered = order.keys.first?.expression.sql
        let times = RunSearch.times.filter { time in
            RunSearch.columns[time] != ordered && clauses.contains { $0.entity == .attribute && $0.key == time }
        }
        let all: [[SearchClause]] = ordered == "r.start_ms" ? [] : [[]]
        return try (all + times.map { time in clauses.filter { $0.entity == .attribute && $0.key == time } }).contains { clauses in
            try !holds(.conjunction(RunPlanner.runs, [kept] + RunSearch.found(by: clauses).conditions), moreThan: fewMax)
        }
    }

    /// The first clause that finds so few runs that they are looked up and sorted.
    private func leader() throws -> SearchClause? {
        try clauses.first { clause in
            guard let own = RunSearch.served(clause) else { return false }
            let found = SQLFragment.conjunction(SQLFragment("\(RunSearch.table(clause.entity)) x"), [own])
            return try !holds(found, moreThan: min(fewMax, sortedMax()))
        }
    }

    /// Of more runs that the only clause finds, walking fills a page sooner than looking them up and sorting them. The next runs tell how many
    /// of them it finds.
    private func sortedMax() throws -> Int {
        guard clauses.count == 1, orders.isEmpty, parts.count == 1 else { return .max }
        let ahead = 64
        let next = select(
            SQLFragment("r.id"), RunPlanner.runs, [], [kept] + after(RunStretch(clauses: []), last), order, limit: ahead - 1)
        let found = try count(of: clauses, in: SQLFragment("(\(next.sql)) r", next.parameters))
        // A step of the walk costs about a third of a run that is looked up and sorted.
        return found == 0 ? .max : (limit + 1) * ahead / found / 3
    }

    /// How many of the runs `r` of a source all clauses find.
    func count(of clauses: [SearchClause], in source: SQLFragment, _ conditions: [SQLFragment] = []) throws -> Int {
        let found = RunSearch.found(by: clauses)
        let counted = SQLFragment.conjunction(
            SQLFragment(
                "\(source.sql) \(found.joins.map(\.sql).joined(separator: " "))", source.parameters + found.joins.flatMap(\.parameters)),
            conditions + found.conditions)
        return Int(try db.row("SELECT count(*) FROM \(counted.sql)", counted.parameters)?[0].integer ?? 0)
    }

    func holds(_ source: SQLFragment, moreThan count: Int) throws -> Bool {
        try db.row("SELECT 1 FROM \(source.sql) LIMIT 1 OFFSET ?", source.parameters + [.int(Int64(count))]) != nil
    }

    // MARK: Pieces

    static var runs: SQLFragment { SQLFragment("tracking_runs r") }

    private static func runColumns(_ keys: SQLFragment) -> SQLFragment {
        SQLFragment("\(RunStore.runColumns), \(keys.sql)", keys.parameters)
    }

    /// What is selected of the runs of a stretch: the keys are those of the whole order, for the page's token.
    private func columns(of stretch: RunStretch) -> SQLFragment {
        let keys = stretch.leading + order.keys.dropFirst(stretch.leading.count).map(\.expression)
        return RunPlanner.runColumns(
            SQLFragment(keys.enumerated().map { "\($1.sql) AS k\($0)" }.joined(separator: ", "), keys.flatMap(\.parameters)))
    }

    /// The order of the runs in a stretch.
    func order(in stretch: RunStretch) -> KeysetOrder {
        KeysetOrder((stretch.key.map { [$0] } ?? []) + order.keys.dropFirst(stretch.leading.count))
    }

    private func after(_ stretch: RunStretch, _ last: [Value]?) -> [SQLFragment] {
        last.map { [order(in: stretch).after(Array($0.dropFirst(stretch.leading.count - (stretch.key == nil ? 0 : 1))))] } ?? []
    }

    /// A page and one more, which tells that there is a next page.
    func select(
        _ columns: SQLFragment, _ source: SQLFragment, _ joins: [SQLFragment], _ conditions: [SQLFragment], _ order: KeysetOrder,
        limit: Int? = nil
    ) -> SQLFragment {
        SQLFragment(
            """
            SELECT \(columns.sql) FROM \(source.sql) \(joins.map(\.sql).joined(separator: " "))
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """,
            columns.parameters + source.parameters + joins.flatMap(\.parameters) + conditions.flatMap(\.parameters)
                + order.orderBy.parameters + [.int(Int64(limit ?? self.limit) + 1)])
    }
}
