import Contracts
import Storage

/// SQL of the histories of metrics: points, the blocks that sum them up, and each metric's newest value.
enum MetricStore {
    /// A point as it is stored.
    struct Point: Comparable {
        let step: Int64
        let at: Int64
        let value: Double
        let isNaN: Int64

        /// By step, then time, then value: the greatest is the newest.
        static func < (a: Point, b: Point) -> Bool {
            if a.step != b.step { return a.step < b.step }
            if a.at != b.at { return a.at < b.at }
            return a.value != b.value ? a.value < b.value : a.isNaN < b.isNaN
        }

        func metric(_ key: String) -> Metric {
            Metric(key, isNaN != 0 ? .nan : value, at: Timestamp(milliseconds: at), step: step)
        }
    }

    /// A metric that is known: the number of its series, and its newest point.
    private struct Latest {
        let series: Int64
        let point: Point
    }

    /// Steps with the same `step >> blockBits` are one block.
    static let blockBits = 8

    /// What a block says of its points.
    private struct Block {
        let series: Int64
        let number: Int64
        var points = 0
        /// Nil while all are NaN.
        var low: Double?
        var high: Double?

        /// The blocks of points that are sorted.
        static func of(_ points: [Point], _ series: Int64) -> [Block] {
            var out: [Block] = []
            for point in points {
                let number = point.step >> blockBits
                if out.last?.number != number { out.append(Block(series: series, number: number)) }
                let place = out.count - 1
                out[place].points += 1
                guard point.isNaN == 0 else { continue }
                out[place].low = min(out[place].low ?? point.value, point.value)
                out[place].high = max(out[place].high ?? point.value, point.value)
            }
            return out
        }

        var values: [Value] {
            [.int(series), .int(number), .int(Int64(points)), low.map(Value.double) ?? .null, high.map(Value.double) ?? .null]
        }
    }

    /// An INSERT of any number of rows of five values: parts of 64, 32, … 1 rows, so that seven statements serve every number.
    private struct ManyRows {
        private let statements: [String]

        private init(_ table: String, _ conflict: String) {
            statements = (0...6).map { exponent in
                "INSERT INTO \(table) VALUES " + Array(repeating: "(?, ?, ?, ?, ?)", count: 1 << exponent).joined(separator: ", ") + " "
                    + conflict
            }
        }

        static let newPoints = ManyRows("tracking_points (series, step, at_ms, value, is_nan)", "ON CONFLICT DO NOTHING")
        /// Shows the steps of those that were not there before.
        static let points = ManyRows("tracking_points (series, step, at_ms, value, is_nan)", "ON CONFLICT DO NOTHING RETURNING step")
        static let blocks = ManyRows(
            "tracking_point_blocks (series, block, points, low, high)",
            """
            ON CONFLICT (series, block) DO UPDATE SET points = tracking_point_blocks.points + excluded.points,
                low = CASE WHEN tracking_point_blocks.low <= excluded.low THEN tracking_point_blocks.low
                    ELSE coalesce(excluded.low, tracking_point_blocks.low) END,
                high = CASE WHEN tracking_point_blocks.high >= excluded.high THEN tracking_point_blocks.high
                    ELSE coalesce(excluded.high, tracking_point_blocks.high) END
            """)

        func insert(_ tx: Transaction, _ values: [Value], _ returned: (SQLCells) throws -> Void = { _ in }) throws {
            var rest = values[...]
            while !rest.isEmpty {
                let rows = rest.count / 5
                let exponent = min(6, Int.bitWidth - 1 - rows.leadingZeroBitCount)
                try tx.scan(statements[exponent], Array(rest.prefix(5 << exponent)), returned)
                rest = rest.dropFirst(5 << exponent)
            }
        }
    }

    // MARK: Writing

