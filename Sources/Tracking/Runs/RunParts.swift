import Contracts
import Storage

/// The runs that are searched, and their parts: those of one experiment and lifecycle, which an index has in order.
extension RunPlanner {
    /// The columns that come first in an index of each part of the runs, and those of them that are numbers.
    private static var indexed: [String] { numbers + ["r.name"] }
    private static var numbers: [String] { ["r.start_ms", "r.end_ms"] }

    /// Whether there are several parts, and an index gives this order of each.
    func isMerged(by order: KeysetOrder) -> Bool {
        parts.count > 1 && RunPlanner.indexed.contains(order.keys.first?.expression.sql ?? "")
    }

    /// The runs that are searched.
    var kept: SQLFragment { RunPlanner.among(experiments, view.lifecycles) }

    /// The same in parts, in each of which an index gives the order.
    var parts: [SQLFragment] {
        experiments.flatMap { experiment in view.lifecycles.map { RunPlanner.among([experiment], [$0]) } }
    }

    private static func among(_ experiments: [Int64], _ lifecycles: [Lifecycle]) -> SQLFragment {
        // One value is an equality: the order of its index is then the order of the answer.
        func among(_ count: Int) -> String { count == 1 ? "= ?" : "IN (\(SQLFragment.marks(count)))" }
        return SQLFragment(
            "r.experiment_id \(among(experiments.count)) AND r.lifecycle \(among(lifecycles.count))",
            experiments.map(Value.int) + lifecycles.map { .string($0.rawValue) })
    }

    /// A page of each part in the order of its index.
    func together(
        _ parts: ArraySlice<SQLFragment>, _ columns: SQLFragment, _ joins: [SQLFragment], _ conditions: [SQLFragment], _ order: KeysetOrder
    ) -> SQLFragment {
        let pages = parts.map { select(columns, RunPlanner.runs, joins, [$0] + conditions, order) }
        return SQLFragment(pages.map { "SELECT p.* FROM (\($0.sql)) p" }.joined(separator: " UNION ALL "), pages.flatMap(\.parameters))
    }

    /// How far the page reaches: a bound on the order's first key. Some parts after others are walked, none further than those before reached.
    func reach(_ joins: [SQLFragment], _ conditions: [SQLFragment], _ order: KeysetOrder) throws -> [SQLFragment] {
        var page: [Int64] = []
        var bound: [SQLFragment] = []
        guard let key = order.keys.first, RunPlanner.numbers.contains(key.expression.sql) else { return bound }
        let parts = parts
        for start in stride(from: 0, to: parts.count, by: walkedTogetherMax) {
            let merged = together(
                parts[start..<min(start + walkedTogetherMax, parts.count)], SQLFragment("\(key.expression.sql) AS k"), joins,
                conditions + bound, order)
            try db.scan(
                "SELECT x.k FROM (\(merged.sql)) x ORDER BY x.k \(key.ascending ? "" : "DESC") LIMIT ?",
                merged.parameters + [.int(Int64(limit) + 1)]
            ) { page.append($0.int(0)) }
            page.sort(by: key.ascending ? { $0 < $1 } : { $0 > $1 })
            page = Array(page.prefix(limit + 1))
            if page.count > limit { bound = [SQLFragment("\(key.expression.sql) \(key.ascending ? "<=" : ">=") ?", [.int(page[limit])])] }
        }
        return bound
    }
}
