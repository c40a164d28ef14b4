import Contracts
import Engines
import Expressions
import TestSupport
import Testing

/// One definition, two executions: the SQL of an expression, run by DuckDB, gives what the evaluator gives, row by row.
@Suite("Expressions in DuckDB and in Swift agree")
struct ExpressionParityTests {
    private let columns: [(name: String, type: DataType)] = [
        ("i", .int64), ("j", .int32), ("k", .int64), ("x", .float64), ("y", .float32), ("z", .float64), ("s", .string), ("u", .string),
        ("b", .bool),
        ("c", .bool), ("t", .timestamp), ("v", .timestamp), ("d", .date),
    ]

    @Test("random expressions over random rows", arguments: (1...8).map(UInt64.init))
    func random(seed: UInt64) throws {
        var source = ExpressionSource(seed: seed)
        let table = try rows(120, &source, wild: true)
        try compare((0..<100).map { _ in source.expression(depth: 4) }, over: table, numbers: false)
    }

    @Test("random expressions, as the number program too", arguments: (50...56).map(UInt64.init))
    func numbers(seed: UInt64) throws {
        var source = ExpressionSource(seed: seed)
        let table = try rows(120, &source, wild: false)
        try compare((0..<100).map { _ in source.expression(depth: 3) }, over: table, numbers: true)
    }

    @Test("every case of the reference, in DuckDB")
    func corners() throws {
        var source = ExpressionSource(seed: 8)
        let texts = [
            "x / 0", "i / 0", "i % 0", "x % 0", "1 / (x * 1e300 * 1e300)", "coalesce(x / 0, 1)", "x / 0 IS NULL", "x / 0 > 1",
            "greatest(x / 0, 1.0)",
            "least(x, y, z)", "power(x / 0, 0)", "nullif(x, 0)", "round(x, 2)", "round(x, -1)", "round(i, -2)", "round(j)", "sign(x)",
            "exp(x) * 0", "sqrt(x)",
            "ln(x)", "log10(x)", "sin(x * 1e308 * 10)", "abs(i)", "-i", "i * i", "i - k", "i % k", "i IN (1, NULL, 2)",
            "i BETWEEN NULL AND 1", "x IN (1, 2, 3)",
            "upper(s)", "lower(s)", "trim(concat(' ', s, ' '))", "length(s)", "substr(s, 2)", "substr(s, 2, 3)", "substr(s, 100)",
            "contains(s, 'a')",
            "contains(s, '')", "starts_with(s, u)", "concat(s, NULL, u)", "s < u", "s = u", "t + x", "t - x", "t + minutes(i)", "t - v",
            "d - t", "d + 1d", "t >= d",
            "t > '2013-04-01'", "d IN ('2013-04-01', NULL)", "hour(t)", "minute(t)", "day(t)", "month(t)", "year(t)", "dayofweek(t)",
            "epoch(t)", "epoch(d)", "date(t)",
            "date(t - 12h)", "year(d)", "coalesce(t, v, d)", "least(t, d)", "b = c", "b IN (TRUE, c)", "NOT b OR c", "if(b, i, x)",
            "CASE WHEN b THEN 1 END",
            "CASE WHEN b THEN x / 0 WHEN c THEN 2 ELSE x END", "NULL", "pi() * y", "5% * x",
            // The same operation twice in one query: an optimizer that shares it must not take it out of its protection.
            "i + k = 0 OR i + k + 1 > 0", "coalesce(i * k, i * k + 1, 0)", "if(b, sqrt(x), sqrt(x) + 1)",
            "coalesce(t + x * 1e300, t + x * 1e300 + 1)",
        ]
        try compare(texts, over: rows(120, &source, wild: true), numbers: false)
        let nested = String(repeating: "sqrt(power(", count: 60) + "z" + String(repeating: ", 2))", count: 60)
        try compare([nested], over: rows(20, &source, wild: false), numbers: true)
    }

