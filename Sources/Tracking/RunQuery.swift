import Contracts
import Storage

/// How a search of runs is answered.
///
/// Without statistics a planner cannot know whether a filter finds ten runs or all of them, so the statements say the order of the tables
/// themselves. Each clause that an index serves is counted up to `candidatesMax`: when the best has no more, its runs are looked at and
/// sorted; otherwise the runs are walked in the order asked for, and the filter tested on each, until the page is full. Either way the
/// cost follows the page, not the number of runs.
///
/// An order by a metric, parameter or tag is answered in bands, so that an index gives it: runs with a value, then NaN, then without.
struct RunQuery {
    static let candidatesMax = 2000

    let base: [SQLFragment]
    let clauses: [SearchClause]
    let orders: [SearchOrder]
    let question: String
    let limit: Int
    let after: [Value]?

    init(_ search: RunSearch) throws {
        guard search.experimentIDs.count <= TrackingLimits.experimentsPerFilterMax else {
            throw KeelError.invalid("at most \(TrackingLimits.experimentsPerFilterMax) experiments can be searched at once")
        }
        limit = try TrackingLimits.page(search.pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        clauses = try RunSearch.grammar.parse(filter: search.filter ?? "").map(RunQuery.named)
        orders = try RunSearch.grammar.parse(order: search.orderBy)
        let ids = try search.experimentIDs.map { Value.int(try ExperimentStore.number(of: $0)) }
        base = [
            RunQuery.among("r.experiment_id", ids), RunQuery.among("r.lifecycle", search.view.lifecycles.map { .string($0.rawValue) }),
        ]
        let question = "runs|\(search.experimentIDs.sorted())|\(search.view)|\(search.filter ?? "")|\(search.orderBy)"
        self.question = question
        after = try search.pageToken.flatMap { $0.isEmpty ? nil : $0 }.map { try KeysetOrder.values(of: $0, query: question) }
    }

    /// A run's name is also its tag, and that one has an index.
    private static func named(_ clause: SearchClause) -> SearchClause {
        guard clause.entity == .attribute, clause.key == "run_name" else { return clause }
        return SearchClause(.tag, "mlflow.runName", clause.comparator, clause.operand)
    }

    private static func among(_ column: String, _ values: [Value]) -> SQLFragment {
        switch values.count {
        case 0: SQLFragment("1 = 0")
        case 1: SQLFragment("\(column) = ?", values)
        default: SQLFragment("\(column) IN (\(SQLFragment.marks(values.count)))", values)
        }
    }
}

// MARK: Bands

extension RunQuery {
    enum Band: Int64 { case value, nan, none }

    /// The table of the first order, when it is one of its own: then the answer comes in bands.
    private var bandTable: String? { orders.first.flatMap { Self.table(of: $0.entity) } }

    private static func table(of entity: SearchClause.Entity) -> String? {
        switch entity {
        case .metric: "tracking_latest_metrics"
        case .parameter: "tracking_params"
        case .tag: "tracking_tags"
        case .attribute, .dataset: nil
        }
    }

    /// Nil stands for an answer that is not in bands.
    private var bands: [Band?] {
        guard let first = orders.first, bandTable != nil else { return [nil] }
        let own = clauses.filter { $0.entity == first.entity && $0.key == first.key }
        if own.contains(where: { $0.comparator == .isNull }) { return [Band.none] }
        var bands: [Band?] = [.value]
        if first.entity == .metric, own.allSatisfy({ $0.comparator == .notEqual }) { bands.append(.nan) }
        if own.isEmpty { bands.append(Band.none) }
        return bands
    }

