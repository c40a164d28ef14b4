import Contracts
import Engines

/// The SQL of the batch engine: the same features as the online state, as of many instants at once.
///
/// Questions are rows of keys and instants in a table with the columns `rid` (row number), `t` (µs, BIGINT) and `r0, r1, …` (the service's
/// request columns). For each view, its events and the distinct questions are laid out together in order of time for each key; a feature is then
/// an aggregate over a frame that reaches from the question back to the start of its sawtooth window (`Window.reachSQL`), so that no row
/// after the question can be in it. All of a view's windows share one sort.
struct BatchQuery {
    let service: ResolvedService
    let connection: DuckDBConnection
    /// Prefix of the temporary tables.
    let prefix: String

    /// A time as µs, null outside all instants.
    static func microseconds(_ column: String) -> String {
        let time = "TRY_CAST(\(column) AS TIMESTAMP)"
        let (first, last) = (Timestamp.range.lowerBound, Timestamp.range.upperBound)
        return "CASE WHEN \(time) BETWEEN make_timestamp(\(first)) AND make_timestamp(\(last)) THEN epoch_us(\(time)) END"
    }
    static func quoted(_ name: String) -> String { DuckDBConnection.quoted(name) }

    /// Joins every feature of the service to the questions and returns the SQL of the result: `rid`, `t`, the request columns `r…` and each
    /// needed feature `f…` (by slot).
    func features(questions: String, files: (String) throws(KeelError) -> [String]) throws(KeelError) -> String {
        let requestCount = service.requestFields.count
        var joins = ""
        var selected = ["q.*"]
        for (i, use) in service.uses.enumerated() {
            let table = "\(prefix)_view\(i)"
            try makeView(use, as: table, questions: questions, files: try files(use.view.dataset))
            let keys = use.keySlots.enumerated().map { "v\(i).k\($0.offset) = q.r\($0.element)" }
            joins += " LEFT JOIN \(table) v\(i) ON v\(i).t = q.t AND \(keys.joined(separator: " AND "))"
            for (index, slot) in use.features {
                let absent = use.view.features[index].absent == .null ? "v\(i).x\(index)" : "coalesce(v\(i).x\(index), 0)"
                selected.append("\(absent) AS f\(slot)")
            }
        }
        var sql = "SELECT \(selected.joined(separator: ", ")) FROM \(questions) q\(joins)"
        for computed in service.computed {
            let names = Dictionary(zip(computed.expression.columns, computed.slots)) { a, _ in a }
            let expression = computed.expression.sql { name in
                let slot = names[name] ?? computed.slot
                return slot < requestCount ? "r\(slot)" : "f\(slot)"
            }
            sql = "SELECT *, \(expression) AS f\(computed.slot) FROM (\(sql))"
        }
        return sql
    }

    /// Makes the table of one view: keys `k…`, `t` and the features `x…` for each distinct question.
    private func makeView(_ use: ResolvedService.ViewUse, as table: String, questions: String, files: [String]) throws(KeelError) {
        let keys = use.keySlots.enumerated().map { "r\($0.element) AS k\($0.offset)" }.joined(separator: ", ")
        let known = use.keySlots.map { "r\($0) IS NOT NULL" }.joined(separator: " AND ")
        let keyNames = use.keySlots.indices.map { "k\($0)" }.joined(separator: ", ")
        try connection.execute(
            "CREATE OR REPLACE TEMP TABLE \(table)_keys AS SELECT row_number() OVER () AS kid, * FROM (SELECT DISTINCT \(keys) FROM \(questions) WHERE \(known))"
        )
        try makeEvents(use.view, as: "\(table)_events", keys: "\(table)_keys", questions: questions, files: files)
        let keyed = use.keySlots.enumerated().map { "k.k\($0.offset) = q.r\($0.element)" }.joined(separator: " AND ")
        let nulls = use.view.arguments.indices.map { ", NULL AS a\($0)" }.joined()
        let columns = use.view.arguments.indices.map { ", a\($0)" }.joined()
        let frames = Frames(use)
        let rows = """
            SELECT kid, ts, seq\(columns), false AS asked FROM \(table)_events
            UNION ALL SELECT kid, t, NULL\(nulls), true FROM (SELECT DISTINCT k.kid, q.t FROM \(questions) q JOIN \(table)_keys k ON \(keyed))
            """
        let windowed = "SELECT kid, ts AS t, asked\(frames.columns) FROM (\(rows))\(frames.windows)"
        try connection.execute(
            "CREATE OR REPLACE TEMP TABLE \(table) AS SELECT \(keyNames), w.t\(frames.results) FROM (\(windowed)) w JOIN \(table)_keys USING (kid)"
                + frames.joins(events: "\(table)_events") + " WHERE w.asked")
        try connection.execute("DROP TABLE \(table)_events; DROP TABLE \(table)_keys")
    }