    private func compare(_ texts: [String], over table: Table, numbers: Bool) throws {
        let connection = try DuckDB(settings: .init(threads: 1)).connect()
        try connection.insert(table, into: "rows")
        for text in texts {
            let typed = try Expression(parsing: text).typed { name in columns.first { $0.name == name }?.type }
            let sql = typed.sql { "\"r\".\"\($0)\"" }
            let theirs = try connection.query("SELECT \(sql) AS value FROM rows r ORDER BY r.row").columns[0]
            let ours = try typed.evaluate(over: table)
            #expect(theirs.type == ours.type, "\(text)")
            guard let row = (0..<table.rowCount).first(where: { !same(ours[$0], theirs[$0]) }) else {
                if numbers, typed.isNumeric { compareNumbers(typed, ours, table) }
                continue
            }
            let inputs = typed.columns.map { "\($0) = \(table[$0]?[row].description ?? "")" }.joined(separator: ", ")
            Issue.record("\(text) over \(inputs): Swift \(ours[row]), DuckDB \(theirs[row])\n\(sql)")
        }
    }

    private func compareNumbers(_ typed: TypedExpression, _ ours: Column, _ table: Table) {
        let inputs = typed.columns.map { table[$0]?.doubles() ?? [] }
        let expected = ours.doubles() ?? []
        for row in 0..<table.rowCount {
            let number = inputs.map { $0[row] }.withUnsafeBufferPointer { typed.evaluateNumber($0) }
            guard number == expected[row] || (number.isNaN && expected[row].isNaN) else {
                Issue.record("\(typed.source) as a number in row \(row): \(number), as a value \(expected[row])")
                return
            }
        }
    }

    /// Both call the machine's mathematics library, so floats are equal to the bit; 0 and −0 are one value.
    private func same(_ a: Value, _ b: Value) -> Bool {
        if case .double(let x) = a, case .double(let y) = b { return x == y }
        return a == b
    }

    /// Rows with every corner: nulls, zeros, and when `wild` the ends of int64, NaN and infinities.
    private func rows(_ count: Int, _ source: inout ExpressionSource, wild: Bool) throws -> Table {
        var pairs: [(name: String, column: Column)] = [("row", try Column(.int64, values: (0..<count).map { .int(Int64($0)) }))]
        for (name, type) in columns {
            pairs.append((name, try Column(type, values: (0..<count).map { _ in source.value(type, wild: wild) })))
        }
        return try Table(pairs)
    }
}

/// Writes random expressions of a wanted type, and random values.
private struct ExpressionSource {
    private var random: Seeded

    init(seed: UInt64) { random = Seeded(seed) }

    private mutating func below(_ n: Int) -> Int { Int.random(in: 0..<n, using: &random) }
    private mutating func pick<T>(_ items: [T]) -> T { items[below(items.count)] }

    mutating func value(_ type: DataType, wild: Bool) -> Value {
        if below(6) == 0 { return .null }
        switch type {
        case .bool: return .bool(below(2) == 0)
        case .int32: return .int(Int64(below(41) - 20))
        case .int64: return .int(wild && below(4) == 0 ? pick([.max, .min, .max - 1, 1 << 53 + 1, -1, 0]) : Int64(below(41) - 20))
        case .float32: return .double(Double(below(200) - 100) / 8)
        case .float64:
            if wild, below(4) == 0 { return .double(pick([.nan, .infinity, -.infinity, 1e308, -1e308, 1e-300, -0.0, 0.1])) }
            return .double(Double(below(4001) - 2000) / 100)
        case .string: return .string(pick(["", "a", "AA", "Ünited", "straße", "ΑΒΓ", "e\u{301}", "🇫🇷 x", " a ", "it's", "a", "\t"]))
        case .date: return .date(Int32(15_000 + below(2000)))
        default: return .timestamp(Timestamp(microseconds: Int64(below(1_000_000)) * 1_500_000_037 - 20_000_000_000_000))
        }
    }

    mutating func expression(depth: Int) -> String {
        switch below(6) {
        case 0: int(depth)
        case 1, 2: float(depth)
        case 3: text(depth)
        case 4: condition(depth)
        default: time(depth)
        }
    }

    private mutating func number(_ depth: Int) -> String { below(2) == 0 ? int(depth) : float(depth) }

