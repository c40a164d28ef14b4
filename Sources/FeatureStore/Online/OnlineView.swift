import Contracts
import Synchronization

/// The online state of one view over a dataset.
///
/// Keys are spread over shards, each behind a mutex; inside it there is only work on memory (well under a microsecond a feature), so a reader
/// on an event loop never waits for I/O. Reads of one key are consistent: all its features see the same events.
///
/// **Memory is bounded** by the number of keys seen within the view's horizon (longest window, or ttl): a key holds at most 64 tiles a window,
/// 256 recent events and 16 latest rows, and is dropped in a sweep when its newest event is older than the horizon. A latest value without
/// ttl has no horizon: such keys stay.
final class OnlineView: Sendable {
    private final class Shard: Sendable {
        let state = Mutex(KeyTable())

        func exchange(with table: KeyTable) -> KeyTable {
            state.withLock { current in
                let old = current
                current = table
                return old
            }
        }
    }

    let view: DatasetView
    let arrivals: Arrivals
    /// For hashes of keys and of distinct texts.
    private let seed: UInt64
    /// Which rows the state was made from, before those of the stream (`FeatureDraft.complete`); nil while its history is not whole.
    let origin = Mutex<String?>(nil)
    /// Names what computes this state: equal where the bytes of one mean the same to the other.
    let digest: Digest
    private let layouts: [PartialLayout]
    /// Index into the arguments for each latest feature.
    private let latestArguments: [Int]
    private let shards: [Shard] = (0..<16).map { _ in Shard() }
    /// µs; nil = keys are never dropped.
    private let horizon: Int64?
    /// µs; how far back from its instant a read looks at most; nil = for ever.
    let coverage: Int64?
    /// µs; how far back single events are kept for reads in the past.
    private let recentReach: Int64
    private let newest = Atomic<Int64>(.min)
    /// µs; the newest event of the keys that were dropped. A key that is not there may have had events up to then.
    private let dropped = Atomic<Int64>(.min)
    /// µs; events before it were left out when the state was made, so that reads which cover them are not exact.
    private let historyStart = Atomic<Int64>(.min)
    private let sinceSweep = Atomic<Int>(0)
    private let inexact = Atomic<Int>(0)

    /// How many rows are applied between two sweeps over one shard.
    fileprivate static let sweepEvery = 4096

    /// - Parameters:
    ///   - arrivals: of the view's dataset.
    ///   - seed: a secret, so that nobody can choose keys that collide.
    init(_ view: DatasetView, _ arrivals: Arrivals, seed: UInt64, version: String) {
        self.view = view
        self.arrivals = arrivals
        self.seed = seed
        digest = view.identity.digest(seed: seed, version: version)
        var layouts: [PartialLayout] = []
        for (i, series) in view.series.enumerated() {
            let needs = view.features.compactMap { feature -> Aggregate? in
                if case .windowed(let aggregate, let index) = feature.source, index == i { aggregate } else { nil }
            }
            layouts.append(PartialLayout(series.argument.map { WordKind(view.arguments[$0].type) } ?? .bool, Set(needs)))
        }
        self.layouts = layouts
        latestArguments = view.features.compactMap { if case .latest(let argument, _) = $0.source { argument } else { nil } }
        let reach = view.series.map { $0.window.length.microseconds + (SeriesState.slack + 1) * $0.window.hop }.max() ?? 0
        horizon = view.hasLatest && view.ttl == nil ? nil : max(reach, view.ttl?.microseconds ?? 0)
        let longest = view.series.map { $0.window.length.microseconds + $0.window.hop }.max() ?? 0
        coverage = horizon == nil ? nil : max(longest, view.ttl?.microseconds ?? 0)
        recentReach = 2 * (view.series.map(\.window.hop).max() ?? 0)
    }

    /// Reads answered from less than a window covers, because they asked for a time too far before the newest event of their key.
    var inexactReads: Int { inexact.load(ordering: .relaxed) }
    var keyCount: Int { shards.reduce(0) { sum, shard in sum + shard.state.withLock { $0.count } } }