    /// Makes the table of a view's events of the keys that are asked for: `kid`, `ts` (µs), `seq` (the order by time, created time, arrival)
    /// and the value `a…` of each expression.
    private func makeEvents(_ view: DatasetView, as table: String, keys: String, questions: String, files: [String]) throws(KeelError) {
        let rows = ParquetRows(files, view.identity.columns, number: "arrival")
        var columns = ["arrival", "\(BatchQuery.microseconds(rows.column(view.at))) AS ts"]
        columns.append((view.created.map { "coalesce(\(BatchQuery.microseconds(rows.column($0))), 0)" } ?? "0") + " AS created")
        for (i, key) in view.keys.enumerated() { columns.append("\(rows.column(key.column)) AS d\(i)") }
        for (i, argument) in view.arguments.enumerated() { columns.append("\(argument.sql(rows.column)) AS a\(i)") }
        let condition = view.filter.map { " WHERE \($0.sql(rows.column))" } ?? ""
        let join = view.keys.indices.map { "k.k\($0) = e.d\($0)" }.joined(separator: " AND ")
        let values = view.arguments.indices.map { ", a\($0)" }.joined()
        let last = "(SELECT coalesce(max(t), 0) FROM \(questions))"
        let reach = view.hasLatest ? nil : view.series.map { $0.window.length.microseconds + $0.window.hop }.max()
        let first = reach.map { " AND e.ts >= (SELECT coalesce(min(t), 0) FROM \(questions)) - \($0)" } ?? ""
        try connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE \(table) AS
            SELECT k.kid, e.ts, row_number() OVER (ORDER BY e.ts, e.created, e.arrival) AS seq\(values)
            FROM (SELECT \(columns.joined(separator: ", ")) FROM \(rows.sql)\(condition)) e
            JOIN \(keys) k ON \(join) WHERE e.ts <= \(last)\(first)
            """)
    }
}

/// The frames of one view's features and what is read from them.
private struct Frames {
    /// Window expressions, each ` , … AS w<i>`.
    private(set) var columns = ""
    /// The feature values `x<i>` from them.
    private(set) var results = ""
    private(set) var windows = ""
    private var joined: [String] = []
    private let use: ResolvedService.ViewUse

    init(_ use: ResolvedService.ViewUse) {
        self.use = use
        let view = use.view
        var names: [Window: String] = [:]
        var ever = false
        for (index, _) in use.features {
            let feature = view.features[index]
            switch feature.source {
            case .latest(let argument, _):
                ever = true
                columns += ", max(seq) OVER ever AS w\(index)"
                let fresh = view.ttl.map { "CASE WHEN j\(index).ts >= w.t - \($0.microseconds) THEN j\(index).a\(argument) END" }
                results += ", \(fresh ?? "j\(index).a\(argument)") AS x\(index)"
                joined.append("\(index)")
            case .windowed(let aggregate, let series):
                let window = view.series[series].window
                let name = names[window] ?? "o\(names.count)"
                names[window] = name
                add(
                    aggregate, argument: view.series[series].argument, type: view.series[series].argument.map { view.arguments[$0].type },
                    index, name)
            }
        }
        let order = "PARTITION BY kid ORDER BY ts"
        var definitions = names.sorted { $0.value < $1.value }.map { window, name in
            "\(name) AS (\(order) RANGE BETWEEN \(window.reachSQL("ts")) PRECEDING AND CURRENT ROW)"
        }
        if ever { definitions.append("ever AS (\(order) RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)") }
        windows = definitions.isEmpty ? "" : " WINDOW " + definitions.joined(separator: ", ")
    }

    private mutating func add(_ aggregate: Aggregate, argument: Int?, type: DataType?, _ index: Int, _ over: String) {
        let value = argument.map { "a\($0)" } ?? "seq"
        let number = "CAST(\(type == .bool ? "CAST(\(value) AS TINYINT)" : value) AS DOUBLE)"
        let expression: String
        var result = "w\(index)"
        switch aggregate {
        case .count: expression = "count(\(value)) OVER \(over)"
        case .countDistinct: expression = "count(DISTINCT \(type == .float64 ? "\(value) + 0.0" : value)) OVER \(over)"
        case .sum: expression = "sum(\(number)) OVER \(over)"
        case .mean: expression = "avg(\(number)) OVER \(over)"
        case .min: expression = "min(\(number)) OVER \(over)"
        case .max: expression = "max(\(number)) OVER \(over)"
        case .stddev: expression = "stddev_samp(\(number)) OVER \(over)"
        case .last, .first:
            let pick = aggregate == .last ? "max" : "min"
            expression = "\(pick)(CASE WHEN \(value) IS NOT NULL THEN seq END) OVER \(over)"
            result = "j\(index).\(value)"
            joined.append("\(index)")
        }
        let isNumber = [.sum, .mean, .min, .max, .stddev].contains(aggregate)
        columns += ", \(expression) AS w\(index)"
        results += ", \(isNumber ? "CASE WHEN isfinite(\(result)) THEN \(result) END" : result) AS x\(index)"
    }

    /// The rows that `last`, `first` and latest values are read from.
    func joins(events: String) -> String {
        joined.map { " LEFT JOIN \(events) j\($0) ON j\($0).seq = w.w\($0)" }.joined()
    }
}
