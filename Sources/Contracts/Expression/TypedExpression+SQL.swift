extension TypedExpression {
    /// DuckDB SQL that gives the same values as `evaluate`.
    ///
    /// Timestamp columns must be `TIMESTAMP` (UTC instants): parts of a `TIMESTAMP WITH TIME ZONE` would depend on the session.
    /// - Parameter column: the quoted reference of a column, such as `"e"."dep_delay"`.
    public func sql(_ column: (String) -> String) -> String {
        ExpressionSQL(references: zip(columns, columnTypes).map { ExpressionSQL.reference(column($0), $1) }).finite(node)
    }
}

/// Writes the typed tree as SQL.
///
/// `+ - *` let infinities and NaN pass, for what they are part of is not finite either; wherever they could turn into something else
/// (comparison, divisor, function, result) `finite` makes them null. It mentions its operand once, or the text would double at each level.
struct ExpressionSQL {
    let references: [String]

    static func reference(_ text: String, _ type: DataType) -> String {
        switch type {
        case .int32: "CAST(\(text) AS BIGINT)"
        case .float32: "CAST(\(text) AS DOUBLE)"
        default: text
        }
    }

    /// The SQL of a node whose value is null where it would not be finite.
    func finite(_ node: TypedNode) -> String {
        let text = sql(node)
        guard ExpressionSQL.mayBeInfinite(node) else { return text }
        if case .column = node { return "CASE WHEN isfinite(\(text)) THEN \(text) END" }
        return "list_filter([\(text)], lambda keel_v: isfinite(keel_v))[1]"
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
            case .abs, .round, .floor, .ceil, .sqrt, .ln, .log10: type == .float && mayBeInfinite(arguments[0])
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
        case .asTimestamp(let inner): return "CAST(\(sql(inner)) AS TIMESTAMP)"
        case .negate(let inner, let type): return type == .int ? "TRY(-\(operand(inner)))" : "(-\(operand(inner)))"
        case .arithmetic(let operation, let a, let b, let type):
            if type == .int { return "TRY(\(operand(a)) \(operation.rawValue) \(operand(b)))" }
            let divides = operation == .divide || operation == .remainder
            return "(\(operand(a)) \(operation.rawValue) \(divides ? "(\(finite(b)))" : operand(b)))"
        case .shift(let time, let seconds):
            return "TRY(make_timestamp(epoch_us(\(sql(time))) + CAST(round(\(sql(seconds)) * 1e6) AS BIGINT)))"
        case .elapsed(let a, let b): return "(TRY(epoch_us(\(sql(a))) - epoch_us(\(sql(b)))) / 1e6)"
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
        case .sqrt, .ln, .log10: return "TRY(\(function.rawValue)(\(sql(arguments[0]))))"
        case .floor, .ceil: return type == .int ? sql(arguments[0]) : "\(function.rawValue)(\(sql(arguments[0])))"
        case .abs: return type == .int ? "TRY(abs(\(sql(arguments[0]))))" : "abs(\(sql(arguments[0])))"
        case .round:
            guard arguments.count == 2, case .constant(.int(let digits), _) = arguments[1] else {
                return type == .int ? sql(arguments[0]) : "round(\(sql(arguments[0])))"
            }
            return "round(\(sql(arguments[0])), \(digits))"
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
