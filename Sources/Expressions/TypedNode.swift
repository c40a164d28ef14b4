import Contracts

/// The types that the language computes with; columns of narrower types are widened when they are read.
enum ScalarType: Sendable, Equatable {
    case bool, int, float, string, date, timestamp

    /// Nil for types the language does not handle (bytes, lists, tensors).
    init?(_ type: DataType) {
        switch type {
        case .bool: self = .bool
        case .int32, .int64: self = .int
        case .float32, .float64: self = .float
        case .string: self = .string
        case .date: self = .date
        case .timestamp: self = .timestamp
        case .bytes, .list, .tensor: return nil
        }
    }

    var dataType: DataType {
        switch self {
        case .bool: .bool
        case .int: .int64
        case .float: .float64
        case .string: .string
        case .date: .date
        case .timestamp: .timestamp
        }
    }
    var isNumber: Bool { self == .int || self == .float }
    var isTime: Bool { self == .date || self == .timestamp }
}

/// The typed tree: every conversion is a node, so that all executions do the same.
indirect enum TypedNode: Sendable {
    case constant(Value, ScalarType)
    /// A column, by its position in `TypedExpression.columns`.
    case column(Int, ScalarType)
    /// int → float.
    case asFloat(TypedNode)
    /// date → timestamp.
    case asTimestamp(TypedNode)
    case negate(TypedNode, ScalarType)
    /// Both sides of type int or both float; `divide` only float.
    case arithmetic(ArithmeticOperator, TypedNode, TypedNode, ScalarType)
    /// timestamp + seconds (float).
    case shift(TypedNode, seconds: TypedNode)
    /// timestamp − timestamp, seconds.
    case elapsed(TypedNode, TypedNode)
    /// All operands of a comparison have its type.
    case compare(ComparisonOperator, TypedNode, TypedNode, ScalarType)
    case between(TypedNode, TypedNode, TypedNode, ScalarType)
    case oneOf(TypedNode, [TypedNode], ScalarType)
    case and(TypedNode, TypedNode)
    case or(TypedNode, TypedNode)
    case not(TypedNode)
    case isNull(TypedNode, ScalarType)
    case choose([(condition: TypedNode, value: TypedNode)], otherwise: TypedNode, ScalarType)
    /// The type is that of the first argument for functions over several types, else that of the result.
    case call(ExpressionFunction, [TypedNode], ScalarType)
}
