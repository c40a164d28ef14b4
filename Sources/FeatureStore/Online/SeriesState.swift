import Contracts

/// One window of one expression for one key: its tiles that hold anything, in order, and the sum over the full ones.
struct SeriesState {
    /// Tiles kept beyond the window's reach from the newest, so that a read a little in the past is still exact.
    static let slack: Int64 = 3
    private static let noTile = Int64.min
    /// More values than this no tile ever had.
    private static let countMax: UInt64 = 1 << 48

    /// Tiles of `stride` words; those before `start` are gone.
    private var words: [UInt64] = []
    private var start = 0
    /// Distinct values of each tile, parallel to the tiles.
    private var bags: [Set<UInt64>] = []
    /// The sum over the full tiles of a window whose head tile is `cachedHead`.
    private var cached: [UInt64] = []
    private var cachedBag: Set<UInt64> = []
    private var cachedHead = SeriesState.noTile
    /// Tiles below this are not kept.
    private(set) var floor = SeriesState.noTile

    @inline(__always) private func tile(_ i: Int, _ stride: Int) -> Int64 { Int64(bitPattern: words[i * stride + PartialLayout.tile]) }

    /// Adds a value at `at`; one older than every window that may still be asked for is dropped.
    @inline(__always) mutating func add(_ layout: PartialLayout, _ window: Window, at: Int64, created: Int64, word: UInt64) {
        let tile = window.tile(at)
        guard tile >= floor else { return }
        let i = position(of: tile, layout, window)
        words.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let p = base + i * layout.stride
            layout.add(p, at: at, created: created, word: word)
            if at > Int64(bitPattern: p[PartialLayout.latest]) { p[PartialLayout.latest] = UInt64(bitPattern: at) }
        }
        if layout.distinct { bags[i].insert(word) }
        // A late value changes full tiles: the sum over them is made anew at the next read, in the order of the tiles.
        if tile < cachedHead { cachedHead = SeriesState.noTile }
    }

    /// The position of a tile, made if it is not there.
    @inline(__always) private mutating func position(of wanted: Int64, _ layout: PartialLayout, _ window: Window) -> Int {
        let stride = layout.stride
        var i = words.count / stride
        while i > start, tile(i - 1, stride) > wanted { i -= 1 }
        if i > start, tile(i - 1, stride) == wanted { return i - 1 }
        let newest = i == words.count / stride
        words.insert(contentsOf: repeatElement(0, count: stride), at: i * stride)
        words.withUnsafeMutableBufferPointer { if let base = $0.baseAddress { layout.clear(base + i * stride, tile: wanted) } }
        if layout.distinct { bags.insert([], at: i) }
        guard newest else { return i }
        floor = max(floor, wanted - window.tiles - SeriesState.slack)
        // Tiles that go must not live on in the sum: what is read depends on the rows alone.
        if cachedHead < floor + window.tiles { cachedHead = SeriesState.noTile }
        while tile(start, stride) < floor { start += 1 }
        guard start >= 16 else { return i }
        words.removeFirst(start * stride)
        if layout.distinct { bags.removeFirst(start) }
        defer { start = 0 }
        return i - start
    }

    /// Sums the window as of `t` into `out` and returns how many distinct values it holds.
    ///
    /// - Parameter recent: the key's latest events, asked when the head tile holds some after `t`.
    /// - Returns: `exact` is false when something that the window covers is no longer kept, because `t` lies too far before the newest event.
    mutating func read(
        _ layout: PartialLayout, _ window: Window, argument: Int?, asOf t: Int64, recent: RecentEvents, into out: PartialLayout.Words
    ) -> (distinct: Int, exact: Bool) {
        let head = window.tile(t)
        if cachedHead != head { fillCache(layout, from: head - window.tiles, to: head) }
        cached.withUnsafeBufferPointer { if let base = $0.baseAddress { out.update(from: base, count: layout.stride) } }
        var distinct = cachedBag.count
        var exact = floor == SeriesState.noTile || head - window.tiles >= floor
        let stride = layout.stride
        var i = words.count / stride
        while i > start, tile(i - 1, stride) > head { i -= 1 }
        guard i > start, tile(i - 1, stride) == head else { return (distinct, exact) }
        let latest = Int64(bitPattern: words[(i - 1) * stride + PartialLayout.latest])
        if latest <= t {
            words.withUnsafeMutableBufferPointer { if let base = $0.baseAddress { layout.merge(out, base + (i - 1) * stride) } }
            if layout.distinct { for word in bags[i - 1] where !cachedBag.contains(word) { distinct += 1 } }
            return (distinct, exact)
        }
        let start = head * window.hop
        if recent.floor >= start { exact = false }
        var more: Set<UInt64> = []
        recent.forEach(from: start, to: t, argument: argument) { at, created, word in
            layout.add(out, at: at, created: created, word: word)
            if layout.distinct, !cachedBag.contains(word) { more.insert(word) }
        }
        return (distinct + more.count, exact)
    }

    private mutating func fillCache(_ layout: PartialLayout, from first: Int64, to head: Int64) {
        let stride = layout.stride
        if cached.isEmpty { cached = Array(repeating: 0, count: stride) }
        cachedBag.removeAll(keepingCapacity: true)
        cached.withUnsafeMutableBufferPointer { sum in
            guard let sum = sum.baseAddress else { return }
            layout.clear(sum, tile: head)
            words.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                for i in start..<buffer.count / stride {
                    let p = base + i * stride
                    let tile = Int64(bitPattern: p[PartialLayout.tile])
                    guard tile >= first else { continue }
                    guard tile < head else { break }
                    layout.merge(sum, p)
                    if layout.distinct { cachedBag.formUnion(bags[i]) }
                }
            }
        }
        cachedHead = head
    }
}

