import Contracts
import Storage

/// The truth of a prediction: true or false, a whole number, a number, or a text such as a class.
public enum Label: Sendable, Hashable {
    case bool(Bool)
    case integer(Int64)
    case double(Double)
    case text(String)

    /// The types of labels, by the names that columns have for them.
    enum Kind: String, Sendable, CaseIterable {
        case bool, int64, float64, string

        var type: DataType {
            switch self {
            case .bool: .bool
            case .int64: .int64
            case .float64: .float64
            case .string: .string
            }
        }

        /// By the column `label_type`; labels of a version before labels had types are numbers.
        init(_ row: SQLRow) { self = row.optionalText("label_type").flatMap(Kind.init(rawValue:)) ?? .float64 }

        /// The type that takes labels of all of these types: of truth values and numbers a number, of others a text.
        static func common(_ kinds: Set<Kind>) -> Kind {
            if kinds.contains(.string) { return .string }
            if kinds.contains(.float64) || kinds.isEmpty { return .float64 }
            return kinds.contains(.int64) ? .int64 : .bool
        }
    }

    public static let textBytesMax = 1000

    /// - Throws: `invalidArgument` for what is no label: null, a list, an object, a number without an end, a text that is empty or too long.
    public init(_ json: JSON) throws(KeelError) {
        switch json {
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .integer(value)
        case .double(let value): self = .double(value)
        case .string(let value): self = .text(value)
        default: throw .invalid("a label is a number, true, false or a text, and not \(json.kind)")
        }
        try check()
    }

    func check() throws(KeelError) {
        switch self {
        case .double(let value) where !value.isFinite: throw .invalid("a label must be a finite number")
        case .text(let value) where value.isEmpty || value.utf8.count > Label.textBytesMax || value.utf8.contains(0):
            throw .invalid("a text as a label has 1 to \(Label.textBytesMax) bytes, none of them zero")
        default: return
        }
    }

    /// As a number: true is 1; nil for a text.
    public var number: Double? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .integer(let value): Double(value)
        case .double(let value): value
        case .text: nil
        }
    }

    public var value: Value {
        switch self {
        case .bool(let value): .bool(value)
        case .integer(let value): .int(value)
        case .double(let value): .double(value)
        case .text(let value): .string(value)
        }
    }

    /// Whether this is what a model answered. Nil when the two cannot be compared: one is a text and the other is not, or the answer is a list or missing.
    public func equals(_ answer: Value) -> Bool? {
        switch (self, answer) {
        case (.text(let label), .string(let answer)): label == answer
        case (.integer(let label), .int(let answer)): label == answer
        case (.text, _): nil
        default: answer.number.flatMap { answer in number.map { $0 == answer } }
        }
    }
}

extension Label: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral {
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .text(value) }
}

extension Label: CustomStringConvertible {
    /// As it is posted: a text in quotation marks.
    public var description: String { JSON(value).text }
}

// MARK: Storing

extension Label {
    var kind: Kind {
        switch self {
        case .bool: .bool
        case .integer: .int64
        case .double: .float64
        case .text: .string
        }
    }

    /// The columns `label`, `label_text` and `label_type`: what it is as a number, and exactly where a number may not be.
    var stored: [Value] {
        let text: Value =
            switch self {
            case .integer(let value): .string(String(value))
            case .text(let value): .string(value)
            default: .null
            }
        return [number.map(Value.double) ?? .null, text, .string(kind.rawValue)]
    }

    /// Reads what `stored` wrote; nil when there is no label.
    init?(_ row: SQLRow) {
        let number = row.optionalDouble("label")
        switch Kind(row) {
        case .bool: if let number { self = .bool(number != 0) } else { return nil }
        case .float64: if let number { self = .double(number) } else { return nil }
        case .int64: if let value = row.optionalText("label_text").flatMap({ Int64($0) }) { self = .integer(value) } else { return nil }
        case .string: if let text = row.optionalText("label_text") { self = .text(text) } else { return nil }
        }
    }
}

/// What the labels of endpoints must be.
struct LabelRules: Sendable {
    /// The endpoints whose labels are 0 or 1, because a monitor measures them so.
    var binary: Set<ResourceRef> = []
    /// How long after its prediction's event time a label may become known, where an endpoint says so.
    var within: [ResourceRef: TimeSpan] = [:]

    var isEmpty: Bool { binary.isEmpty && within.isEmpty }

    /// Why a label cannot be one of a prediction; nil when it can.
    func refusal(of label: Label, at: Timestamp, _ endpoint: ResourceRef, eventTime: Timestamp) -> String? {
        if binary.contains(endpoint), label.number != 0, label.number != 1 {
            return "\(label) is neither 0 nor 1, which a monitor of the endpoint '\(endpoint.qualifiedName)' measures its performance by"
        }
        if let within = within[endpoint], at > eventTime + within {
            return """
                it became known at \(at), later than \(within) after its prediction of \(eventTime), which is how long the endpoint \
                '\(endpoint.qualifiedName)' takes labels (label.within)
                """
        }
        return nil
    }
}
