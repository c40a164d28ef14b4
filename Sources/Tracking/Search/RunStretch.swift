import Contracts
import Storage

/// A part of the runs, in their order, that an index gives: all its runs come before those of the next.
struct RunStretch {
    /// The order's leading keys, as they are throughout the stretch: a rank, a value.
    var leading: [SQLFragment] = []
    /// What the runs of the stretch are ordered by in place of the leading keys.
    var key: KeysetOrder.Key?
    /// What the index holds of the key, when that is not all of it: runs that are alike in it are sorted.
    var indexed: KeysetOrder.Key?
    /// The table whose index gives the order, as x; nil for the runs.
    var table: String?
    /// What makes its rows, or runs, those of the stretch.
    var conditions: [SQLFragment] = []
    /// What else its runs must satisfy.
    var clauses: [SearchClause]

    /// The order of the index.
    var looked: KeysetOrder { KeysetOrder([indexed ?? key].compactMap { $0 }) }

    /// The beginning of a text that the indexes of params and tags hold.
    static func beginning(_ text: String) -> String { "substr(\(text), 1, \(beginningMax))" }
    private static let beginningMax = 200

    /// Those of its runs whose key comes before a value (`-1`), not before it (`0`), or after it (`1`).
    func part(_ side: Int, _ value: Value) -> RunStretch {
        guard let key else { return self }
        let sign = (side < 0) == key.ascending ? "<" : ">"
        var part = self
        if let indexed {
            // A text that the index holds whole is the only one with this entry.
            let isWhole = (value.text ?? "").unicodeScalars.count < RunStretch.beginningMax
            let end = side != 0 && isWhole ? "" : "="
            part.conditions.append(SQLFragment("\(indexed.expression.sql) \(sign)\(end) \(RunStretch.beginning("?"))", [value]))
        }
        part.conditions.append(SQLFragment("\(key.expression.sql) \(sign)\(side == 0 ? "=" : "") ?", [value]))
        return part
    }
}

extension RunPlanner {
    /// How an order is walked from the last run of the page before, if indexes give it. The first stretch is the one with that run.
    func stretches(by first: SearchOrder) throws -> [RunStretch]? {
        switch (first.entity, first.key) {
        case (.attribute, "status"): return byStatus(first)
        case (.attribute, "run_name"):
            let names = RunStretch(leading: [SQLFragment("r.name")], key: .init("r.name", ascending: first.ascending), clauses: clauses)
            return try split(names, by: first)
        case (.attribute, "end_time"):
            let ended = RunStretch(
                leading: [SQLFragment("0"), SQLFragment("r.end_ms")], key: .init("r.end_ms", ascending: first.ascending),
                conditions: [SQLFragment("r.end_ms IS NOT NULL")], clauses: clauses)
            let others = RunStretch(
                leading: [SQLFragment("1"), SQLFragment("0")], conditions: [SQLFragment("r.end_ms IS NULL")], clauses: clauses)
            return try reached(atMost: 1) == 0 ? split(ended, by: first) + [others] : [others]
        case (.attribute, _): return nil
        default: return try byValue(first)
        }
    }

    /// The rank of the last run. A token can be forged: it is brought into bounds.
    private func reached(atMost: Int64) -> Int64 { min(max(last?.first?.integer ?? 0, 0), atMost) }

    private func byStatus(_ order: SearchOrder) -> [RunStretch] {
        let all = RunStatus.allCases.map(\.rawValue).sorted { ($0 < $1) == order.ascending }
        let reached = last?.first?.text.flatMap { all.firstIndex(of: $0) } ?? 0
        let possible = all[reached...].filter { status in
            clauses.allSatisfy { $0.entity != .attribute || $0.key != "status" || $0.comparator != .equal || $0.operand == .text(status) }
        }
        return possible.map { status in
            RunStretch(
                leading: [SQLFragment("r.status")], clauses: clauses + [SearchClause(.attribute, "status", .equal, .text(status))])
        }
    }

    /// A metric, param or tag: first the runs with a value, then those with NaN, then those without it.
    private func byValue(_ order: SearchOrder) throws -> [RunStretch]? {
        let own = clauses.filter { $0.entity == order.entity && $0.key == order.key }
        let others = clauses.filter { $0.entity != order.entity || $0.key != order.key }
        let (isMetric, table, key) = (order.entity == .metric, RunSearch.table(order.entity), Value.string(order.key))
        let absent: Int64 = isMetric ? 2 : 1
        let none = SQLFragment(isMetric ? "CAST(0 AS DOUBLE PRECISION)" : "''")
        let reached = reached(atMost: absent)
        var stretches: [RunStretch] = []
        if reached == 0 {
            let values = RunStretch(
                leading: [SQLFragment("0"), SQLFragment("x.value")], key: .init("x.value", ascending: order.ascending),
                indexed: isMetric ? nil : .init(RunStretch.beginning("x.value"), ascending: order.ascending), table: table,
                conditions: [SQLFragment("x.key = ?\(isMetric ? " AND x.is_nan = 0" : "")", [key])]
                    + own.map { RunSearch.served($0) ?? RunSearch.own($0, alias: "x") }, clauses: others)
            guard let split = try isShort(from(values)) ? split(values, by: order) : nil else { return nil }
            stretches += split
        }
        if isMetric, reached <= 1, own.allSatisfy({ $0.comparator == .notEqual }) {
            stretches.append(
                RunStretch(
                    leading: [SQLFragment("1"), none], table: table,
                    conditions: [SQLFragment("x.key = ? AND x.is_nan = 1", [key])], clauses: others))
        }
        if own.allSatisfy({ $0.comparator == .isNull }) {
            stretches.append(
                RunStretch(
                    leading: [SQLFragment("\(absent)"), none], clauses: others + [SearchClause(order.entity, order.key, .isNull, .none)]))
        }
        return stretches
    }

