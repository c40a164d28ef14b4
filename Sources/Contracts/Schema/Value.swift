/// One value of a column, for rows, literals, parameters and results; bulk data lives in `Column`.
public enum Value: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    /// Days since 1970-01-01.
    case date(Int32)
    case timestamp(Timestamp)
    indirect case list([Value])

    public var isNull: Bool { self == .null }

    /// A number as float64: integers, doubles, and booleans as 0 and 1; nil for all else.
    public var number: Double? {
        switch self {
        case .int(let v): Double(v)
        case .double(let v): v
        case .bool(let v): v ? 1 : 0
        default: nil
        }
    }

    public var integer: Int64? {
        switch self {
        case .int(let v): v
        case .double(let v): Int64(exactly: v)
        default: nil
        }
    }

    public var text: String? {
        if case .string(let v) = self { v } else { nil }
    }

    public var time: Timestamp? {
        switch self {
        case .timestamp(let v): v
        case .date(let days): Timestamp(day: days)
        default: nil
        }
    }
}

extension Value: CustomStringConvertible {
    /// For people and CSV: instants in ISO 8601, null as an empty text.
    public var description: String {
        switch self {
        case .null: ""
        case .bool(let v): v ? "true" : "false"
        case .int(let v): String(v)
        case .double(let v): "\(v)"
        case .string(let v): v
        case .bytes(let v): hexText(v)
        case .date(let v): CivilDate.text(days: v)
        case .timestamp(let v): v.description
        case .list(let v): "[" + v.map(\.description).joined(separator: ", ") + "]"
        }
    }
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(nilLiteral: ()) { self = .null }
}