    /// Exchanges the state with that of a view of the same identity, so that the old one is freed with the other view and not under a lock. A key has
    /// the old state or the new one, never a part of each. Rows must not be applied meanwhile.
    func exchange(with other: OnlineView) {
        for (shard, made) in zip(shards, other.shards) {
            let table = made.exchange(with: KeyTable())
            let old = shard.exchange(with: table)
            _ = made.exchange(with: old)
        }
        newest.store(other.newest.load(ordering: .relaxed), ordering: .relaxed)
        dropped.store(other.dropped.load(ordering: .relaxed), ordering: .relaxed)
        historyStart.store(other.historyStart.load(ordering: .relaxed), ordering: .relaxed)
        sinceSweep.store(other.sinceSweep.load(ordering: .relaxed), ordering: .relaxed)
        let made = other.origin.withLock { $0 }
        origin.withLock { $0 = made }
    }

    /// Notes that events before `start` (µs) are left out of the history that this view is made from.
    func leavesOut(before start: Int64) { historyStart.store(start, ordering: .relaxed) }

    /// Adds rows in order of arrival. A row without a time or a key, or that the view's `where` does not let through, is no fact of this view.
    ///
    /// - Parameter now: µs; times beyond it do not let keys expire.
    func apply(_ rows: Table, now: Int64) throws(KeelError) {
        let columns = try ViewColumns(view, rows, seed: seed)
        var key: [UInt8] = []
        var words = [UInt64](repeating: 0, count: view.arguments.count)
        var last = Int64.min
        for row in 0..<rows.rowCount {
            // Rows of an older version may lie outside all instants: they are no facts.
            guard let at = columns.time(row), Timestamp.range.contains(at), columns.passes(row), columns.key(row, into: &key) else {
                continue
            }
            let mask = columns.words(row, into: &words)
            let latest = latestArguments.map { columns.arguments[$0][row].finite }
            let created = columns.created(row)
            last = max(last, at)
            let hash = KeyEncoding.hash(key, seed: seed)
            shards[Int(hash >> 60)].state.withLock { table in
                let i = table.find(key, hash) ?? table.count
                // One that was dropped and comes back has lost what it had before.
                if i == table.count { table.append(KeyState(key, hash, view, lost: dropped.load(ordering: .relaxed))) }
                table[i].add(view, layouts, at: at, created: created, mask: mask, words: words, latest: latest, reach: recentReach)
            }
        }
        if last > .min { newest.max(min(last, now), ordering: .relaxed) }
        sweep(after: rows.rowCount)
    }

    /// Drops expired keys of one shard, from time to time.
    private func sweep(after rows: Int) {
        guard let horizon else { return }
        let (before, after) = sinceSweep.add(rows, ordering: .relaxed)
        guard after / OnlineView.sweepEvery != before / OnlineView.sweepEvery else { return }
        for round in (before / OnlineView.sweepEvery)..<(after / OnlineView.sweepEvery) {
            let oldest = saturatingDifference(newest.load(ordering: .relaxed), horizon)
            shards[round % shards.count].state.withLock { table in
                // Under the lock: a read that misses a key knows that it may have been dropped.
                if let last = table.expire(before: oldest) { dropped.max(last, ordering: .relaxed) }
            }
        }
    }