    /// Appends to the histories and, where a point is the newest by step, time and value, makes it the metric's newest value.
    /// A point that is there already changes nothing.
    /// - Parameter updatesNewest: false leaves the newest values of known metrics as they are.
    /// - Returns: how many points were not there before.
    @discardableResult
    static func add(_ tx: Transaction, _ metrics: [Metric], to run: String, updatesNewest: Bool = true) throws -> Int {
        let groups = grouped(metrics)
        let known = try latest(tx, groups.map(\.key), of: run)
        var (fresh, blocks, added): ([Value], [Block], Int) = ([], [], 0)
        fresh.reserveCapacity(5 * metrics.count)
        for (key, points) in groups {
            let newest = points[points.count - 1]
            let old = known[key]
            let series = try old?.series ?? insert(tx, newest, as: key, of: run)
            if let old, updatesNewest, (old.point.step, old.point.at, old.point.value) < (newest.step, newest.at, newest.value) {
                try tx.execute(
                    "UPDATE tracking_latest_metrics SET step = ?, at_ms = ?, value = ?, is_nan = ? WHERE run_id = ? AND key = ?",
                    values(newest) + [.string(run), .string(key)])
            }
            let isAppended = old.map { updatesNewest && $0.point < points[0] } ?? true
            if isAppended, zip(points, points.dropFirst()).allSatisfy({ $0 < $1 }) {
                // Points beyond the newest are all new: they are written together, without asking which were.
                for point in points { fresh += [.int(series)] + values(point) }
                added += points.count
                blocks += Block.of(points, series)
            } else {
                var steps: [Int64: Int] = [:]
                try ManyRows.points.insert(tx, points.flatMap { [.int(series)] + values($0) }) {
                    steps[$0.int(0) >> blockBits, default: 0] += 1
                }
                for var block in Block.of(points, series) {
                    block.points = steps[block.number] ?? 0
                    added += block.points
                    if block.points > 0 { blocks.append(block) }
                }
            }
        }
        try ManyRows.newPoints.insert(tx, fresh)
        try ManyRows.blocks.insert(tx, blocks.flatMap(\.values))
        return added
    }

    /// The points of each metric, ascending.
    private static func grouped(_ metrics: [Metric]) -> [(key: String, points: [Point])] {
        var places: [String: Int] = [:]
        var groups: [(key: String, points: [Point])] = []
        for metric in metrics {
            let (value, isNaN) = RunStore.stored(metric.value)
            let point = Point(step: metric.step, at: metric.at.milliseconds, value: value, isNaN: isNaN)
            if let place = places[metric.key] {
                groups[place].points.append(point)
            } else {
                places[metric.key] = groups.count
                groups.append((metric.key, [point]))
            }
        }
        for place in groups.indices where zip(groups[place].points, groups[place].points.dropFirst()).contains(where: { $1 < $0 }) {
            groups[place].points.sort()
        }
        return groups
    }

    /// Makes these the newest values of all the run's metrics; histories of others go, those of these stay.
    static func replace(_ tx: Transaction, _ newest: [Metric], of run: String) throws {
        let keys = Set(newest.map(\.key))
        for row in try tx.rows("SELECT key, series FROM tracking_latest_metrics WHERE run_id = ?", [.string(run)])
        where !keys.contains(row[0].text ?? "") {
            for table in ["tracking_points", "tracking_point_blocks", "tracking_latest_metrics"] {
                try tx.execute("DELETE FROM \(table) WHERE series = ?", [row[1]])
            }
        }
        for metric in newest {
            let (value, isNaN) = RunStore.stored(metric.value)
            let point = Point(step: metric.step, at: metric.at.milliseconds, value: value, isNaN: isNaN)
            let known = try tx.execute(
                "UPDATE tracking_latest_metrics SET step = ?, at_ms = ?, value = ?, is_nan = ? WHERE run_id = ? AND key = ?",
                values(point) + [.string(run), .string(metric.key)])
            if known == 0 { _ = try insert(tx, point, as: metric.key, of: run) }
        }
    }

    /// Begins a series.
    /// - Returns: its number.
    private static func insert(_ tx: Transaction, _ newest: Point, as key: String, of run: String) throws -> Int64 {
        let series = (try tx.row("SELECT max(series) FROM tracking_latest_metrics")?[0].integer ?? 0) + 1
        try tx.execute(
            "INSERT INTO tracking_latest_metrics (step, at_ms, value, is_nan, run_id, key, series) VALUES (?, ?, ?, ?, ?, ?, ?)",
            values(newest) + [.string(run), .string(key), .int(series)])
        return series
    }

