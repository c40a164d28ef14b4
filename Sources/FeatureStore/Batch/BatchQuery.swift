import Contracts
import Engines

/// The SQL of the batch engine: the same features as the online state, as of many instants at once.
///
/// Questions are rows of keys and instants in a table with the columns `rid` (row number), `t` (µs, BIGINT: rows that happened later do not count), `k` (µs,
/// BIGINT: rows that became known later do not count) and `r0, r1, …` (the service's request columns). For each view, its events and the distinct questions
/// are laid out together in order of time for each key; a feature is then an aggregate over a frame that reaches from the question back to the start of
/// its sawtooth window (`Window.reachSQL`), so that no row after the question can be in it. All of a view's windows share one sort.
///
/// A question that has a row in its windows which was not known by `k` is answered apart from the others, from the rows of its windows one by
/// one (`LateQuestions`). Without such questions it costs nothing.
struct BatchQuery {
    let service: ResolvedService
    let connection: DuckDBConnection
    /// Prefix of the temporary tables.
    let prefix: String
    /// What `k` is compared with.
    let time: KnownTime

    /// A time as µs, null outside all instants.
    static func microseconds(_ column: String) -> String {
        let time = "TRY_CAST(\(column) AS TIMESTAMP)"
        let (first, last) = (Timestamp.range.lowerBound, Timestamp.range.upperBound)
        return "CASE WHEN \(time) BETWEEN make_timestamp(\(first)) AND make_timestamp(\(last)) THEN epoch_us(\(time)) END"
    }
    static func quoted(_ name: String) -> String { DuckDBConnection.quoted(name) }