extension SeriesState {
    /// Writes what is kept; the sum is made anew.
    func encode(_ layout: PartialLayout, to out: inout StateWriter) {
        out.put(floor)
        out.put(words[(start * layout.stride)...])
        guard layout.distinct else { return }
        for bag in bags[start...] { out.put(Array(bag)[...]) }
    }

    init(_ reader: inout StateReader, _ layout: PartialLayout) throws(KeelError) {
        floor = try reader.integer()
        words = try reader.words()
        let stride = layout.stride
        guard words.count % stride == 0 else { throw StateReader.damaged }
        var last = SeriesState.noTile
        for i in 0..<words.count / stride {
            guard tile(i, stride) > last, words[i * stride + PartialLayout.n] <= SeriesState.countMax else { throw StateReader.damaged }
            last = tile(i, stride)
        }
        guard layout.distinct else { return }
        for _ in 0..<words.count / stride { bags.append(Set(try reader.words())) }
    }
}

/// The latest events of a key, by time, created time and arrival: what makes a read between them exact.
struct RecentEvents {
    /// How many events are kept for a key.
    static let countMax = 256

    /// Events of `3 + arguments` words: time, created time, a bit for each argument that has a value, the values.
    private var words: [UInt64] = []
    private var start = 0
    private let stride: Int
    /// Events at or before this may be missing.
    private(set) var floor = Int64.min

    init(arguments: Int) { stride = 3 + arguments }

    private func at(_ i: Int) -> Int64 { Int64(bitPattern: words[i * stride]) }
    private func created(_ i: Int) -> Int64 { Int64(bitPattern: words[i * stride + 1]) }

