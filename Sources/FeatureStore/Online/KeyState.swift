import Contracts

/// The state of one key. Only touched under its shard's lock.
struct KeyState: Sendable {
    let key: [UInt8]
    let hash: UInt64
    /// Another key of the same hash in the table.
    var next: Int?
    private(set) var newest = Int64.min
    /// µs; events up to then may be missing, because the key was dropped since.
    let lost: Int64
    private var series: [SeriesState]
    private var recent: RecentEvents
    private var rows = LatestRows()

    init(_ key: [UInt8], _ hash: UInt64, _ view: DatasetView, lost: Int64) {
        self.key = key
        self.hash = hash
        self.lost = lost
        series = Array(repeating: SeriesState(), count: view.series.count)
        recent = RecentEvents(arguments: view.arguments.count)
    }

    /// Adds one row.
    ///
    /// - Parameters:
    ///   - mask: a bit for each expression that has a value; `words`: the values.
    ///   - latest: the values of the latest features.
    ///   - reach: µs; how long single events are kept.
    mutating func add(
        _ view: DatasetView, _ layouts: [PartialLayout], at: Int64, created: Int64, mask: UInt64, words: [UInt64], latest: [Value],
        reach: Int64
    ) {
        newest = max(newest, at)
        if !layouts.isEmpty { recent.add(at: at, created: created, mask: mask, values: words, reach: reach) }
        for i in layouts.indices {
            let argument = view.series[i].argument
            if let argument, mask >> UInt64(argument) & 1 == 0 { continue }
            series[i].add(layouts[i], view.series[i].window, at: at, created: created, word: argument.map { words[$0] } ?? 0)
        }
        if !latest.isEmpty { rows.add(at: at, created: created, values: latest) }
    }

    /// Writes features as of `t` (µs) into their slots; false when something that they cover is no longer kept.
    mutating func read(
        _ view: DatasetView, _ layouts: [PartialLayout], asOf t: Int64, _ features: [(index: Int, slot: Int)],
        scratch out: PartialLayout.Words,
        into slots: UnsafeMutableBufferPointer<Value>
    ) -> Bool {
        var exact = true
        var loaded = -1
        var distinct = 0
        var latest: (values: [Value]?, exact: Bool)?
        for (index, slot) in features {
            let feature = view.features[index]
            switch feature.source {
            case .windowed(let aggregate, let i):
                if loaded != i {
                    let result = series[i].read(
                        layouts[i], view.series[i].window, argument: view.series[i].argument, asOf: t, recent: recent, into: out)
                    (loaded, distinct) = (i, result.distinct)
                    exact = exact && result.exact
                }
                slots[slot] = layouts[i].value(out, aggregate, distinct: distinct, as: feature.type)
            case .latest(_, let position):
                let found = latest ?? rows.read(asOf: t, ttl: view.ttl)
                latest = found
                exact = exact && found.exact
                if let values = found.values { slots[slot] = values[position] }
            }
        }
        return exact
    }
}

extension KeyState {
    func encode(_ layouts: [PartialLayout], to out: inout StateWriter) {
        out.put(key)
        out.put(newest)
        out.put(lost)
        for (one, layout) in zip(series, layouts) { one.encode(layout, to: &out) }
        recent.encode(to: &out)
        rows.encode(to: &out)
    }

    /// - Throws: `corrupted` for anything that no state of this view can be.
    init(
        _ reader: inout StateReader, _ view: DatasetView, _ layouts: [PartialLayout], latestCount: Int, seed: UInt64
    ) throws(KeelError) {
        key = try reader.bytes()
        hash = KeyEncoding.hash(key, seed: seed)
        newest = try reader.integer()
        lost = try reader.integer()
        series = []
        series.reserveCapacity(layouts.count)
        for layout in layouts { series.append(try SeriesState(&reader, layout)) }
        recent = try RecentEvents(&reader, arguments: view.arguments.count)
        rows = try LatestRows(&reader, valueCount: latestCount)
    }
}

/// The keys of one shard, found by the hash of their bytes.
///
/// States lie in blocks: while somebody retains `blocks`, a change of one state copies its block and not the whole table.
struct KeyTable: Sendable {
    private static let blockCount = 256
    private(set) var blocks: [[KeyState]] = []
    private(set) var count = 0
    private var first: [UInt64: Int] = [:]

    subscript(i: Int) -> KeyState {
        @inline(__always) get { blocks[i / KeyTable.blockCount][i % KeyTable.blockCount] }
        @inline(__always) _modify { yield &blocks[i / KeyTable.blockCount][i % KeyTable.blockCount] }
    }

    @inline(__always) func find(_ key: [UInt8], _ hash: UInt64) -> Int? {
        var position = first[hash]
        while let i = position, self[i].key != key { position = self[i].next }
        return position
    }

    /// Adds the state of a key that is not there yet.
    mutating func append(_ state: KeyState) {
        if count % KeyTable.blockCount == 0 { blocks.append([]) }
        var state = state
        state.next = first.updateValue(count, forKey: state.hash)
        blocks[blocks.count - 1].append(state)
        count += 1
    }

    /// Drops the keys whose newest event is before `oldest` (µs).
    /// - Returns: the newest event of those that were dropped; nil when none was.
    mutating func expire(before oldest: Int64) -> Int64? {
        var last: Int64?
        for block in blocks {
            for i in block.indices where block[i].newest < oldest { last = max(last ?? .min, block[i].newest) }
        }
        guard let last else { return nil }
        let old = blocks
        blocks = []
        count = 0
        first.removeAll(keepingCapacity: true)
        for block in old {
            for state in block where state.newest >= oldest { append(state) }
        }
        return last
    }
}
