import Contracts

/// The state of one key. Only touched under its shard's lock.
struct KeyState: Sendable {
    let key: [UInt8]
    let hash: UInt64
    /// Another key of the same hash in the table.
    var next: Int?
    private(set) var newest = Int64.min
    private var series: [SeriesState]
    private var recent: RecentEvents
    private var rows = LatestRows()

    init(_ key: [UInt8], _ hash: UInt64, _ view: DatasetView, next: Int?) {
        self.key = key
        self.hash = hash
        self.next = next
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

/// The keys of one shard, found by the hash of their bytes.
struct KeyTable: Sendable {
    var states: [KeyState] = []
    private var first: [UInt64: Int] = [:]

    var count: Int { states.count }

    @inline(__always) func find(_ key: [UInt8], _ hash: UInt64) -> Int? {
        var position = first[hash]
        while let i = position, states[i].key != key { position = states[i].next }
        return position
    }

    mutating func make(_ key: [UInt8], _ hash: UInt64, _ view: DatasetView) -> Int {
        states.append(KeyState(key, hash, view, next: first[hash]))
        first[hash] = states.count - 1
        return states.count - 1
    }

    /// Drops the keys whose newest event is before `oldest` (µs).
    mutating func expire(before oldest: Int64) {
        guard states.contains(where: { $0.newest < oldest }) else { return }
        states.removeAll { $0.newest < oldest }
        first.removeAll(keepingCapacity: true)
        for i in states.indices {
            states[i].next = first[states[i].hash]
            first[states[i].hash] = i
        }
    }
}