    /// Of every row these are unlike, and none is null.
    private func keys(in band: Band?) -> (KeysetOrder, joins: [SQLFragment]) {
        var (keys, joins): ([KeysetOrder.Key], [SQLFragment]) = ([], [])
        for (i, order) in orders.enumerated() {
            let direction = order.ascending
            if i == 0, let band {
                guard band == .value else { continue }
                if order.entity != .metric { keys.append(.init("substr(o0.value, 1, 200)", ascending: direction)) }
                keys.append(.init("o0.value", ascending: direction))
                continue
            }
            guard let table = Self.table(of: order.entity) else {
                if order.key == "end_time" {
                    keys.append(.init("CASE WHEN r.end_ms IS NULL THEN 1 ELSE 0 END", ascending: true))
                    keys.append(.init("coalesce(r.end_ms, 0)", ascending: direction))
                } else {
                    keys.append(.init(RunSearch.columns[order.key] ?? "r.id", ascending: direction))
                }
                continue
            }
            joins.append(SQLFragment("LEFT JOIN \(table) o\(i) ON o\(i).run_id = r.id AND o\(i).key = ?", [.string(order.key)]))
            let isMetric = order.entity == .metric
            keys.append(.init("CASE WHEN o\(i).value IS NULL THEN 2 ELSE \(isMetric ? "o\(i).is_nan" : "0") END", ascending: true))
            keys.append(.init("coalesce(o\(i).value, \(isMetric ? "0" : "''"))", ascending: direction))
        }
        let attributes = Set(orders.filter { $0.entity == .attribute }.map(\.key))
        if !attributes.contains("start_time") { keys.append(.init("r.start_ms", ascending: false)) }
        if !attributes.contains("run_id") { keys.append(.init("r.id", ascending: true)) }
        return (KeysetOrder(keys), joins)
    }
}

// MARK: Statements

extension RunQuery {
    /// The statement of one band. `lead` gives the only runs that can be found; `last` is where the page before ended.
    func statement(_ band: Band?, lead: SQLFragment?, after last: [Value]?, limit: Int) -> (sql: SQLFragment, keys: KeysetOrder) {
        let (order, joins) = keys(in: band)
        var tables: [SQLFragment] = []
        var conditions: [SQLFragment] = []
        let ownKey = orders.first.map { [Value.string($0.key)] } ?? []
        let own = bandTable.map { SQLFragment("\($0) o0") }
        if let lead {
            tables.append(SQLFragment("(\(lead.sql)) c", lead.parameters))
            conditions.append(SQLFragment("r.id = c.id"))
        }
        if let band, let own, band != .none {
            tables.insert(own, at: lead == nil ? 0 : tables.count)
            let nan = orders[0].entity == .metric ? " AND o0.is_nan = \(band.rawValue)" : ""
            conditions.append(SQLFragment("o0.key = ?\(nan) AND o0.run_id = \(lead == nil ? "r.id" : "c.id")", ownKey))
        } else if let band, band == .none, let own {
            conditions.append(SQLFragment("NOT EXISTS (SELECT 1 FROM \(own.sql) WHERE o0.run_id = r.id AND o0.key = ?)", ownKey))
        }
        tables.append(SQLFragment("tracking_runs r"))
        conditions += base
        for clause in clauses {
            let isOwn = band == .value && clause.entity == orders[0].entity && clause.key == orders[0].key && clause.operand != .none
            conditions.append(isOwn ? clause.condition(on: "o0.value") : RunQuery.condition(clause))
        }
        if let last { conditions.append(order.after(last)) }
        let sql = SQLFragment(
            """
            SELECT \(RunStore.runColumns), \(order.columns.sql) FROM \(tables.map(\.sql).joined(separator: " CROSS JOIN ")) \
            \(joins.map(\.sql).joined(separator: " ")) WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """,
            order.columns.parameters + tables.flatMap(\.parameters) + joins.flatMap(\.parameters) + conditions.flatMap(\.parameters)
                + order.orderBy.parameters + [.int(Int64(limit))])
        return (sql, order)
    }

    /// The runs of the clause that finds fewest, when these are few.
    func lead(on db: some Querying, candidatesMax: Int) throws -> SQLFragment? {
        var best: (count: Int64, lead: SQLFragment)?
        var leads = clauses.compactMap(RunQuery.lead)
        if bandTable != nil {
            leads.append(
                SQLFragment("SELECT r.id AS id FROM tracking_runs r WHERE \(base.map(\.sql).joined(separator: " AND "))", base.flatMap(\.parameters)))
        }
        for lead in leads {
            let most = min(best?.count ?? .max, Int64(candidatesMax) + 1)
            var count: Int64 = 0
            try db.scan("SELECT count(*) FROM (\(lead.sql) LIMIT ?) n", lead.parameters + [.int(most)]) { count = $0.int(0) }
            if count < most { best = (count, lead) }
        }
        return best?.lead
    }

    /// A range of the clause's index, when it has one.
    private static func lead(_ clause: SearchClause) -> SQLFragment? {
        guard let table = table(of: clause.entity) else { return nil }
        let own = "SELECT x.run_id AS id FROM \(table) x WHERE x.key = ? AND"
        let key = [Value.string(clause.key)]
        switch (clause.entity, clause.comparator, clause.operand) {
        case (.metric, .notEqual, _): return nil
        case (.metric, _, _):
            let value = clause.condition(on: "x.value")
            return SQLFragment("\(own) x.is_nan = 0 AND \(value.sql)", key + value.parameters)
        case (_, .equal, .text(let text)):
            return SQLFragment("\(own) substr(x.value, 1, 200) = substr(?, 1, 200) AND x.value = ?", key + [.string(text), .string(text)])
        case (_, .like, .text(let pattern)):
            guard let range = prefixRange(pattern) else { return nil }
            let value = clause.condition(on: "x.value")
            return SQLFragment(
                "\(own) substr(x.value, 1, 200) >= ? AND substr(x.value, 1, 200) < ? AND \(value.sql)",
                key + [.string(range.from), .string(range.to)] + value.parameters)
        default: return nil
        }
    }

