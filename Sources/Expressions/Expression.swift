import Contracts

/// A scalar expression of Keel: features, labels, gates and rollback conditions are all written in this one language.
///
///     arr_delay > 15
///     departures_1h / nullif(departures_24h / 24, 0)
///     CASE WHEN hour(scheduled_departure) BETWEEN 16 AND 19 THEN 1 ELSE 0 END
///     slices.carrier.auc.min >= 0.6 AND latency.p99 < 50ms
///
/// **Grammar.** Numbers; `'text'` (a quote inside is doubled); `TRUE`, `FALSE`, `NULL`; names, which may have dots (`baseline.auc`) and are put
/// in `"` or `` ` `` when they hold other characters; `+ - * / %`; `= == != <> < <= > >=`; `AND OR NOT`; `IS [NOT] NULL`; `[NOT] BETWEEN a AND b`;
/// `[NOT] IN (a, b)`; `CASE WHEN c THEN a ELSE b END`; parentheses; functions (`Expression.functions`). Keywords in any case.
/// A unit directly after digits makes a number: `5%` is 0.05; `50ms`, `90s`, `15m`, `24h`, `7d` (and `us`) are seconds. After a number `%` is the
/// remainder only when an operand follows (`10 % 3`, `n%7`); in `errors > 1% AND …` it is per cent.
///
/// **Meaning**, the same wherever it runs:
/// - Null as in SQL: an operation on null is null; AND, OR, IN and BETWEEN follow three-valued logic; `coalesce`, `least`, `greatest`, `concat` skip nulls.
/// - Whole numbers are int64: `+ - * %` stay whole, and a result beyond int64 is null. `/` always gives float64. Anything divided by zero is null.
/// - No value is NaN or infinite: an operation or column that would be is null.
/// - A timestamp plus or minus a number moves it by that many *seconds* (`minutes(x)`, `24h` are seconds); the difference of two is float64 seconds.
///   A date counts as its midnight UTC; a text literal beside a timestamp or date is read as one.
/// - Texts are compared byte by byte; `length` and `substr` count Unicode scalars.
///
/// Texts of more than 10,000 bytes and trees deeper than 200 levels are refused.
public struct Expression: Sendable, Hashable, CustomStringConvertible {
    /// The text as written.
    public let text: String
    /// The names it refers to, each once, in order of appearance; dotted names joined with dots.
    public let identifiers: [String]
    let root: Syntax

    public static let byteLimit = 10_000
    public static let depthLimit = 200

    /// Parses the text.
    /// - Throws: `invalidArgument` that says what is wrong at which character.
    public init(parsing text: String) throws(KeelError) {
        guard text.utf8.count <= Expression.byteLimit else {
            throw .invalid("the expression has \(text.utf8.count) bytes; at most \(Expression.byteLimit) are allowed")
        }
        var parser = ExpressionParser(tokens: try ExpressionLexer.tokens(of: text), text: text)
        root = try parser.whole()
        self.text = text
        identifiers = parser.identifiers
    }

    public var description: String { text }
    public static func == (a: Expression, b: Expression) -> Bool { a.text == b.text }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }

    /// Checks names and types.
    /// - Parameters:
    ///   - columns: the type of each known name; nil is unknown.
    ///   - known: all known names, to suggest the nearest in errors.
    public func typed(known: [String] = [], _ columns: (String) -> DataType?) throws(KeelError) -> TypedExpression {
        var types: [String: DataType] = [:]
        for name in identifiers { types[name] = columns(name) }
        var typing = ExpressionTyping(text: text, known: known, types: types)
        let (node, type) = try typing.whole(root)
        return TypedExpression(source: self, node: node, scalar: type, slots: typing.slots)
    }

    /// Checks names and types against a contract's columns.
    public func typed(_ schema: Schema) throws(KeelError) -> TypedExpression {
        try typed(known: schema.names) { schema[$0]?.type }
    }

    // MARK: Conditions over named numbers

    /// The value over named numbers: metrics for a gate, measurements for a rollback condition.
    /// - Parameter numbers: a nil or non-finite number is null.
    /// - Throws: when a name is not a key of `numbers` (the hint has the nearest), or types do not fit.
    public func evaluate(numbers: [String: Double?]) throws(KeelError) -> Value {
        let typed = try typed(known: numbers.keys.sorted()) { numbers[$0] == nil ? nil : .float64 }
        let values = typed.columns.map { name in (numbers[name] ?? nil).map(Value.double) ?? .null }
        return typed.evaluate { values[$0] }
    }

    /// Whether a condition holds over named numbers; nil when that cannot be said because a number is missing.
    /// - Throws: as `evaluate(numbers:)`, and when the expression is not a condition.
    public func holds(_ numbers: [String: Double?]) throws(KeelError) -> Bool? {
        let typed = try typed(known: numbers.keys.sorted()) { numbers[$0] == nil ? nil : .float64 }
        guard typed.type == .bool else {
            throw .invalid(
                "'\(text.prefix(200))' is not a condition: its value is a \(typed.type)", hint: "compare it, as in 'auc >= 0.75'")
        }
        if case .bool(let result) = try evaluate(numbers: numbers) { return result }
        return nil
    }
}

/// A parsed node with its place in the text (for errors) and its depth (for the limit).
struct Syntax: Sendable {
    indirect enum Kind: Sendable {
        case literal(Value)
        case name(String)
        case negate(Syntax)
        case arithmetic(ArithmeticOperator, Syntax, Syntax)
        case compare(ComparisonOperator, Syntax, Syntax)
        case and(Syntax, Syntax)
        case or(Syntax, Syntax)
        case not(Syntax)
        case isNull(Syntax)
        case between(Syntax, Syntax, Syntax)
        case oneOf(Syntax, [Syntax])
        case choose([(condition: Syntax, value: Syntax)], otherwise: Syntax?)
        case call(ExpressionFunction, [Syntax])
    }
    let kind: Kind
    /// Byte offset in the text.
    let position: Int
    let depth: Int
}

enum ArithmeticOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case remainder = "%"
}

enum ComparisonOperator: String, Sendable {
    case equal = "="
    case notEqual = "<>"
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="

    @inline(__always) func holds<T: Comparable>(_ a: T, _ b: T) -> Bool {
        switch self {
        case .equal: a == b
        case .notEqual: a != b
        case .less: a < b
        case .lessOrEqual: a <= b
        case .greater: a > b
        case .greaterOrEqual: a >= b
        }
    }
}

/// An error at a place of an expression, counted in characters from 1 as people count.
func expressionError(_ message: String, at position: Int, of text: String, hint: String? = nil) -> KeelError {
    let character = String(decoding: text.utf8.prefix(position), as: UTF8.self).count + 1
    let shown = text.utf8.count <= 160 ? text : text.prefix(160) + "…"
    return .invalid("\(message) at character \(character) of \"\(shown)\"", hint: hint)
}