    /// Reads features of one key as of `t` (µs) into their slots.
    ///
    /// - Parameter key: encoded; nil when a part is null, which is a key without events.
    /// - Returns: whether the state has everything that the features cover.
    func read(_ key: [UInt8]?, asOf t: Int64, _ features: [(index: Int, slot: Int)], into slots: inout [Value]) -> Bool {
        for (index, slot) in features { slots[slot] = view.features[index].absent }
        guard let key else { return true }
        // Of a key that was dropped, events up to some time are gone: nothing is missing when the features begin after it.
        let first = saturatingDifference(t, coverage ?? 0)
        let hash = KeyEncoding.hash(key, seed: seed)
        let exact = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: PartialLayout.strideMax) { scratch in
            guard let base = scratch.baseAddress else { return true }
            return slots.withUnsafeMutableBufferPointer { buffer in
                // Both point into memory of this call, which the closure uses before it returns: nothing of it stays in the shard.
                nonisolated(unsafe) let out = base
                nonisolated(unsafe) let slots = buffer
                return shards[Int(hash >> 60)].state.withLock { table in
                    guard let i = table.find(key, hash) else { return OnlineView.isWhole(from: first, lost: dropped.load(ordering: .relaxed)) }
                    let exact = table[i].read(view, layouts, asOf: t, features, scratch: out, into: slots)
                    return exact && OnlineView.isWhole(from: first, lost: table[i].lost)
                }
            }
        }
        let isCovered = t >= saturatingSum(historyStart.load(ordering: .relaxed), coverage ?? 0)
        if exact, isCovered { return true }
        inexact.add(1, ordering: .relaxed)
        return false
    }

    /// Whether every event at or after `first` (µs) is there when those up to `lost` may be gone.
    private static func isWhole(from first: Int64, lost: Int64) -> Bool { lost == .min || lost < first }
}

/// The state of a view at one moment. It is retained and not copied: what changes afterwards is copied then, a block of keys at a time.
struct RetainedView: Sendable {
    fileprivate let layouts: [PartialLayout]
    fileprivate let newest: Int64
    fileprivate let dropped: Int64
    fileprivate let historyStart: Int64
    fileprivate let sinceSweep: Int
    /// The blocks of each shard.
    fileprivate var shards: [[[KeyState]]]

    /// Calls `body` with the bytes of the state, part by part; each part of the state is let go when it is written.
    consuming func write(_ body: (_ part: [UInt8]) throws -> Void) throws {
        var out = StateWriter()
        out.put(newest)
        out.put(dropped)
        out.put(historyStart)
        out.put(UInt32(sinceSweep % (OnlineView.sweepEvery * shards.count)))
        out.put(UInt64(shards.joined().reduce(0) { $0 + $1.count }))
        for shard in shards.indices {
            while let block = shards[shard].popLast() {
                for key in block { key.encode(layouts, to: &out) }
                guard out.bytes.count >= RetainedView.partBytes else { continue }
                try body(out.bytes)
                out.removeAll()
            }
        }
        try body(out.bytes)
    }

    private static let partBytes = 1 << 20
}

extension OnlineView {
    /// The state as it is now. No rows may be applied meanwhile.
    func retain() -> RetainedView {
        RetainedView(
            layouts: layouts, newest: newest.load(ordering: .relaxed), dropped: dropped.load(ordering: .relaxed),
            historyStart: historyStart.load(ordering: .relaxed), sinceSweep: sinceSweep.load(ordering: .relaxed), shards: shards.map { $0.state.withLock { $0.blocks } })
    }

    /// Reads the state that `RetainedView.write` wrote.
    /// - Throws: `corrupted` for anything else.
    func decode(_ reader: inout StateReader) throws(KeelError) -> RestoredView {
        var restored = RestoredView(
            newest: try reader.integer(), dropped: try reader.integer(), historyStart: try reader.integer(), sinceSweep: Int(try reader.integer(UInt32.self)),
            tables: shards.map { _ in KeyTable() })
        var rest: UInt64 = try reader.integer()
        while rest > 0 {
            let state = try KeyState(&reader, view, layouts, latestCount: latestArguments.count, seed: seed)
            let shard = Int(state.hash >> 60)
            guard restored.tables[shard].find(state.key, state.hash) == nil else { throw StateReader.damaged }
            restored.tables[shard].append(state)
            rest -= 1
        }
        return restored
    }

    /// Takes a state in the place of its own.
    func take(_ restored: RestoredView) {
        newest.store(restored.newest, ordering: .relaxed)
        dropped.store(restored.dropped, ordering: .relaxed)
        historyStart.store(restored.historyStart, ordering: .relaxed)
        sinceSweep.store(restored.sinceSweep, ordering: .relaxed)
        for (shard, table) in zip(shards, restored.tables) { _ = shard.exchange(with: table) }
    }
}

