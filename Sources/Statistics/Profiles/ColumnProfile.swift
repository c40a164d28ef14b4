import Contracts

/// What is known of one column's values without keeping them. Merging two gives the profile of both together, in any order: exactly for counts, bounds,
/// mean, variance and the distinct sketch, within the stated errors for quantiles and top values.
///
/// Numbers, booleans (0 and 1), timestamps (µs since 1970) and dates (days since 1970) have `minimum` … `quantiles`; texts and bytes do not.
/// NaN and infinities count as nulls. Whole numbers beyond 2^53 are rounded to float64.
public struct ColumnProfile: Sendable {
    public let name: String
    public let type: DataType
    /// All rows, with and without value.
    public private(set) var count = 0
    public private(set) var nulls = 0
    public private(set) var minimum: Double?
    public private(set) var maximum: Double?
    /// Nil without values and for texts.
    public var mean: Double? {
        guard let minimum, let maximum, average.isFinite else { return nil }
        return min(max(average, minimum), maximum)
    }
    private var average = 0.0
    /// Σ (x − average)²; infinite when it is beyond float64 or was not stored.
    private var squares = 0.0
    public private(set) var quantiles = QuantileSketch()
    public private(set) var distinct = DistinctSketch()
    public private(set) var top: TopValues

    public init(name: String, type: DataType) {
        self.name = name
        self.type = type
        top = TopValues(isText: ColumnProfile.isText(type))
    }

    /// What a stored count can be, so that sums of a damaged one cannot overflow.
    private static let countMax: Int64 = 1 << 53

    private static func isText(_ type: DataType) -> Bool { type == .string || type == .bytes }

    public var isText: Bool { top.isText }
    /// Rows with a value.
    public var values: Int { count - nulls }
    /// The sample variance (n − 1); nil with fewer than two values, for texts, and when it is beyond float64.
    public var variance: Double? { isText || values < 2 || !squares.isFinite ? nil : squares / Double(values - 1) }
    public var nullShare: Double { count == 0 ? 0 : Double(nulls) / Double(count) }

    /// The value below which a share of the values lies; nil without values and for texts. 0 and 1 give the exact bounds.
    public func quantile(_ share: Double) -> Double? {
        if share <= 0 { return minimum }
        if share >= 1 { return maximum }
        return quantiles.quantiles([share]).first
    }

    // MARK: Adding

    /// Adds all rows of a column of the same type. Lists and tensors are only counted.
    public mutating func add(_ column: Column) {
        precondition(column.type == type, "a profile of \(type) cannot take a column of \(column.type)")
        switch column.buffer {
        case .text(let texts): add(texts, column)
        case .list:
            count += column.count
            nulls += column.nullCount
        case .float64(let v) where column.validity == nil && v.allSatisfy(\.isFinite): add(numbers: v, rows: v.count)
        default: add(numbers: (column.doubles() ?? []).filter(\.isFinite), rows: column.count)
        }
    }

    private mutating func add(_ texts: TextBuffer, _ column: Column) {
        count += texts.count
        texts.bytes.withUnsafeBytes { bytes in
            for i in 0..<texts.count {
                guard column.isValid(i) else {
                    nulls += 1
                    continue
                }
                let part = UnsafeRawBufferPointer(rebasing: bytes[texts.offsets[i]..<texts.offsets[i + 1]])
                let hash = StableHash.of(part)
                distinct.add(hash: hash)
                top.add(hash: hash, text: type == .bytes ? hexText(part) : String(decoding: part, as: UTF8.self))
            }
        }
    }

    /// - Parameter numbers: the finite values of `rows` rows.
    mutating func add(numbers: [Double], rows: Int) {
        count += rows
        nulls += rows - numbers.count
        guard let first = numbers.first else { return }
        var (low, high, sum) = (first, first, 0.0)
        for x in numbers {
            low = min(low, x)
            high = max(high, x)
            sum += x
            quantiles.add(x)
            distinct.add(hash: StableHash.of(x))
            top.add(x)
        }
        // A sum beyond float64 is taken again of parts that cannot leave the bounds.
        let mean = sum.isFinite ? sum / Double(numbers.count) : numbers.reduce(0) { $0 + $1 / Double(numbers.count) }
        var spread = 0.0
        for x in numbers { spread += (x - mean) * (x - mean) }
        combine(mean, spread, added: numbers.count, low, high)
    }

    /// The parallel update of Chan, Golub and LeVeque (1979). `count` and `nulls` already include the addition.
    private mutating func combine(_ mean: Double, _ spread: Double, added: Int, _ low: Double?, _ high: Double?) {
        guard added > 0 else { return }
        let before = values - added
        if before == 0 {
            average = mean
            squares = spread
        } else {
            let share = Double(added) / Double(values)
            let difference = mean - average
            average = difference.isFinite ? average + difference * share : average * (1 - share) + mean * share
            squares += spread + difference * difference * Double(before) * share
        }
        minimum = [minimum, low].compactMap { $0 }.min()
        maximum = [maximum, high].compactMap { $0 }.max()
    }

    /// - Throws: when name or type differ.
    public mutating func merge(_ other: ColumnProfile) throws(KeelError) {
        guard other.name == name, other.type == type else {
            throw .invalid("the profile of '\(other.name)' (\(other.type)) cannot be merged into that of '\(name)' (\(type))")
        }
        count += other.count
        nulls += other.nulls
        if !isText { combine(other.average, other.squares, added: other.values, other.minimum, other.maximum) }
        quantiles.merge(other.quantiles)
        distinct.merge(other.distinct)
        top.merge(other.top)
    }

    // MARK: JSON

    var json: JSON {
        var out: JSON = [
            "name": .string(name), "type": .string(type.description), "count": .int(Int64(count)), "nulls": .int(Int64(nulls)),
            "distinct": .int(Int64(distinct.estimate)), "distinctSketch": distinct.json, "top": top.json,
        ]
        if let minimum, let maximum {
            out["min"] = .double(minimum)
            out["max"] = .double(maximum)
            if let mean { out["mean"] = .double(mean) }
            if squares.isFinite { out["squares"] = .double(squares) }
            out["quantiles"] = quantiles.json
        }
        return out
    }

    init(json: JSON) throws(KeelError) {
        let unreadable = KeelError(.corrupted, "the profile of a column is not readable")
        guard let name = json["name"]?.string, let typeName = json["type"]?.string, let count = json["count"]?.integer,
            let nulls = json["nulls"]?.integer,
            nulls >= 0, count >= nulls, count <= ColumnProfile.countMax, let distinct = json["distinctSketch"], let top = json["top"]
        else { throw unreadable }
        self.init(name: name, type: try DataType(parsing: typeName))
        (self.count, self.nulls) = (Int(count), Int(nulls))
        self.distinct = try DistinctSketch(json: distinct)
        self.top = try TopValues(json: top)
        guard self.top.isText == ColumnProfile.isText(type) else { throw unreadable }
        guard let low = json["min"]?.number else { return }
        guard let high = json["max"]?.number, let sketch = json["quantiles"] else { throw unreadable }
        minimum = low
        maximum = high
        // Absent: beyond float64, or null as older versions wrote it then.
        average = json["mean"]?.number ?? .nan
        squares = json["squares"]?.number ?? .infinity
        quantiles = try QuantileSketch(json: sketch)
    }
}
