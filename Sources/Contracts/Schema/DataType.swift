/// The type of a column. The same words are used in YAML, in the API and in the catalogue.
public indirect enum DataType: Sendable, Hashable, CustomStringConvertible {
    case bool, int32, int64, float32, float64, string, bytes
    /// A calendar day.
    case date
    /// An instant, microseconds, UTC.
    case timestamp
    case list(DataType)
    /// Fixed shape, row-major; −1 in `shape` is a free dimension.
    case tensor(DataType, shape: [Int])

    private static let scalars: [(String, DataType)] = [
        ("bool", .bool), ("int32", .int32), ("int64", .int64), ("float32", .float32), ("float64", .float64),
        ("string", .string), ("bytes", .bytes), ("date", .date), ("timestamp", .timestamp),
    ]

    /// Of a type as text: lists nested deeper than fits here are no type.
    private static let textBytesMax = 200

    /// Reads `float64`, `list<string>`, `tensor<float32, 3x224x224>`.
    public init(parsing text: String) throws(KeelError) {
        guard text.utf8.count <= DataType.textBytesMax else {
            throw .invalid("'\(text.prefix(60))…' is not a type: it is longer than \(DataType.textBytesMax) bytes")
        }
        let trimmed = text.filter { $0 != " " }
        if let scalar = DataType.scalars.first(where: { $0.0 == trimmed }) {
            self = scalar.1
            return
        }
        if trimmed.hasPrefix("list<"), trimmed.hasSuffix(">") {
            self = .list(try DataType(parsing: String(trimmed.dropFirst(5).dropLast())))
            return
        }
        if trimmed.hasPrefix("tensor<"), trimmed.hasSuffix(">") {
            let parts = trimmed.dropFirst(7).dropLast().split(separator: ",", maxSplits: 1)
            if parts.count == 2, let scalar = DataType.scalars.first(where: { $0.0 == parts[0] }) {
                let shape = parts[1].split(separator: "x").map { Int($0) }
                if !shape.isEmpty, shape.allSatisfy({ ($0 ?? 0) > 0 || $0 == -1 }) {
                    self = .tensor(scalar.1, shape: shape.compactMap { $0 })
                    return
                }
            }
        }
        let known = DataType.scalars.map(\.0)
        throw .invalid(
            "'\(text.prefix(60))' is not a type",
            hint: nearest(trimmed, in: known).map { "did you mean '\($0)'?" }
                ?? "the types are \(known.joined(separator: ", ")), list<type> and tensor<type, 3x224>")
    }

    /// How many values an array of this shape holds; nil when a size is free, or when there are more than a number of 64 bits can count.
    public static func valueCount(of shape: [Int]) -> Int? {
        var count = 1
        for size in shape {
            let (product, hasOverflow) = count.multipliedReportingOverflow(by: size)
            guard size >= 0, !hasOverflow else { return nil }
            count = product
        }
        return count
    }

    public var description: String {
        switch self {
        case .list(let element): "list<\(element)>"
        case .tensor(let element, let shape): "tensor<\(element), \(shape.map(String.init).joined(separator: "x"))>"
        default: DataType.scalars.first { $0.1 == self }?.0 ?? ""
        }
    }

    /// Whether a column of this type can hold `value`: null always, integers also as floats.
    ///
    /// - Throws: `invalidArgument` that says what does not fit.
    public func check(_ value: Value) throws(KeelError) {
        let fits: Bool
        switch (self, value) {
        case (_, .null), (.bool, .bool), (.int64, .int), (.string, .string), (.bytes, .bytes), (.date, .date), (.timestamp, .timestamp):
            fits = true
        case (.int32, .int(let x)):
            guard Int32(exactly: x) != nil else { throw .invalid("\(x) does not fit in int32") }
            fits = true
        case (.float32, _), (.float64, _): fits = value.number != nil
        case (.list(let element), .list(let items)), (.tensor(let element, _), .list(let items)):
            for item in items { try element.check(item) }
            fits = true
        default: fits = false
        }
        guard fits else { throw .invalid("\(value) is not a \(self)") }
    }

    public var isNumeric: Bool {
        switch self {
        case .int32, .int64, .float32, .float64: true
        default: false
        }
    }
    public var isInteger: Bool { self == .int32 || self == .int64 }
}
