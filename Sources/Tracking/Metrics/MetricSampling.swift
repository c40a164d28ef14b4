import Contracts
import Storage

/// Few points that stand for a long history, found by way of the blocks: what is read grows with what is asked for, not with the history.
struct MetricSampling<DB: Querying> {
    typealias Point = MetricStore.Point

    /// Points of neighbouring steps.
    private struct Block {
        let steps: ClosedRange<Int64>
        let first: Int
        let count: Int
        let low: Double?
        let high: Double?
    }

    /// A block with more points than this is not skipped through once per point that is sought.
    private let skippedMax = 2048

    private let db: DB
    private let series: Int64
    private let blocks: [Block]
    /// How many points there are.
    let count: Int

    /// - Parameter steps: only points of these steps; all when nil.
    init(_ db: DB, series: Int64, steps: ClosedRange<Int64>? = nil) throws {
        let steps = steps ?? Int64.min...Int64.max
        var blocks: [Block] = []
        var first = 0
        let bits = Int64(MetricStore.blockBits)
        try db.forEach(
            "SELECT block, points, low, high FROM tracking_point_blocks WHERE series = ? AND block >= ? AND block <= ? ORDER BY block",
            [.int(series), .int(steps.lowerBound >> bits), .int(steps.upperBound >> bits)]
        ) { row in
            let start = (row[0].integer ?? 0) << bits
            let whole = start...(start | (1 << bits - 1))
            let own = whole.clamped(to: steps)
            var count = Int(row[1].integer ?? 0)
            if own != whole {
                let counted = try db.row(
                    "SELECT count(*) FROM tracking_points WHERE series = ? AND step >= ? AND step <= ?",
                    [.int(series), .int(own.lowerBound), .int(own.upperBound)])
                count = Int(counted?[0].integer ?? 0)
            }
            guard count > 0 else { return }
            blocks.append(Block(steps: own, first: first, count: count, low: row[2].number, high: row[3].number))
            first += count
        }
        (self.db, self.series, self.blocks, self.count) = (db, series, blocks, first)
    }

    /// The first point of each of `size` parts with equally many points, in the order of steps, and always the last of all.
    func even(_ size: Int) throws -> [Point] {
        guard count > size else { return try all() }
        let (each, larger) = (count / size, count % size)
        var places = (0..<size).map { $0 * each + min($0, larger) }
        places[size - 1] = count - 1
        return try points(at: places)
    }

    /// At most about `size` points with the lowest and the highest of each of `size / 2` parts, and the first and the last of all.
    func outline(_ size: Int) throws -> [Point] {
        guard count > size else { return try all() }
        let parts = max(1, size / 2 - 1)
        guard blocks.count >= parts, blocks.allSatisfy({ $0.count <= skippedMax }) else { return try outlineOfAll(parts) }
        var out = try points(at: [0])
        var part: [Block] = []
        func finish() throws {
            guard let first = part.first else { return }
            let numbered = part.filter { $0.low != nil }
            if let low = numbered.min(by: { ($0.low ?? 0) < ($1.low ?? 0) }),
                let high = numbered.max(by: { ($0.high ?? 0) < ($1.high ?? 0) })
            {
                try out.append(contentsOf: [point(low.low ?? 0, in: low), point(high.high ?? 0, in: high)].compactMap(\.self))
            } else {
                out += try points(at: [first.first])
            }
            part = []
        }
        for block in blocks {
            if let first = part.first, first.first * parts / count != block.first * parts / count { try finish() }
            part.append(block)
        }
        try finish()
        return unique(out + (try points(at: [count - 1])))
    }

    /// The outline when blocks are too few or too large for it: every point passes by once.
    private func outlineOfAll(_ parts: Int) throws -> [Point] {
        var out: [Point] = []
        var (low, high, first): (Point?, Point?, Point?) = (nil, nil, nil)
        var (place, part) = (0, 0)
        func finish() {
            out += [low ?? first, high].compactMap(\.self)
            (low, high, first) = (nil, nil, nil)
        }
        var last: Point?
        try db.forEach(ordered(""), [.int(series)] + bounds) { row in
            let point = MetricStore.point(row)
            if place == 0 { out.append(point) }
            if place * parts / count != part {
                finish()
                part = place * parts / count
            }
            first = first ?? point
            if point.isNaN == 0 {
                if point.value < low?.value ?? .infinity { low = point }
                if point.value > high?.value ?? -.infinity { high = point }
            }
            last = point
            place += 1
        }
        finish()
        return unique(out + [last].compactMap(\.self))
    }

    private func unique(_ points: [Point]) -> [Point] {
        points.sorted().reduce(into: []) { if $0.last != $1 { $0.append($1) } }
    }

    // MARK: Points by their place

    private var bounds: [Value] {
        [.int(blocks.first?.steps.lowerBound ?? 0), .int(blocks.last?.steps.upperBound ?? -1)]
    }

    private func ordered(_ more: String) -> String {
        """
        SELECT step, at_ms, value, is_nan FROM tracking_points WHERE series = ? AND step >= ? AND step <= ?
        ORDER BY step, at_ms, value, is_nan \(more)
        """
    }

    private func all() throws -> [Point] { try db.rows(ordered(""), [.int(series)] + bounds).map { MetricStore.point($0) } }

    private func point(_ value: Double, in block: Block) throws -> Point? {
        let row = try db.row(
            """
            SELECT step, at_ms, value, is_nan FROM tracking_points WHERE series = ? AND step >= ? AND step <= ? AND value = ? AND is_nan = 0
            ORDER BY step, at_ms LIMIT 1
            """, [.int(series), .int(block.steps.lowerBound), .int(block.steps.upperBound), .double(value)])
        return row.map { MetricStore.point($0) }
    }

    /// The points at these places, which ascend.
    private func points(at places: [Int]) throws -> [Point] {
        var out: [Point] = []
        var rest = places[...]
        for block in blocks {
            let own = rest.prefix { $0 < block.first + block.count }
            guard !own.isEmpty else { continue }
            rest = rest.dropFirst(own.count)
            let range: [Value] = [.int(series), .int(block.steps.lowerBound), .int(block.steps.upperBound)]
            let offsets = own.map { Value.int(Int64($0 - block.first)) }
            if own.count == 1 || block.count <= skippedMax {
                for offset in offsets { out += try db.rows(ordered("LIMIT 1 OFFSET ?"), range + [offset]).map { MetricStore.point($0) } }
            } else {
                let rows = try db.rows(
                    """
                    SELECT step, at_ms, value, is_nan FROM (
                        SELECT step, at_ms, value, is_nan, row_number() OVER (ORDER BY step, at_ms, value, is_nan) - 1 AS place
                        FROM tracking_points WHERE series = ? AND step >= ? AND step <= ?) x
                    WHERE place IN (\(SQLFragment.marks(offsets.count))) ORDER BY place
                    """, range + offsets)
                out += rows.map { MetricStore.point($0) }
            }
        }
        return out
    }
}
