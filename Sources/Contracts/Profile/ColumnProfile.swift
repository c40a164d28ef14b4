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
    public private(set) var mean = 0.0
    /// Σ (x − mean)².
    private var squares = 0.0
    public private(set) var quantiles = QuantileSketch()
    public private(set) var distinct = DistinctSketch()
    public private(set) var top: TopValues

    public init(name: String, type: DataType) {
        self.name = name
        self.type = type
        top = TopValues(isText: ColumnProfile.isText(type))
    }

    private static func isText(_ type: DataType) -> Bool { type == .string || type == .bytes }

    public var isText: Bool { top.isText }
    /// Rows with a value.
    public var values: Int { count - nulls }
    /// The sample variance (n − 1); nil with fewer than two values and for texts.
    public var variance: Double? { isText || values < 2 ? nil : squares / Double(values - 1) }
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
        let average = sum / Double(numbers.count)
        var spread = 0.0
        for x in numbers { spread += (x - average) * (x - average) }
        combine(average, spread, added: numbers.count, low, high)
    }

    /// The parallel update of Chan, Golub and LeVeque (1979). `count` and `nulls` already include the addition.
    private mutating func combine(_ otherMean: Double, _ otherSquares: Double, added: Int, _ low: Double?, _ high: Double?) {
        guard added > 0 else { return }
        let before = values - added
        let difference = otherMean - mean
        mean += difference * Double(added) / Double(values)
        squares += otherSquares + difference * difference * Double(before) * Double(added) / Double(values)
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
        if !isText { combine(other.mean, other.squares, added: other.values, other.minimum, other.maximum) }
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
            out["mean"] = .double(mean)
            out["squares"] = .double(squares)
            out["quantiles"] = quantiles.json
        }
        return out
    }

    init(json: JSON) throws(KeelError) {
        let unreadable = KeelError(.corrupted, "the profile of a column is not readable")
        guard let name = json["name"]?.string, let typeName = json["type"]?.string, let count = json["count"]?.integer,
            let nulls = json["nulls"]?.integer,
            nulls >= 0, count >= nulls, let distinct = json["distinctSketch"], let top = json["top"]
        else { throw unreadable }
        self.init(name: name, type: try DataType(parsing: typeName))
        (self.count, self.nulls) = (Int(count), Int(nulls))
        self.distinct = try DistinctSketch(json: distinct)
        self.top = try TopValues(json: top)
        guard self.top.isText == ColumnProfile.isText(type) else { throw unreadable }
        guard let low = json["min"]?.number else { return }
        guard let high = json["max"]?.number, let mean = json["mean"]?.number, let squares = json["squares"]?.number,
            let sketch = json["quantiles"]
        else {
            throw unreadable
        }
        (minimum, maximum, self.mean, self.squares) = (low, high, mean, squares)
        quantiles = try QuantileSketch(json: sketch)
    }
}
