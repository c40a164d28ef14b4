import Contracts

extension TypedExpression {
    /// DuckDB SQL that gives the same values as `evaluate`.
    ///
    /// Timestamp columns must be `TIMESTAMP` (UTC instants): parts of a `TIMESTAMP WITH TIME ZONE` would depend on the session.
    /// - Parameter column: the quoted reference of a column, such as `"e"."dep_delay"`.
    public func sql(_ column: (String) -> String) -> String {
        ExpressionSQL(columns: columns.map(column), types: columnTypes).finite(node)
    }
}

/// Writes the typed tree as SQL.
///
/// `+ - *` let infinities and NaN pass, for what they are part of is not finite either; wherever they could turn into something else
/// (comparison, divisor, function, result) `finite` makes them null. It mentions its operand once, or the text would double at each level.
/// Whole numbers are computed as HUGEINT where they might overflow. `TRY(…)` and `TRY_CAST(…)` would be shorter, but DuckDB's optimizer (1.5) moves an
/// operation that occurs twice out of its TRY, and then the query fails; and it compares what is inside a TRY_CAST as if it could not fail.
struct ExpressionSQL {
    let references: [String]
    let types: [DataType]

    init(columns: [String], types: [DataType]) {
        references = zip(columns, types).map { ExpressionSQL.reference($0, $1) }
        self.types = types
    }

    private static func reference(_ text: String, _ type: DataType) -> String {
        switch type {
        case .int32: "CAST(\(text) AS BIGINT)"
        case .float32: "CAST(\(text) AS DOUBLE)"
        default: text
        }
    }

    /// The SQL of a node whose value is null where it would not be finite.
    func finite(_ node: TypedNode) -> String { ExpressionSQL.mayBeInfinite(node) ? keeping(node) { "isfinite(\($0))" } : sql(node) }

    /// The SQL of a node whose value is null where a condition on it does not hold.
    private func keeping(_ node: TypedNode, where condition: (String) -> String) -> String {
        let text = sql(node)
        switch node {
        case .column, .asFloat(.column): return "CASE WHEN \(condition(text)) THEN \(text) END"
        default: return "list_filter([\(text)], lambda keel_v: \(condition("keel_v")))[1]"
        }
    }

    /// How many bits a whole number may need, sign included; more than 64 may overflow.
    private func bits(_ node: TypedNode) -> Int {
        switch node {
        case .constant(.int(let value), _): return 65 - value.leadingZeroBitCount
        case .column(let slot, _): return types[slot] == .int32 ? 32 : 64
        case .negate(let inner, _): return bits(inner) + 1
        case .arithmetic(.multiply, let a, let b, _): return bits(a) + bits(b)
        case .arithmetic(.remainder, _, let b, _): return bits(b)
        case .arithmetic(_, let a, let b, _): return max(bits(a), bits(b)) + 1
        case .choose(let branches, let otherwise, _): return branches.reduce(bits(otherwise)) { max($0, bits($1.value)) }
        case .call(let function, let arguments, _):
            switch function {
            case .year, .month, .day, .dayofweek, .hour, .minute, .sign, .length: return 33
            case .least, .greatest, .coalesce: return arguments.reduce(0) { max($0, bits($1)) }
            case .abs: return bits(arguments[0]) + 1
            default: return 64
            }
        default: return 64
        }
    }

    /// A whole-number operation: as it is when it cannot overflow, else as HUGEINT, null when it does not come back into BIGINT.
    private func whole(_ node: TypedNode, _ first: TypedNode, _ write: (String) -> String) -> String {
        fits(node) ? "(\(write(operand(first))))" : ExpressionSQL.narrowed(write("CAST(\(sql(first)) AS HUGEINT)"))
    }

    private func fits(_ node: TypedNode) -> Bool {
        // Its result is small, but int64's minimum % −1 is an error in DuckDB.
        if case .arithmetic(.remainder, let a, let b, _) = node {
            if case .constant = b { return true }
            return bits(a) < 64
        }
        return bits(node) <= 64
    }

    /// A HUGEINT as BIGINT, null outside the range. The cast itself never fails, so it does no harm wherever an optimizer moves it.
    private static func narrowed(_ text: String, to range: ClosedRange<Int64> = .min ... .max) -> String {
        let bounds = "(\(range.lowerBound))::HUGEINT AND \(range.upperBound)::HUGEINT"
        return "CAST(list_filter([\(text)], lambda keel_v: keel_v BETWEEN \(bounds))[1] AS BIGINT)"
    }

    private static func mayBeInfinite(_ node: TypedNode) -> Bool {
        switch node {
        case .column(_, let type): type == .float
        case .negate(let inner, let type): type == .float && mayBeInfinite(inner)
        case .arithmetic(_, _, _, let type): type == .float
        case .choose(let branches, let otherwise, let type):
            type == .float && (mayBeInfinite(otherwise) || branches.contains { mayBeInfinite($0.value) })
        case .call(let function, let arguments, let type):
            switch function {
            case .exp, .power, .seconds, .minutes, .hours, .days: true
            case .round: type == .float && arguments.count == 1 && mayBeInfinite(arguments[0])
            case .abs, .floor, .ceil: type == .float && mayBeInfinite(arguments[0])
            default: false
            }
        default: false
        }
    }