    /// - Parameter reach: events that are more than this older than the newest are let go, µs.
    @inline(__always) mutating func add(at: Int64, created: Int64, mask: UInt64, values: [UInt64], reach: Int64) {
        guard at > floor else { return }
        var i = words.count / stride
        while i > start, (self.at(i - 1), self.created(i - 1)) > (at, created) { i -= 1 }
        if i * stride == words.count {
            words.append(UInt64(bitPattern: at))
            words.append(UInt64(bitPattern: created))
            words.append(mask)
            words.append(contentsOf: values)
        } else {
            words.insert(contentsOf: [UInt64(bitPattern: at), UInt64(bitPattern: created), mask] + values, at: i * stride)
        }
        let count = words.count / stride
        let oldest = self.at(count - 1) - reach
        while start < count - 1, count - start > RecentEvents.countMax || self.at(start) < oldest {
            floor = Swift.max(floor, self.at(start))
            start += 1
        }
        if start >= 64 {
            words.removeFirst(start * stride)
            start = 0
        }
    }

    /// Events in `from...to` (µs) in which the argument has a value (nil: all), in order.
    func forEach(from: Int64, to: Int64, argument: Int?, _ body: (_ at: Int64, _ created: Int64, _ word: UInt64) -> Void) {
        var low = start
        var high = words.count / stride
        while low < high {
            let middle = (low + high) / 2
            if at(middle) < from { low = middle + 1 } else { high = middle }
        }
        while low < words.count / stride, at(low) <= to {
            if let argument {
                if words[low * stride + 2] >> UInt64(argument) & 1 == 1 { body(at(low), created(low), words[low * stride + 3 + argument]) }
            } else {
                body(at(low), created(low), 0)
            }
            low += 1
        }
    }
}

extension RecentEvents {
    func encode(to out: inout StateWriter) {
        out.put(floor)
        out.put(words[(start * stride)...])
    }

    init(_ reader: inout StateReader, arguments: Int) throws(KeelError) {
        self.init(arguments: arguments)
        floor = try reader.integer()
        words = try reader.words()
        guard words.count % stride == 0 else { throw StateReader.damaged }
        for i in 0..<words.count / stride {
            guard Timestamp.range.contains(at(i)), i == 0 || at(i - 1) <= at(i) else { throw StateReader.damaged }
        }
    }
}

/// The latest rows of a key, by time, created time and arrival.
struct LatestRows {
    /// How many rows are kept for a key: a read a little in the past still finds the row of its time.
    static let countMax = 16

    private var rows: [(at: Int64, created: Int64, values: [Value])] = []
    private var dropped = false

    mutating func add(at: Int64, created: Int64, values: [Value]) {
        var i = rows.count
        while i > 0, (rows[i - 1].at, rows[i - 1].created) > (at, created) { i -= 1 }
        rows.insert((at, created, values), at: i)
        if rows.count > LatestRows.countMax {
            rows.removeFirst()
            dropped = true
        }
    }

    /// The row as of `t`, unless it is older than the ttl.
    func read(asOf t: Int64, ttl: TimeSpan?) -> (values: [Value]?, exact: Bool) {
        var i = rows.count
        while i > 0, rows[i - 1].at > t { i -= 1 }
        guard i > 0 else { return (nil, !dropped) }
        if let ttl, rows[i - 1].at < saturatingDifference(t, ttl.microseconds) { return (nil, true) }
        return (rows[i - 1].values, true)
    }
}

extension LatestRows {
    func encode(to out: inout StateWriter) {
        out.put(UInt8(dropped ? 1 : 0))
        out.put(UInt32(rows.count))
        for row in rows {
            out.put(row.at)
            out.put(row.created)
            for value in row.values { out.put(value) }
        }
    }

    init(_ reader: inout StateReader, valueCount: Int) throws(KeelError) {
        dropped = try reader.integer(UInt8.self) != 0
        let count = try reader.count()
        guard count <= LatestRows.countMax, valueCount > 0 || count == 0 else { throw StateReader.damaged }
        for _ in 0..<count {
            let at: Int64 = try reader.integer()
            let created: Int64 = try reader.integer()
            var values: [Value] = []
            values.reserveCapacity(valueCount)
            for _ in 0..<valueCount { values.append(try reader.value()) }
            rows.append((at, created, values))
        }
    }
}
