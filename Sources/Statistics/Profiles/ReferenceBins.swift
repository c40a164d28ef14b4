import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// The bins in which a column's values are counted to compare them with a reference, with the reference's own counts.
///
/// Numbers: up to 10 bins between the reference's deciles, each including its upper edge; equal deciles collapse. When values pile up on the smallest
/// one, what lies below it has a bin of its own, so that even a constant column shows a drift downwards. Texts: the most frequent values (up to 50),
/// then all others. The last bin is always that of nulls (NaN and infinities with them).
public struct ReferenceBins: Sendable, Hashable {
    private enum Kind: Sendable, Hashable {
        case edges([Double])
        case texts([String], index: [String: Int])
    }
    private let kind: Kind
    /// How many reference rows fell into each bin.
    public let counts: [Double]
    public static let textLimit = 50

    private init(_ kind: Kind, counts: [Double]) { (self.kind, self.counts) = (kind, counts) }

    public var binCount: Int { counts.count }
    public var rowCount: Double { counts.reduce(0, +) }
    /// The reference's shares; all 0 without rows.
    public var shares: [Double] {
        let total = rowCount
        return counts.map { total > 0 ? $0 / total : 0 }
    }
    /// Upper edges of numeric bins; nil for texts.
    public var edges: [Double]? { if case .edges(let edges) = kind { edges } else { nil } }
    public var categories: [String]? { if case .texts(let texts, _) = kind { texts } else { nil } }

    /// What each bin holds, for people: `≤ 4.5`, `4.5 – 9`, `> 9`, `UA`, `other`, `null`.
    public var labels: [String] {
        switch kind {
        case .texts(let texts, _): return texts + ["other", "null"]
        case .edges(let edges):
            guard let first = edges.first, let last = edges.last else { return ["any", "null"] }
            return ["≤ \(first)"] + zip(edges, edges.dropFirst()).map { "\($0) – \($1)" } + ["> \(last)", "null"]
        }
    }

    // MARK: Making

    /// From raw numbers (NaN is null): exact deciles and counts.
    public init(numbers: [Double]) {
        let sorted = numbers.filter(\.isFinite).sorted()
        let deciles =
            sorted.isEmpty ? [] : (1...9).map { sorted[max(0, Int(saturating: (Double(sorted.count) * Double($0) / 10).rounded(.up)) - 1)] }
        let edges = ReferenceBins.edges(deciles, minimum: sorted.first)
        let empty = ReferenceBins(.edges(edges), counts: Array(repeating: 0, count: edges.count + 2))
        self.init(.edges(edges), counts: empty.count(numbers))
    }

    /// From raw texts (nil is null): exact counts.
    public init(texts: [String?]) {
        var seen: [String: Int] = [:]
        for case .some(let text) in texts { seen[text, default: 0] += 1 }
        let ranked = seen.sorted { $0.value != $1.value ? $0.value > $1.value : byteOrder($0.key, $1.key) < 0 }
        self.init(
            ranked.prefix(ReferenceBins.textLimit).map { ($0.key, $0.value) }, rows: texts.count,
            nulls: texts.lazy.filter { $0 == nil }.count)
    }

    /// From a column of numbers, booleans, instants or texts; nil for lists, tensors and bytes.
    public init?(_ column: Column) {
        if column.type == .string {
            self.init(texts: (0..<column.count).map { column[$0].text })
        } else if let numbers = column.doubles() {
            self.init(numbers: numbers)
        } else {
            return nil
        }
    }

    /// From a profile: deciles and counts within the errors of its sketches.
    public init(_ profile: ColumnProfile) {
        if profile.isText {
            let top = profile.top.values.prefix(ReferenceBins.textLimit).map { ($0.value.text ?? "", $0.count) }
            self.init(Array(top), rows: profile.count, nulls: profile.nulls)
            return
        }
        let edges = ReferenceBins.edges(profile.quantiles.quantiles((1...9).map { Double($0) / 10 }), minimum: profile.minimum)
        let below = profile.quantiles.ranks(of: edges).map { $0.isNaN ? 0 : $0 } + [1]
        let shares = zip(below, [0] + below).map { $0 - $1 }
        self.init(.edges(edges), counts: shares.map { $0 * Double(profile.values) } + [Double(profile.nulls)])
    }

    private init(_ top: [(String, Int)], rows: Int, nulls: Int) {
        let covered = top.reduce(0) { $0 + $1.1 }
        let index = Dictionary(top.enumerated().map { ($1.0, $0) }) { first, _ in first }
        self.init(
            .texts(top.map(\.0), index: index), counts: top.map { Double($0.1) } + [Double(max(0, rows - nulls - covered)), Double(nulls)])
    }

    private static func edges(_ deciles: [Double], minimum: Double?) -> [Double] {
        var out: [Double] = []
        for edge in deciles where out.last.map({ edge > $0 }) ?? true { out.append(edge) }
        if let minimum, let first = out.first, first <= minimum, minimum.nextDown.isFinite { out.insert(minimum.nextDown, at: 0) }
        return out
    }

