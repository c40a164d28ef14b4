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

    // MARK: Writing

    /// Appends to the histories and, where a point is the newest by step, time and value, makes it the metric's newest value.
    /// A point that is there already changes nothing.
    static func add(_ tx: Transaction, _ metrics: [Metric], to run: String) throws {
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
        let known = try latest(tx, groups.map(\.key), of: run)
        var last: Int64?
        for (key, points) in groups {
            let points = points.count > 1 ? points.sorted() : points
            let newest = points[points.count - 1]
            if let old = known[key] {
                try append(tx, points, to: old.series)
                if (old.point.step, old.point.at, old.point.value) < (newest.step, newest.at, newest.value) {
                    try tx.execute(
                        "UPDATE tracking_latest_metrics SET step = ?, at_ms = ?, value = ?, is_nan = ? WHERE run_id = ? AND key = ?",
                        values(newest) + [.string(run), .string(key)])
                }
            } else {
                let highest = try last ?? tx.row("SELECT max(series) FROM tracking_latest_metrics")?[0].integer ?? 0
                last = highest + 1
                try tx.execute(
                    "INSERT INTO tracking_latest_metrics (step, at_ms, value, is_nan, run_id, key, series) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    values(newest) + [.string(run), .string(key), .int(highest + 1)])
                try append(tx, points, to: highest + 1)
            }
        }
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

    /// Appends points that are sorted, block by block.
    private static func append(_ tx: Transaction, _ points: [Point], to series: Int64) throws {
        var start = 0
        while start < points.count {
            let block = points[start].step >> blockBits
            let end = points[start...].firstIndex { $0.step >> blockBits != block } ?? points.count
            let added = try insert(tx, points[start..<end], to: series)
            if added > 0 { try note(tx, points[start..<end], added, of: series, block: block) }
            start = end
        }
    }

    /// - Returns: how many were not there before.
    private static func insert(_ tx: Transaction, _ points: ArraySlice<Point>, to series: Int64) throws -> Int {
        var (rest, added) = (points, 0)
        while !rest.isEmpty {
            // Parts of 1, 2, 4 … 64 rows: seven statements serve every size.
            let exponent = min(6, Int.bitWidth - 1 - rest.count.leadingZeroBitCount)
            let part = rest.prefix(1 << exponent)
            rest = rest.dropFirst(1 << exponent)
            var parameters: [Value] = []
            parameters.reserveCapacity(5 * part.count)
            for point in part {
                parameters.append(.int(series))
                parameters += values(point)
            }
            added += try tx.execute(insertStatements[exponent], parameters)
        }
        return added
    }

    private static let insertStatements = (0...6).map { exponent in
        "INSERT INTO tracking_points (series, step, at_ms, value, is_nan) VALUES "
            + Array(repeating: "(?, ?, ?, ?, ?)", count: 1 << exponent).joined(separator: ", ") + " ON CONFLICT DO NOTHING"
    }

    private static func note(_ tx: Transaction, _ points: ArraySlice<Point>, _ added: Int, of series: Int64, block: Int64) throws {
        var (low, high): (Double?, Double?) = (nil, nil)
        for point in points where point.isNaN == 0 {
            low = min(low ?? point.value, point.value)
            high = max(high ?? point.value, point.value)
        }
        try tx.execute(
            """
            INSERT INTO tracking_point_blocks (series, block, points, low, high) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (series, block) DO UPDATE SET points = tracking_point_blocks.points + excluded.points,
                low = CASE WHEN tracking_point_blocks.low <= excluded.low THEN tracking_point_blocks.low
                    ELSE coalesce(excluded.low, tracking_point_blocks.low) END,
                high = CASE WHEN tracking_point_blocks.high >= excluded.high THEN tracking_point_blocks.high
                    ELSE coalesce(excluded.high, tracking_point_blocks.high) END
            """,
            [.int(series), .int(block), .int(Int64(added)), low.map(Value.double) ?? .null, high.map(Value.double) ?? .null])
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
            SELECT sum(b.points) FROM tracking_latest_metrics l JOIN tracking_point_blocks b ON b.series = l.series WHERE l.run_id = ?
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