    // MARK: Values that many runs share

    /// The value of the last run, when it is in this stretch.
    private func value(in stretch: RunStretch) -> Value? { last?[stretch.leading.count - 1] }

    /// The stretch from the last run on.
    private func from(_ stretch: RunStretch) -> RunStretch { value(in: stretch).map { stretch.part(0, $0) } ?? stretch }

    /// Runs with the same value are sorted, so those of a value that very many share are a stretch of their own, walked in their order: the
    /// value that the page begins in, and the one that it would end in.
    private func split(_ stretch: RunStretch, by order: SearchOrder) throws -> [RunStretch] {
        var (rest, parts) = (from(stretch), [RunStretch]())
        guard orders.count == 1, self.parts.count == 1 else { return [rest] }
        if let value = value(in: stretch), let shared = try shared(value, of: stretch, by: order) {
            (rest, parts) = (stretch.part(1, value), [shared])
        }
        let (source, conditions) = source(rest)
        let ahead = select(rest.leading[rest.leading.count - 1], source, [], conditions, rest.looked, limit: 0)
        if let value = try db.row(ahead.sql + " OFFSET ?", ahead.parameters + [.int(Int64(limit))])?[0],
            let shared = try shared(value, of: stretch, by: order)
        {
            parts += [rest.part(-1, value), shared]
            rest = rest.part(1, value)
        }
        return parts + [rest]
    }

    /// The runs with one value, if they are so many that walking is better than sorting them.
    private func shared(_ value: Value, of stretch: RunStretch, by order: SearchOrder) throws -> RunStretch? {
        let operand: SearchClause.Operand
        switch value {
        case .int(let number): operand = .integer(number)
        case .double(let number): operand = .number(number)
        default: operand = .text(value.text ?? "")
        }
        let clause = SearchClause(order.entity, order.key, .equal, operand)
        guard let table = stretch.table else {
            let own = RunSearch.found(by: [clause]).conditions
            guard try holds(.conjunction(RunPlanner.runs, [kept] + own), moreThan: fewMax) else { return nil }
            return RunStretch(leading: stretch.leading, conditions: stretch.conditions + own, clauses: clauses)
        }
        guard let own = RunSearch.served(clause), try holds(.conjunction(SQLFragment("\(table) x"), [own]), moreThan: fewMax) else {
            return nil
        }
        // They may be another experiment's: the first runs tell.
        let next = select(SQLFragment("r.id"), RunPlanner.runs, [], [kept], KeysetOrder(Array(self.order.keys.suffix(2))), limit: ahead)
        guard try count(of: [clause], in: SQLFragment("(\(next.sql)) r", next.parameters)) > 0 else { return nil }
        let type = order.entity == .metric ? "DOUBLE PRECISION" : "TEXT"
        return RunStretch(
            leading: stretch.leading.dropLast() + [SQLFragment("CAST(? AS \(type))", [value])], clauses: clauses + [clause])
    }

    // MARK: Looks at the indexes

    private var ahead: Int { 31 }

    /// Whether a page passes far fewer entries of the table's index, which holds the runs of all experiments, than there are runs to sort. The
    /// next entries tell how many of them are on the page.
    private func isShort(_ stretch: RunStretch) throws -> Bool {
        let (source, conditions) = source(stretch)
        guard try holds(.conjunction(source, conditions), moreThan: ahead) else { return true }
        let next = select(SQLFragment("x.run_id AS id"), source, [], conditions, stretch.looked, limit: ahead)
        let found = try count(
            of: stretch.clauses, in: SQLFragment("(\(next.sql)) n CROSS JOIN tracking_runs r", next.parameters),
            [SQLFragment("r.id = n.id"), kept])
        // None of them means few, not none.
        let passed = (limit + 1) * (ahead + 1) * 2 / max(found * 2, 1)
        return try holds(.conjunction(RunPlanner.runs, [kept]), moreThan: max(fewMax, 2 * passed))
    }

    /// The rows of the index that gives a stretch its order.
    private func source(_ stretch: RunStretch) -> (SQLFragment, [SQLFragment]) {
        guard let table = stretch.table else { return (RunPlanner.runs, [kept] + stretch.conditions) }
        return (SQLFragment("\(table) x"), stretch.conditions)
    }
}

extension SQLFragment {
    /// The rows of a source for which all conditions hold.
    static func conjunction(_ source: SQLFragment, _ conditions: [SQLFragment]) -> SQLFragment {
        let all = conditions.isEmpty ? [SQLFragment("1 = 1")] : conditions
        return SQLFragment(
            "\(source.sql) WHERE \(all.map(\.sql).joined(separator: " AND "))", source.parameters + all.flatMap(\.parameters))
    }
}
