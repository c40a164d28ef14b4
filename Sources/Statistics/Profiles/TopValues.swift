import Contracts

/// The most frequent values in bounded memory, mergeable: Misra–Gries with 128 counters, in the form of Agarwal et al. ("Mergeable Summaries", PODS 2012).
///
/// A count is at most `error` too low, never too high, and `error` ≤ (values added) / 129. With up to 128 distinct values the counts are exact.
public struct TopValues: Sendable {
    public static let capacity = 128
    /// Counters between two prunings, in a table twice as large so that probing stays short.
    private static let liveLimit = 256
    private static let tableSize = 512

    /// How much any count may be too low.
    public private(set) var error = 0
    private var keys = [UInt64](repeating: 0, count: tableSize)
    /// 0 marks a free place.
    private var counts = [Int](repeating: 0, count: tableSize)
    /// The text of each place; empty for numbers.
    private var texts: [String] = []
    private var live = 0
    /// Whether values are texts (keyed by hash) or numbers (keyed by their bits).
    let isText: Bool

    init(isText: Bool) {
        self.isText = isText
        if isText { texts = Array(repeating: "", count: TopValues.tableSize) }
    }

    @inline(__always) private func place(_ key: UInt64) -> Int {
        var i = Int(StableHash.mix(key) & UInt64(TopValues.tableSize - 1))
        while counts[i] > 0, keys[i] != key { i = (i + 1) & (TopValues.tableSize - 1) }
        return i
    }

    /// Adds a number `times` times.
    @inline(__always) mutating func add(_ value: Double) { add(key: (value == 0 ? 0 : value).bitPattern, 1, text: "") }

    /// Adds a text by its hash.
    @inline(__always) mutating func add(hash: UInt64, text: @autoclosure () -> String) { add(key: hash, 1, text: text()) }

    @inline(__always) private mutating func add(key: UInt64, _ times: Int, text: @autoclosure () -> String) {
        let i = place(key)
        if counts[i] == 0 {
            keys[i] = key
            if isText { texts[i] = text() }
            live += 1
        }
        counts[i] += times
        if live >= TopValues.liveLimit { prune() }
    }

    private typealias Entry = (key: UInt64, count: Int, text: String)

    private var entries: [Entry] {
        var out: [Entry] = []
        for i in counts.indices where counts[i] > 0 { out.append((keys[i], counts[i], isText ? texts[i] : "")) }
        return out
    }

    /// Keeps 128 counters at most: all lose as much as the 129th has.
    private mutating func prune() { rebuild(entries) }

    private mutating func rebuild(_ given: [Entry]) {
        var loss = 0
        if given.count > TopValues.capacity {
            loss = given.map(\.count).sorted(by: >)[TopValues.capacity]
            error += loss
        }
        for i in counts.indices { counts[i] = 0 }
        live = 0
        for entry in given where entry.count > loss {
            let i = place(entry.key)
            keys[i] = entry.key
            counts[i] = entry.count - loss
            if isText { texts[i] = entry.text }
            live += 1
        }
    }

    mutating func merge(_ other: TopValues) {
        var combined: [UInt64: Entry] = [:]
        for entry in entries + other.entries { combined[entry.key, default: (entry.key, 0, entry.text)].count += entry.count }
        error += other.error
        rebuild(combined.values.sorted { $0.key < $1.key })
    }

    /// Values by falling count, then by value.
    public var values: [(value: Value, count: Int)] {
        entries.map { (value: isText ? Value.string($0.text) : .double(Double(bitPattern: $0.key)), count: $0.count) }
            .sorted { a, b in
                if a.count != b.count { return a.count > b.count }
                if let x = a.value.number, let y = b.value.number { return x < y }
                return byteOrder(a.value.text ?? "", b.value.text ?? "") < 0
            }
            .prefix(TopValues.capacity).map { $0 }
    }

    // MARK: JSON

    /// With more than 128 counters live the smallest are pruned first, as the next addition might.
    var json: JSON {
        var kept = self
        if kept.live > TopValues.capacity { kept.prune() }
        var items: [JSON] = []
        for entry in kept.values {
            let value: JSON = isText ? .string(entry.value.text ?? "") : .double(entry.value.number ?? 0)
            items.append(.array([value, .int(Int64(entry.count))]))
        }
        return ["error": .int(Int64(kept.error)), "text": .bool(isText), "values": .array(items)]
    }

    init(json: JSON) throws(KeelError) {
        guard let isText = json["text"]?.bool, let error = json["error"]?.integer, (0...1 << 53).contains(error),
            let items = json["values"]?.array,
            items.count <= TopValues.capacity
        else { throw KeelError(.corrupted, "a summary of top values is not readable") }
        self.init(isText: isText)
        self.error = Int(error)
        for item in items {
            guard let count = item[1]?.integer, (1...1 << 53).contains(count) else {
                throw KeelError(.corrupted, "a summary of top values is not readable")
            }
            if isText, let text = item[0]?.string {
                var copy = text
                add(key: copy.withUTF8 { StableHash.of(UnsafeRawBufferPointer($0)) }, Int(count), text: text)
            } else if let number = item[0]?.number {
                add(key: (number == 0 ? 0 : number).bitPattern, Int(count), text: "")
            } else {
                throw KeelError(.corrupted, "a summary of top values is not readable")
            }
        }
    }
}