    private mutating func int(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["i", "j", "k", "0", "1", "7", "-3"]) }
        let d = depth - 1
        switch below(10) {
        case 0...2: return "(\(int(d)) \(pick(["+", "-", "*", "%"])) \(int(d)))"
        case 3: return "\(pick(["abs", "round", "sign", "floor"]))(\(int(d)))"
        case 4: return "\(pick(["least", "greatest", "coalesce"]))(\(int(d)), \(int(d)), NULL)"
        case 5: return "CASE WHEN \(condition(d)) THEN \(int(d)) ELSE \(int(d)) END"
        case 6: return "\(pick(["hour", "minute", "day", "month", "year", "dayofweek"]))(\(time(d)))"
        case 7: return "length(\(text(d)))"
        case 8: return "nullif(\(int(d)), \(int(0)))"
        default: return "-\(int(d))"
        }
    }

    private mutating func float(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["x", "y", "z", "0.5", "2e10", "15%", "90s", "1.25"]) }
        let d = depth - 1
        switch below(12) {
        case 0...2: return "(\(float(d)) \(pick(["+", "-", "*", "/", "%"])) \(number(d)))"
        case 3: return "(\(int(d)) / \(int(d)))"
        case 4: return "\(pick(["abs", "round", "floor", "ceil", "sqrt", "ln", "log10", "exp", "sin", "cos"]))(\(float(d)))"
        case 5: return "\(pick(["least", "greatest", "coalesce"]))(\(number(d)), \(float(d)))"
        case 6: return "if(\(condition(d)), \(float(d)), \(number(d)))"
        case 7: return "power(\(number(d)), \(pick(["2", "0.5", "-1", "z"])))"
        case 8: return "nullif(\(float(d)), \(number(0)))"
        case 9: return "(\(time(d)) - \(time(d)))"
        case 10: return "round(\(float(d)), \(pick(["0", "2", "-1"])))"
        default: return pick(["epoch(\(time(d)))", "minutes(\(number(d)))", "-\(float(d))"])
        }
    }

    private mutating func text(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["s", "u", "'a'", "''", "'it''s é'"]) }
        let d = depth - 1
        switch below(6) {
        case 0: return "\(pick(["lower", "upper", "trim"]))(\(text(d)))"
        case 1: return "substr(\(text(d)), \(pick(["1", "2", "3, 2", "1, 0"])))"
        case 2: return "concat(\(text(d)), \(text(d)), NULL)"
        case 3: return "CASE WHEN \(condition(d)) THEN \(text(d)) WHEN \(condition(d)) THEN \(text(d)) END"
        case 4: return "coalesce(\(text(d)), \(text(d)))"
        default: return "nullif(\(text(d)), \(text(0)))"
        }
    }

    private mutating func time(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["t", "v", "d"]) }
        let d = depth - 1
        switch below(5) {
        case 0: return "(\(time(d)) \(pick(["+", "-"])) \(pick(["24h", "hours(\(int(d)))", "minutes(\(float(d)))", "x"])))"
        case 1: return "date(\(time(d)))"
        case 2: return "if(\(condition(d)), \(time(d)), t)"
        default: return pick(["t", "v", "least(\(time(d)), d)", "coalesce(\(time(d)), v)"])
        }
    }

    private mutating func condition(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["b", "c", "TRUE", "NULL"]) }
        let (d, comparison) = (depth - 1, pick(["=", "<>", "<", "<=", ">", ">="]))
        switch below(10) {
        case 0: return "(\(number(d)) \(comparison) \(number(d)))"
        case 1: return "(\(text(d)) \(comparison) \(text(d)))"
        case 2: return "(\(time(d)) \(comparison) \(pick([time(d), "'2013-04-01'"])))"
        case 3: return "(\(condition(d)) AND \(condition(d)))"
        case 4: return "(\(condition(d)) OR \(condition(d)))"
        case 5: return "NOT \(condition(d))"
        case 6: return "(\(pick([number(d), text(d), time(d)])) IS \(pick(["", "NOT "]))NULL)"
        case 7: return "(\(number(d)) \(pick(["", "NOT "]))BETWEEN \(number(d)) AND \(number(d)))"
        case 8:
            return pick([
                "(\(int(d)) IN (1, \(int(d)), NULL))", "(\(text(d)) NOT IN ('a', \(text(d))))", "(\(float(d)) IN (\(float(d)), 0.5))",
            ])
        default: return pick(["contains(\(text(d)), \(text(0)))", "starts_with(\(text(d)), \(text(0)))", "(b = (\(condition(d))))"])
        }
    }
}