    func sql(_ node: TypedNode) -> String {
        switch node {
        case .constant(let value, let type): return ExpressionSQL.constant(value, type)
        case .column(let slot, _): return references[slot]
        case .asFloat(let inner): return "CAST(\(sql(inner)) AS DOUBLE)"
        case .asTimestamp(let inner):
            let days =
                "DATE '\(CivilDate.text(days: CivilDate.range.lowerBound))' AND DATE '\(CivilDate.text(days: CivilDate.range.upperBound))'"
            return "TRY_CAST(\(keeping(inner) { "\($0) BETWEEN \(days)" }) AS TIMESTAMP)"
        case .negate(let inner, let type): return type == .int ? whole(node, inner) { "-\($0)" } : "(-\(operand(inner)))"
        case .arithmetic(let operation, let a, let b, let type):
            if type == .int { return whole(node, a) { "\($0) \(operation.rawValue) \(operand(b))" } }
            let divides = operation == .divide || operation == .remainder
            return "(\(operand(a)) \(operation.rawValue) \(divides ? "(\(finite(b)))" : operand(b)))"
        case .shift(let time, let seconds):
            let by = "TRY_CAST(round(\(sql(seconds)) * 1e6) AS BIGINT)"
            return "make_timestamp(\(ExpressionSQL.narrowed("CAST(epoch_us(\(sql(time))) AS HUGEINT) + \(by)", to: Timestamp.range)))"
        case .elapsed(let a, let b):
            return "(\(ExpressionSQL.narrowed("CAST(epoch_us(\(sql(a))) AS HUGEINT) - epoch_us(\(sql(b)))")) / 1e6)"
        case .compare(let comparison, let a, let b, _): return "((\(finite(a))) \(comparison.rawValue) (\(finite(b))))"
        case .between(let x, let low, let high, _): return "((\(finite(x))) BETWEEN (\(finite(low))) AND (\(finite(high))))"
        case .oneOf(let x, let items, _): return "((\(finite(x))) IN (\(items.map(finite).joined(separator: ", "))))"
        case .and(let a, let b): return "(\(sql(a)) AND \(sql(b)))"
        case .or(let a, let b): return "(\(sql(a)) OR \(sql(b)))"
        case .not(let inner): return "(NOT \(sql(inner)))"
        case .isNull(let inner, _): return "((\(finite(inner))) IS NULL)"
        case .choose(let branches, let otherwise, _):
            let cases = branches.map { "WHEN \(sql($0.condition)) THEN \(sql($0.value))" }.joined(separator: " ")
            return "CASE \(cases) ELSE \(sql(otherwise)) END"
        case .call(let function, let arguments, let type): return call(function, arguments, type)
        }
    }

    private func operand(_ node: TypedNode) -> String {
        if case .column = node { sql(node) } else { "(\(sql(node)))" }
    }

    private func call(_ function: ExpressionFunction, _ arguments: [TypedNode], _ type: ScalarType) -> String {
        let list = { arguments.map(finite).joined(separator: ", ") }
        switch function {
        case .sqrt, .ln, .log10:
            let comparison = function == .sqrt ? ">=" : ">"
            return "\(function.rawValue)(\(keeping(arguments[0]) { "isfinite(\($0)) AND \($0) \(comparison) 0" }))"
        case .floor, .ceil: return type == .int ? sql(arguments[0]) : "\(function.rawValue)(\(sql(arguments[0])))"
        case .abs:
            return type == .int ? whole(.call(function, arguments, type), arguments[0]) { "abs(\($0))" } : "abs(\(sql(arguments[0])))"
        case .round:
            guard arguments.count == 2, case .constant(.int(let digits), _) = arguments[1] else {
                return type == .int ? sql(arguments[0]) : "round(\(sql(arguments[0])))"
            }
            // DuckDB rounds an infinity to tens as 0.
            return "round(\(finite(arguments[0])), \(digits))"
        case .sign: return "CAST(sign(\(list())) AS BIGINT)"
        case .seconds, .minutes, .hours, .days: return "(\(operand(arguments[0])) * \(function.secondsPerUnit ?? 1)e0)"
        case .epoch: return "(epoch_us(\(list())) / 1e6)"
        case .date: return "CAST(\(list()) AS DATE)"
        case .trim: return "trim(\(list()), ' ' || chr(9) || chr(10) || chr(13))"
        case .substr:
            let numbers = arguments.dropFirst().map { node in if case .constant(let value, _) = node { value.description } else { "" } }
            return "substr(\(([sql(arguments[0])] + numbers).joined(separator: ", ")))"
        case .power: return "pow(\(list()))"
        default: return "\(function.rawValue)(\(list()))"
        }
    }

    private static func constant(_ value: Value, _ type: ScalarType) -> String {
        switch value {
        case .bool(let v): return v ? "TRUE" : "FALSE"
        case .int(let v): return "\(v)::BIGINT"
        // With an exponent the literal is a DOUBLE; without one it would be a DECIMAL.
        case .double(let v): return "\(v)".contains("e") ? "\(v)" : "\(v)e0"
        case .string(let v): return "'" + v.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
        case .date(let v): return "DATE '\(CivilDate.text(days: v))'"
        case .timestamp(let v): return "make_timestamp(\(v.microseconds)::BIGINT)"
        default:
            let name =
                switch type {
                case .bool: "BOOLEAN"
                case .int: "BIGINT"
                case .float: "DOUBLE"
                case .string: "VARCHAR"
                case .date: "DATE"
                case .timestamp: "TIMESTAMP"
                }
            return "CAST(NULL AS \(name))"
        }
    }
}