    // MARK: Counting

    /// The bin of a number; NaN and infinities are null. For bins of texts, every number is in `other`.
    @inline(__always) public func index(of value: Double) -> Int {
        guard value.isFinite else { return counts.count - 1 }
        guard case .edges(let edges) = kind else { return counts.count - 2 }
        var (low, high) = (0, edges.count)
        while low < high {
            let middle = (low + high) >> 1
            if edges[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The bin of a text; nil is null.
    public func index(of text: String?) -> Int {
        guard let text else { return counts.count - 1 }
        if case .texts(_, let index) = kind, let found = index[text] { return found }
        return counts.count - 2
    }

    /// The bin of any value; instants count as µs, dates as days since 1970.
    public func index(of value: Value) -> Int {
        switch value {
        case .null: counts.count - 1
        case .string(let text): index(of: text)
        case .timestamp(let time): index(of: Double(time.microseconds))
        case .date(let days): index(of: Double(days))
        default: value.number.map { index(of: $0) } ?? counts.count - 2
        }
    }

    /// How many of the numbers fall into each bin.
    public func count(_ numbers: [Double]) -> [Double] {
        var out = [Double](repeating: 0, count: counts.count)
        for number in numbers { out[index(of: number)] += 1 }
        return out
    }

    /// The population stability index of counts against the reference, and the value it stays under without drift.
    public func stability(of current: [Double]) -> (index: Double, threshold: Double) {
        let occupied = zip(counts, current).lazy.filter { $0 > 0 || $1 > 0 }.count
        return (
            populationStability(reference: counts, current: current),
            populationStabilityThreshold(bins: occupied, reference: rowCount, current: current.reduce(0, +))
        )
    }

    // MARK: JSON

    public var json: JSON {
        var out: JSON = ["counts": .array(counts.map(JSON.double))]
        switch kind {
        case .edges(let edges): out["edges"] = .array(edges.map(JSON.double))
        case .texts(let texts, _): out["texts"] = .array(texts.map(JSON.string))
        }
        return out
    }

    /// - Throws: `corrupted` when it is not what `json` wrote.
    public init(json: JSON) throws(KeelError) {
        let unreadable = KeelError(.corrupted, "reference bins are not readable")
        guard let items = json["counts"]?.array else { throw unreadable }
        let counts = items.compactMap(\.number)
        guard counts.count == items.count, counts.allSatisfy({ $0 >= 0 && $0.isFinite }) else { throw unreadable }
        if let edges = json["edges"]?.array?.compactMap(\.number) {
            guard counts.count == edges.count + 2, zip(edges, edges.dropFirst()).allSatisfy({ $0 < $1 }) else { throw unreadable }
            self.init(.edges(edges), counts: counts)
        } else if let texts = json["texts"]?.array?.compactMap(\.string), counts.count == texts.count + 2 {
            self.init(.texts(texts, index: Dictionary(texts.enumerated().map { ($1, $0) }) { first, _ in first }), counts: counts)
        } else {
            throw unreadable
        }
    }
}

/// The population stability index, Σ (c − r) · ln(c / r) over the bins, with shares of 0 replaced by 0.0001.
///
/// By convention 0.1 is a small shift and 0.2 a large one; on small samples see `populationStabilityThreshold`.
/// - Parameters: counts or shares by bin, of equal length; each is scaled to sum to 1.
/// - Returns: NaN when either has no rows.
public func populationStability(reference: [Double], current: [Double]) -> Double {
    precondition(reference.count == current.count, "\(reference.count) bins against \(current.count)")
    let (r, c) = (reference.reduce(0, +), current.reduce(0, +))
    guard r > 0, c > 0 else { return .nan }
    var index = 0.0
    for (x, y) in zip(reference, current) {
        let (expected, seen) = (x > 0 ? x / r : 0.0001, y > 0 ? y / c : 0.0001)
        index += (seen - expected) * log(seen / expected)
    }
    return index
}

/// What the index stays under with probability 0.999 when nothing has drifted: (1/n + 1/m) · χ²₀.₉₉₉(B − 1).
///
/// The quantile of χ² is the approximation of Wilson and Hilferty (1931): 3 % too high for one degree of freedom, 0.7 % for nine.
/// - Parameters:
///   - bins: bins that either sample uses.
///   - reference: rows of the reference (n).
///   - current: rows now (m).
public func populationStabilityThreshold(bins: Int, reference: Double, current: Double) -> Double {
    guard bins > 1, reference > 0, current > 0 else { return .infinity }
    // The 0.999 quantile of the normal distribution.
    let (z, freedom) = (3.090_232_306_167_813, Double(bins - 1))
    let spread = 2 / (9 * freedom)
    let root = 1 - spread + z * spread.squareRoot()
    return (1 / reference + 1 / current) * freedom * root * root * root
}