    /// Joins every feature of the service to the questions and returns the SQL of the result: `rid`, `t`, the request columns `r…` and each
    /// needed feature `f…` (by slot).
    func features(questions: String, source: (String) throws(KeelError) -> SourceRows) throws(KeelError) -> String {
        let requestCount = service.requestFields.count
        var joins = ""
        var selected = ["q.*"]
        for (i, use) in service.uses.enumerated() {
            let table = "\(prefix)_view\(i)"
            try makeView(use, as: table, questions: questions, source: try source(use.view.dataset))
            let keys = use.keySlots.enumerated().map { "v\(i).k\($0.offset) = q.r\($0.element)" }
            joins += " LEFT JOIN \(table) v\(i) ON v\(i).t = q.t AND v\(i).k = q.k AND \(keys.joined(separator: " AND "))"
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

    /// Makes the table of one view: keys `k…`, `t`, `k` and the features `x…` for each distinct question.
    private func makeView(_ use: ResolvedService.ViewUse, as table: String, questions: String, source: SourceRows) throws(KeelError) {
        let keys = use.keySlots.enumerated().map { "r\($0.element) AS k\($0.offset)" }.joined(separator: ", ")
        let known = use.keySlots.map { "r\($0) IS NOT NULL" }.joined(separator: " AND ")
        let keyNames = use.keySlots.indices.map { "k\($0)" }.joined(separator: ", ")
        try connection.execute(
            "CREATE OR REPLACE TEMP TABLE \(table)_keys AS SELECT row_number() OVER () AS kid, * FROM (SELECT DISTINCT \(keys) FROM \(questions) WHERE \(known))"
        )
        try makeEvents(use.view, as: "\(table)_events", keys: "\(table)_keys", questions: questions, source: source)
        let isLate = try hasLateRows(of: "\(table)_events", questions)
        let keyed = use.keySlots.enumerated().map { "k.k\($0.offset) = q.r\($0.element)" }.joined(separator: " AND ")
        let nulls = use.view.arguments.indices.map { ", NULL AS a\($0)" }.joined()
        let columns = use.view.arguments.indices.map { ", a\($0)" }.joined()
        let frames = Frames(use)
        let rows = """
            SELECT kid, ts, n, CAST(NULL AS BIGINT) AS k, seq\(columns), false AS asked FROM \(table)_events
            UNION ALL SELECT kid, t, NULL, k, NULL\(nulls), true
            FROM (SELECT DISTINCT k.kid, q.t, q.k FROM \(questions) q JOIN \(table)_keys k ON \(keyed))
            """
        // When the last and the first of the rows in the widest frame became known.
        let late = isLate ? ", max(n) OVER \(frames.widest) AS latest, min(n) OVER \(frames.widest) AS earliest" : ""
        let windowed = "SELECT kid, ts AS t, k, asked\(late)\(frames.columns) FROM (\(rows))\(frames.windows)"
        func results(_ marks: String, _ source: String) -> String {
            "SELECT kid, \(keyNames), w.t, w.k\(marks)\(frames.results) FROM (\(source)) w JOIN \(table)_keys USING (kid)"
                + frames.joins(events: "\(table)_events")
        }
        let marks = isLate ? ", w.latest > w.k AS late, w.earliest" : ""
        try connection.execute("CREATE OR REPLACE TEMP TABLE \(table) AS \(results(marks, windowed)) WHERE w.asked")
        if isLate {
            let questions = LateQuestions(frames: frames, view: table, connection: connection)
            for part in try questions.parts() {
                try connection.execute("INSERT INTO \(table) \(results(", false, w.earliest", questions.answers(part)))")
            }
            try connection.execute("DELETE FROM \(table) WHERE late")
            for suffix in LateQuestions.suffixes { try connection.execute("DROP TABLE IF EXISTS \(table)\(suffix)") }
        }
        try connection.execute("DROP TABLE \(table)_events; DROP TABLE \(table)_keys")
    }

    /// Whether a question may lack a row that had happened by its time: one that became known after it happened, or, for questions that are asked ahead of
    /// what is known, any.
    private func hasLateRows(of events: String, _ questions: String) throws(KeelError) -> Bool {
        let found = try connection.query(
            """
            SELECT EXISTS (SELECT 1 FROM \(events) WHERE n > ts OR n > (SELECT min(k) FROM \(questions) WHERE k < t)) AS late
            """)
        return found.columns[0][0] == .bool(true)
    }

    /// When a row became known, in µs, as SQL; null when it was when it happened.
    private func knownSQL(_ source: SourceRows, _ rows: ParquetRows, _ part: SourceRows.Part?) -> String {
        var times: [String] = []
        switch time {
        case .known: times = [source.knownAt, source.accepted].compactMap { $0 }.map { BatchQuery.microseconds(rows.column($0)) }
        case .accepted:
            if let accepted = source.accepted { times.append(BatchQuery.microseconds(rows.column(accepted))) }
            times.append("\(part?.acceptedAt?.microseconds ?? Timestamp.range.lowerBound)")
        }
        return times.isEmpty ? "NULL" : "coalesce(\(times.joined(separator: ", ")))"
    }

    /// Makes the table of a view's events of the keys that are asked for: `kid`, `ts` (µs), `n` (when it became known, µs), `seq` (the order by key, time,
    /// created time, arrival) and the value `a…` of each expression.
    private func makeEvents(_ view: DatasetView, as table: String, keys: String, questions: String, source: SourceRows) throws(KeelError) {
        let fields = source.fields(of: view)
        // A row says itself when it became known; when it was accepted may be known of its file alone.
        let parts = time == .known || source.parts.isEmpty ? [SourceRows.Part(files: source.files)] : source.parts
        var selects: [String] = []
        for (position, part) in parts.enumerated() {
            let rows = ParquetRows(part.files, fields, number: "arrival")
            var columns = ["\(position) AS part", "arrival", "\(BatchQuery.microseconds(rows.column(view.at))) AS ts"]
            columns.append("\(knownSQL(source, rows, part)) AS known")
            columns.append((view.created.map { "coalesce(\(BatchQuery.microseconds(rows.column($0))), 0)" } ?? "0") + " AS created")
            for (i, key) in view.keys.enumerated() { columns.append("\(rows.column(key.column)) AS d\(i)") }
            for (i, argument) in view.arguments.enumerated() { columns.append("\(argument.sql(rows.column)) AS a\(i)") }
            let condition = view.filter.map { " WHERE \($0.sql(rows.column))" } ?? ""
            selects.append("SELECT \(columns.joined(separator: ", ")) FROM \(rows.sql)\(condition)")
        }
        let join = view.keys.indices.map { "k.k\($0) = e.d\($0)" }.joined(separator: " AND ")
        let values = view.arguments.indices.map { ", a\($0)" }.joined()
        let last = "(SELECT coalesce(max(t), 0) FROM \(questions))"
        let reach = view.hasLatest ? nil : view.series.map { $0.window.length.microseconds + $0.window.hop }.max()
        let first = reach.map { " AND e.ts >= (SELECT coalesce(min(t), 0) FROM \(questions)) - \($0)" } ?? ""
        try connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE \(table) AS
            SELECT k.kid, e.ts, coalesce(e.known, e.ts) AS n, row_number() OVER (ORDER BY k.kid, e.ts, e.created, e.part, e.arrival) AS seq\(values)
            FROM (\(selects.joined(separator: " UNION ALL "))) e
            JOIN \(keys) k ON \(join) WHERE e.ts <= \(last)\(first)
            """)
    }
}

/// Answers the questions that have a row in their windows which was not known by then. Events of a key have numbers (`seq`) in order of time, so a window
/// is a range of numbers; its rows are looked up and those that were not known are left out. For the latest row that was known, they are looked up in
/// steps backwards from the question: it is nearly always among the first, whatever one row took.
struct LateQuestions {
    let frames: Frames
    /// The table of the view, in which such questions are marked `late`. `<view>_events` has the rows.
    let view: String
    let connection: DuckDBConnection

    /// How many rows are looked up at once, which bounds the memory.
    private static let rowsMax = 8_000_000
    /// How many rows before a question the first step looks up, and by how much each further step is longer.
    private static let firstStep = 64
    private static let stepGrowth = 8
    /// Of the tables that it makes beside the view's.
    static let suffixes = ["_late", "_bounds", "_open", "_ever"]

    /// Makes the table of the questions with their windows' ranges, in parts that are to be answered one after another; none when there are no such
    /// questions.
    func parts() throws(KeelError) -> [Int] {
        try connection.execute(
            "CREATE OR REPLACE TEMP TABLE \(view)_late AS SELECT row_number() OVER () AS qid, kid, t, k, earliest FROM \(view) WHERE late")
        let count = try connection.query("SELECT count(*) AS n FROM \(view)_late")
        guard count.columns[0][0].number ?? 0 > 0 else { return [] }
        let rows = """
            SELECT kid, ts, seq, CAST(NULL AS BIGINT) AS qid, CAST(NULL AS BIGINT) AS k, CAST(NULL AS BIGINT) AS earliest
            FROM \(view)_events WHERE kid IN (SELECT kid FROM \(view)_late)
            UNION ALL SELECT kid, t, NULL, qid, k, earliest FROM \(view)_late
            """
        let all = frames.names + (frames.hasEver ? ["ever"] : [])
        let bounds = all.map { ", min(seq) OVER \($0) AS \($0)_first, max(seq) OVER \($0) AS \($0)_last" }.joined()
        let sizes = frames.names.map { "coalesce(\($0)_last - \($0)_first + 1, 0)" }.joined(separator: " + ")
        // Where nothing was known there is nothing to look up.
        let size = sizes.isEmpty ? "0" : "CASE WHEN earliest <= k THEN \(sizes) ELSE 0 END"
        try connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE \(view)_bounds AS
            SELECT *, CAST(sum(\(size)) OVER (ORDER BY qid) // \(LateQuestions.rowsMax) AS BIGINT) AS part
            FROM (SELECT * EXCLUDE (seq, ts), ts AS t\(bounds) FROM (\(rows))\(frames.windows)) WHERE qid IS NOT NULL
            """)
        if frames.hasEver { try findLatest() }
        let found = try connection.query("SELECT DISTINCT part FROM \(view)_bounds ORDER BY part")
        return (0..<found.rowCount).compactMap { found.columns[0][$0].number.map { Int(saturating: $0) } }
    }

    /// Makes the table of the latest row that each question's key had and that was known: `qid` and `seq`.
    private func findLatest() throws(KeelError) {
        let open = "\(view)_open"
        let found = "\(view)_ever"
        try connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE \(open) AS SELECT qid, k, ever_first AS first, ever_last AS last FROM \(view)_bounds WHERE earliest <= k;
            CREATE OR REPLACE TEMP TABLE \(found) (qid BIGINT, seq BIGINT)
            """)
        var step = LateQuestions.firstStep
        while true {
            let left = try connection.query("SELECT count(*) AS n FROM \(open)")
            let count = Int(saturating: left.columns[0][0].number ?? 0)
            guard count > 0 else { return }
            let parts = (count * step + LateQuestions.rowsMax - 1) / LateQuestions.rowsMax
            for part in 0..<parts {
                try connection.execute(
                    """
                    INSERT INTO \(found) SELECT qid, max(seq)
                    FROM (SELECT qid, k, unnest(range(greatest(first, last - \(step - 1)), last + 1)) AS seq FROM \(open) WHERE qid % \(parts) = \(part)) p
                    JOIN \(view)_events e USING (seq) WHERE e.n <= p.k GROUP BY qid
                    """)
            }
            try connection.execute(
                """
                CREATE OR REPLACE TEMP TABLE \(open) AS SELECT qid, k, first, last - \(step) AS last FROM \(open)
                WHERE last - \(step) >= first AND qid NOT IN (SELECT qid FROM \(found))
                """)
            step = min(step * LateQuestions.stepGrowth, LateQuestions.rowsMax)
        }
    }

    /// The questions of a part with what their frames give, as the view's other questions have it.
    func answers(_ part: Int) -> String {
        var joins = ""
        if frames.hasEver {
            let values = frames.values.filter { $0.frame == "ever" }.map { ", seq AS w\($0.index)" }.joined()
            joins += " LEFT JOIN (SELECT qid\(values) FROM \(view)_ever) ever USING (qid)"
        }
        for name in frames.names {
            let values = frames.values.filter { $0.frame == name }.map { ", \($0.sql) AS w\($0.index)" }.joined()
            let range = """
                SELECT qid, k, unnest(range(\(name)_first, \(name)_last + 1)) AS seq FROM \(view)_bounds
                WHERE part = \(part) AND earliest <= k AND \(name)_first IS NOT NULL
                """
            joins += """
                 LEFT JOIN (SELECT qid\(values) FROM (\(range)) p JOIN \(view)_events e USING (seq) WHERE e.n <= p.k GROUP BY qid) \(name) USING (qid)
                """
        }
        let questions = "SELECT qid, kid, t, k, earliest FROM \(view)_bounds WHERE part = \(part)"
        return "SELECT l.*\(frames.values.map { ", w\($0.index)" }.joined()) FROM (\(questions)) l\(joins)"
    }
}

/// The frames of one view's features and what is read from them.
struct Frames {
    /// An aggregate over the rows of a frame: `w<index>`.
    struct FrameValue {
        let index: Int
        let sql: String
        let frame: String
    }

    private(set) var values: [FrameValue] = []
    /// The feature values `x<i>` from them.
    private(set) var results = ""
    private(set) var windows = ""
    /// Of the windows' frames.
    private(set) var names: [String] = []
    /// Whether there is a frame `ever` too: everything up to the question.
    private(set) var hasEver = false
    /// The frame that holds all others.
    private(set) var widest = "ever"
    private var joined: [String] = []
    private let use: ResolvedService.ViewUse

    init(_ use: ResolvedService.ViewUse) {
        self.use = use
        let view = use.view
        var frames: [Window: String] = [:]
        for (index, _) in use.features {
            let feature = view.features[index]
            switch feature.source {
            case .latest(let argument, _):
                hasEver = true
                values.append(FrameValue(index: index, sql: "max(seq)", frame: "ever"))
                let fresh = view.ttl.map { "CASE WHEN j\(index).ts >= w.t - \($0.microseconds) THEN j\(index).a\(argument) END" }
                results += ", \(fresh ?? "j\(index).a\(argument)") AS x\(index)"
                joined.append("\(index)")
            case .windowed(let aggregate, let series):
                let window = view.series[series].window
                let name = frames[window] ?? "o\(frames.count)"
                frames[window] = name
                add(
                    aggregate, argument: view.series[series].argument, type: view.series[series].argument.map { view.arguments[$0].type },
                    index, name)
            }
        }
        let order = "PARTITION BY kid ORDER BY ts"
        let sorted = frames.sorted { $0.value < $1.value }
        names = sorted.map(\.value)
        var definitions = sorted.map { window, name in
            "\(name) AS (\(order) RANGE BETWEEN \(window.reachSQL("ts")) PRECEDING AND CURRENT ROW)"
        }
        if hasEver {
            definitions.append("ever AS (\(order) RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)")
        } else {
            // Of two windows that move by different hops, the longer may begin later.
            let reaches = sorted.map { $0.key.reachSQL("ts") }.joined(separator: ", ")
            definitions.append("widest AS (\(order) RANGE BETWEEN greatest(\(reaches)) PRECEDING AND CURRENT ROW)")
            widest = "widest"
        }
        windows = " WINDOW " + definitions.joined(separator: ", ")
    }

    /// Window expressions, each ` , … AS w<i>`.
    var columns: String { values.map { ", \($0.sql) OVER \($0.frame) AS w\($0.index)" }.joined() }

    private mutating func add(_ aggregate: Aggregate, argument: Int?, type: DataType?, _ index: Int, _ over: String) {
        let value = argument.map { "a\($0)" } ?? "seq"
        let number = "CAST(\(type == .bool ? "CAST(\(value) AS TINYINT)" : value) AS DOUBLE)"
        let expression: String
        var result = "w\(index)"
        switch aggregate {
        case .count: expression = "count(\(value))"
        case .countDistinct: expression = "count(DISTINCT \(type == .float64 ? "\(value) + 0.0" : value))"
        case .sum: expression = "sum(\(number))"
        case .mean: expression = "avg(\(number))"
        case .min: expression = "min(\(number))"
        case .max: expression = "max(\(number))"
        case .stddev: expression = "stddev_samp(\(number))"
        case .last, .first:
            let pick = aggregate == .last ? "max" : "min"
            expression = "\(pick)(CASE WHEN \(value) IS NOT NULL THEN seq END)"
            result = "j\(index).\(value)"
            joined.append("\(index)")
        }
        let isNumber = [.sum, .mean, .min, .max, .stddev].contains(aggregate)
        values.append(FrameValue(index: index, sql: expression, frame: over))
        results += ", \(isNumber ? "CASE WHEN isfinite(\(result)) THEN \(result) END" : result) AS x\(index)"
    }

    /// The rows that `last`, `first` and latest values are read from.
    func joins(events: String) -> String {
        joined.map { " LEFT JOIN \(events) j\($0) ON j\($0).seq = w.w\($0)" }.joined()
    }
}