    private static func latest(_ tx: Transaction, _ keys: [String], of run: String) throws -> [String: Latest] {
        var out: [String: Latest] = [:]
        for start in stride(from: 0, to: keys.count, by: 64) {
            let part = keys[start..<min(start + 64, keys.count)].map(Value.string)
            // Filled up to a power of two, so that there are few statements to keep prepared.
            let filled = part + Array(repeating: part[0], count: part.count.nextPowerOfTwo - part.count)
            let rows = try tx.rows(
                """
                SELECT key, series, step, at_ms, value, is_nan FROM tracking_latest_metrics
                WHERE run_id = ? AND key IN (\(SQLFragment.marks(filled.count)))
                """, [.string(run)] + filled)
            for row in rows { out[row[0].text ?? ""] = Latest(series: row[1].integer ?? 0, point: point(row, from: 2)) }
        }
        return out
    }

    /// Removes the points of a run; their newest values stay to be removed after them.
    static func remove(_ tx: Transaction, run: String) throws {
        for table in ["tracking_points", "tracking_point_blocks"] {
            try tx.execute(
                "DELETE FROM \(table) WHERE series IN (SELECT series FROM tracking_latest_metrics WHERE run_id = ?)", [.string(run)])
        }
    }

    private static func values(_ point: Point) -> [Value] { [.int(point.step), .int(point.at), .double(point.value), .int(point.isNaN)] }

    // MARK: Reading

    static func series(_ db: some Querying, run: String, key: String) throws -> Int64? {
        try db.row("SELECT series FROM tracking_latest_metrics WHERE run_id = ? AND key = ?", [.string(run), .string(key)])?[0].integer
    }

    /// How many points were logged to the run.
    static func count(_ db: some Querying, run: String) throws -> Int64 {
        try db.row(
            """
            SELECT CAST(sum(b.points) AS BIGINT) FROM tracking_latest_metrics l JOIN tracking_point_blocks b ON b.series = l.series WHERE l.run_id = ?
            """, [.string(run)])?[0].integer ?? 0
    }

    /// A page of the history, by time, step and value.
    static func history(_ db: some Querying, run: String, key: String, limit: Int, after token: String? = nil) throws -> Page<Metric> {
        guard let series = try series(db, run: run, key: key) else { return Page(items: [], nextToken: nil) }
        let order = KeysetOrder([
            .init("at_ms", ascending: true), .init("step", ascending: true), .init("value", ascending: true),
            .init("is_nan", ascending: true),
        ])
        let question = "history|\(run)|\(key)"
        var conditions = SQLFragment("series = ?", [.int(series)])
        if let token, !token.isEmpty {
            let after = order.after(try order.values(of: token, query: question))
            conditions = SQLFragment(conditions.sql + " AND " + after.sql, conditions.parameters + after.parameters)
        }
        let rows = try db.rows(
            "SELECT \(order.columns.sql) FROM tracking_points WHERE \(conditions.sql) ORDER BY \(order.orderBy.sql) LIMIT ?",
            conditions.parameters + [.int(Int64(limit) + 1)])
        let page = rows.prefix(limit)
        let items = page.map { row in
            Point(step: row[1].integer ?? 0, at: row[0].integer ?? 0, value: row[2].number ?? 0, isNaN: row[3].integer ?? 0).metric(key)
        }
        return Page(items: items, nextToken: rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil)
    }

    /// The point in the columns step, at_ms, value and is_nan from `place` on.
    static func point(_ row: SQLRow, from place: Int = 0) -> Point {
        Point(
            step: row[place].integer ?? 0, at: row[place + 1].integer ?? 0, value: row[place + 2].number ?? 0,
            isNaN: row[place + 3].integer ?? 0)
    }
}

extension Int {
    fileprivate var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
