import Contracts
import Storage

/// What to look for among the runs of some experiments.
public struct RunSearch: Sendable {
    public let experimentIDs: [String]
    public let view: ViewType
    /// A run is found when all of them hold.
    public var clauses: [SearchClause] = []
    /// After these the newest start comes first, then the order is that of the ids.
    public var orders: [SearchOrder] = []
    public var pageToken: String?
    let experiments: [Int64]
    let limit: Int

    /// - Throws: `invalidArgument` for too many experiments, one that is no number, or a page of another size than 1 to 50,000.
    public init(
        experimentIDs: [String], view: ViewType = .activeOnly, pageSize: Int? = nil, pageToken: String? = nil
    ) throws(KeelError) {
        guard experimentIDs.count <= TrackingLimits.experimentsPerFilterMax else {
            throw .invalid("at most \(TrackingLimits.experimentsPerFilterMax) experiments can be searched at once")
        }
        limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        experiments = Set(try ExperimentStore.numbers(of: experimentIDs)).sorted()
        self.experimentIDs = experimentIDs
        self.view = view
        self.pageToken = pageToken
    }

    static let times = ["start_time", "end_time"]
    static let columns = [
        "run_id": "r.id", "run_name": "r.name", "user_id": "r.user_id", "status": "r.status", "artifact_uri": "r.artifact_uri",
        "start_time": "r.start_ms", "end_time": "r.end_ms",
    ]

    /// What holds for a run that every clause finds: tables to join after `tracking_runs r`, each with at most one row of a run, and conditions.
    /// - Parameter order: the column whose index gives the order. The database shall not take that of another time for it and sort: a sign
    ///   before a column hides it from its planner.
    static func found(by clauses: [SearchClause], order: String? = nil) -> (joins: [SQLFragment], conditions: [SQLFragment]) {
        var (joins, conditions): ([SQLFragment], [SQLFragment]) = ([], [])
        for (i, clause) in clauses.enumerated() {
            switch (clause.entity, clause.comparator) {
            case (.attribute, _):
                let column = columns[clause.key] ?? "r.id"
                let isHidden = times.contains(clause.key) && order != nil && order != column
                conditions.append(clause.condition(on: isHidden ? "+" + column : column))
            case (.dataset, _):
                let value = clause.condition(on: "x.\(clause.key)")
                conditions.append(
                    SQLFragment("EXISTS (SELECT 1 FROM tracking_inputs x WHERE x.run_id = r.id AND \(value.sql))", value.parameters))
            case (_, .isNull):
                conditions.append(
                    SQLFragment(
                        "NOT EXISTS (SELECT 1 FROM \(table(clause.entity)) x WHERE x.run_id = r.id AND x.key = ?)", [.string(clause.key)]))
            default:
                let own = own(clause, alias: "c\(i)")
                let of = SQLFragment("c\(i).run_id = r.id AND \(own.sql)", own.parameters)
                if joins.count < clausesJoinedMax {
                    joins.append(SQLFragment("CROSS JOIN \(table(clause.entity)) c\(i)"))
                    conditions.append(of)
                } else {
                    conditions.append(SQLFragment("EXISTS (SELECT 1 FROM \(table(clause.entity)) c\(i) WHERE \(of.sql))", of.parameters))
                }
            }
        }
        return (joins, conditions)
    }

    /// SQLite opens the table of an EXISTS again for every run, that of a join once; but it joins no more than 64.
    private static let clausesJoinedMax = 16

    static func table(_ entity: SearchClause.Entity) -> String {
        switch entity {
        case .metric: "tracking_latest_metrics"
        case .parameter: "tracking_params"
        default: "tracking_tags"
        }
    }

    /// The clause as a condition on one row of its table.
    static func own(_ clause: SearchClause, alias x: String) -> SQLFragment {
        guard clause.comparator != .isNotNull else { return SQLFragment("\(x).key = ?", [.string(clause.key)]) }
        var value = clause.condition(on: "\(x).value")
        if clause.entity == .metric {
            // NaN is stored as 0: it is unequal to everything and satisfies nothing else.
            value.sql = clause.comparator == .notEqual ? "(\(x).is_nan = 1 OR \(value.sql))" : "\(x).is_nan = 0 AND \(value.sql)"
        }
        return SQLFragment("\(x).key = ? AND \(value.sql)", [.string(clause.key)] + value.parameters)
    }

    /// The same when an index can find the rows: numbers by their value, texts by their beginning, which is what the index holds.
    static func served(_ clause: SearchClause) -> SQLFragment? {
        switch (clause.entity, clause.comparator, clause.operand) {
        case (.metric, let comparator, _) where comparator != .notEqual: return own(clause, alias: "x")
        case (.parameter, .equal, .text(let text)), (.tag, .equal, .text(let text)):
            // Not `x.value = ?`: SQLite would put that value into substr() too, and then no longer know the index by it.
            return SQLFragment(
                "x.key = ? AND substr(x.value, 1, 200) = substr(?, 1, 200) AND x.value >= ? AND x.value <= ?",
                [.string(clause.key), .string(text), .string(text), .string(text)])
        case (.parameter, .like, .text(let pattern)), (.tag, .like, .text(let pattern)):
            let beginning = String(String.UnicodeScalarView(pattern.unicodeScalars.prefix { $0 != "%" && $0 != "_" }.prefix(200)))
            guard !beginning.isEmpty else { return nil }
            let value = own(clause, alias: "x")
            return SQLFragment(
                "substr(x.value, 1, 200) >= ? AND substr(x.value, 1, 200) < ? AND \(value.sql)",
                [.string(beginning), .string(beginning + "\u{10FFFF}")] + value.parameters)
        default: return nil
        }
    }

    /// Values first, then NaN, then runs without the key, in either direction, as MLflow orders them.
    static func keyset(_ orders: [SearchOrder]) -> (KeysetOrder, [SQLFragment]) {
        var (keys, joins): ([KeysetOrder.Key], [SQLFragment]) = ([], [])
        var seen: Set<String> = []
        for (i, order) in orders.enumerated() {
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