    /// Where the texts lie that a pattern such as `ab%` matches: from `ab` to before `ac`.
    static func prefixRange(_ pattern: String) -> (from: String, to: String)? {
        let prefix = String(pattern.unicodeScalars.prefix { $0 != "%" && $0 != "_" }.prefix(200))
        guard let last = prefix.unicodeScalars.last, last.value < 0xD7FF, let next = Unicode.Scalar(last.value + 1) else { return nil }
        var to = String.UnicodeScalarView(prefix.unicodeScalars.dropLast())
        to.append(next)
        return (prefix, String(to))
    }

    private static func condition(_ clause: SearchClause) -> SQLFragment {
        guard let table = table(of: clause.entity) else {
            guard clause.entity == .dataset else { return clause.condition(on: RunSearch.columns[clause.key] ?? "r.id") }
            let value = clause.condition(on: "x.\(clause.key)")
            return SQLFragment("EXISTS (SELECT 1 FROM tracking_inputs x WHERE x.run_id = r.id AND \(value.sql))", value.parameters)
        }
        let own = "SELECT 1 FROM \(table) x WHERE x.run_id = r.id AND x.key = ?"
        let key = [Value.string(clause.key)]
        if clause.comparator == .isNull { return SQLFragment("NOT EXISTS (\(own))", key) }
        if clause.comparator == .isNotNull { return SQLFragment("EXISTS (\(own))", key) }
        var value = clause.condition(on: "x.value")
        // NaN is stored as 0: it is unequal to everything and satisfies nothing else.
        if clause.entity == .metric {
            value.sql = clause.comparator == .notEqual ? "(x.is_nan = 1 OR \(value.sql))" : "x.is_nan = 0 AND \(value.sql)"
        }
        return SQLFragment("EXISTS (\(own) AND \(value.sql))", key + value.parameters)
    }
}

// MARK: Answers

extension RunQuery {
    func page(on db: some Querying, candidatesMax: Int = RunQuery.candidatesMax) throws -> Page<Run> {
        let lead = try lead(on: db, candidatesMax: candidatesMax)
        var runs: [Run] = []
        var token: String?
        for (band, last) in try pending() where token == nil {
            let (sql, keys) = statement(band, lead: lead, after: last, limit: limit + 1 - runs.count)
            // One run more than the page tells whether there is a next.
            var place: [Value] = []
            try db.scan(sql.sql, sql.parameters) { row in
                if runs.count == limit {
                    token = KeysetOrder.token(of: [.int(band?.rawValue ?? 0)] + place, query: question)
                } else {
                    runs.append(RunStore.run(cells: row))
                    if runs.count == limit { place = keys.keys.indices.map { row.value(RunStore.runColumnCount + $0) } }
                }
            }
        }
        return Page(items: try RunStore.withData(db, runs), nextToken: token)
    }

    /// The bands that are not yet given, and where to go on in the first of them.
    func pending() throws -> [(band: Band?, after: [Value]?)] {
        guard let after else { return bands.map { ($0, nil) } }
        guard case .int(let rank)? = after.first, let at = bands.firstIndex(where: { ($0?.rawValue ?? 0) == rank }) else {
            throw KeysetOrder.wrongToken
        }
        let last = Array(after.dropFirst())
        guard last.isEmpty || last.count == keys(in: bands[at]).0.keys.count else { throw KeysetOrder.wrongToken }
        return bands[at...].enumerated().map { ($1, $0 == 0 && !last.isEmpty ? last : nil) }
    }

    /// How the database would answer; tests hold it to the indexes.
    func explain(on db: some Querying, candidatesMax: Int) throws -> [String] {
        let lead = try lead(on: db, candidatesMax: candidatesMax)
        return try pending().flatMap { band, last in
            let sql = statement(band, lead: lead, after: last, limit: limit).sql
            return try db.rows("EXPLAIN QUERY PLAN " + sql.sql, sql.parameters).map { $0.text("detail") }
        }
    }
}

extension RunSearch {
    static let columns = [
        "run_id": "r.id", "user_id": "r.user_id", "run_name": "r.name", "status": "r.status", "artifact_uri": "r.artifact_uri",
        "start_time": "r.start_ms", "end_time": "r.end_ms",
    ]

    func run(on db: some Querying) throws -> Page<Run> { try RunQuery(self).page(on: db) }

    /// How the database would answer this search. With `candidatesMax` below zero no clause leads.
    package func explain(on db: some Querying, candidatesMax: Int = RunQuery.candidatesMax) throws -> [String] {
        try RunQuery(self).explain(on: db, candidatesMax: candidatesMax)
    }

    /// What is found when at most so many candidates lead.
    package func ids(on db: some Querying, candidatesMax: Int) throws -> [String] {
        try RunQuery(self).page(on: db, candidatesMax: candidatesMax).items.map(\.id)
    }

    /// The statement of the first band, in which every text of the caller is a parameter.
    package func sql() throws -> String {
        let query = try RunQuery(self)
        return try query.statement(query.pending()[0].band, lead: nil, after: nil, limit: 1).sql.sql
    }
}