/// The state of a view as a file has it.
struct RestoredView {
    fileprivate let newest: Int64
    fileprivate let dropped: Int64
    fileprivate let historyStart: Int64
    fileprivate let sinceSweep: Int
    fileprivate var tables: [KeyTable]
}

/// The columns of a view over a table of rows.
struct ViewColumns {
    let arguments: [Column]
    private let times: [Int64]
    private let validTimes: Column
    private let createds: (times: [Int64], column: Column)?
    private let filter: [Bool]?
    private let filterColumn: Column?
    private let keys: [Column]
    private let seed: UInt64

    init(_ view: DatasetView, _ rows: Table, seed: UInt64) throws(KeelError) {
        self.seed = seed
        let rows = try ViewColumns.conform(rows, view)
        validTimes = try rows.column(view.at)
        times = ViewColumns.microseconds(validTimes)
        createds = try view.created.map { name throws(KeelError) in
            let column = try rows.column(name)
            return (ViewColumns.microseconds(column), column)
        }
        var keys: [Column] = []
        for key in view.keys { keys.append(try rows.column(key.column)) }
        self.keys = keys
        var arguments: [Column] = []
        for argument in view.arguments {
            // A column as it is needs no evaluation.
            let isColumn = argument.columns.count == 1 && argument.columns[0] == argument.source.text
            arguments.append(isColumn ? try rows.column(argument.columns[0]) : try argument.evaluate(over: rows))
        }
        self.arguments = arguments
        filterColumn = try view.filter.map { filter throws(KeelError) in try filter.evaluate(over: rows) }
        if let filterColumn, case .bool(let v) = filterColumn.buffer { filter = v } else { filter = nil }
    }

    /// The view's columns. Rows of an older contract may lack one, which is then null, or have it in a narrower type.
    private static func conform(_ rows: Table, _ view: DatasetView) throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        pairs.reserveCapacity(view.identity.columns.count)
        for field in view.identity.columns {
            let column = rows[field.name]
            if let column, column.type == field.type {
                pairs.append((field.name, column))
            } else {
                do throws(KeelError) {
                    pairs.append((field.name, try Column(field.type, values: (0..<rows.rowCount).map { column?[$0] ?? .null })))
                } catch {
                    throw KeelError(
                        .contractViolation,
                        "'\(field.name)' of dataset '\(view.dataset)' is a \(column?.type ?? field.type), the contract says \(field.type)",
                        path: field.name)
                }
            }
        }
        return try Table(pairs)
    }

    /// Instants and days as µs; a null is whatever stands there.
    private static func microseconds(_ column: Column) -> [Int64] {
        switch column.buffer {
        case .int64(let v): v
        case .int32(let v): v.map { saturatingProduct(Int64($0), CivilDate.microseconds) }
        default: Array(repeating: 0, count: column.count)
        }
    }

    @inline(__always) func time(_ row: Int) -> Int64? { validTimes.isValid(row) ? times[row] : nil }
    /// A row without a created time counts as written in 1970.
    @inline(__always) func created(_ row: Int) -> Int64 {
        guard let createds, createds.column.isValid(row) else { return 0 }
        return createds.times[row]
    }
    @inline(__always) func passes(_ row: Int) -> Bool { filter.map { $0[row] && filterColumn?.isValid(row) ?? true } ?? true }

    @inline(__always) func key(_ row: Int, into bytes: inout [UInt8]) -> Bool {
        bytes.removeAll(keepingCapacity: true)
        for column in keys { guard KeyEncoding.append(column, row, to: &bytes) else { return false } }
        return true
    }

    /// Fills one word an argument and returns the bits of those that have a value.
    @inline(__always) func words(_ row: Int, into words: inout [UInt64]) -> UInt64 {
        var mask: UInt64 = 0
        for i in arguments.indices {
            if let word = WordKind.word(arguments[i], row, seed: seed) {
                words[i] = word
                mask |= 1 << UInt64(i)
            } else {
                words[i] = 0
            }
        }
        return mask
    }
}

extension Value {
    /// Null in place of a number that is none.
    var finite: Value { if case .double(let x) = self, !x.isFinite { .null } else { self } }
}
