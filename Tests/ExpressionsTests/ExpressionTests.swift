import Contracts
import Expressions
import Testing

/// Columns of the rows below: every type, with and without values.
private let schema = Schema([
    Field("a", .int64), Field("b", .int32), Field("x", .float64), Field("y", .float32), Field("s", .string), Field("flag", .bool),
    Field("t", .timestamp), Field("d", .date), Field("none", .int64), Field("nothing", .float64), Field("mean_delay_24h", .float64),
    Field("raw", .bytes),
])
private let row: [String: Value] = [
    "a": 7, "b": 3, "x": 2.5, "y": 0.5, "s": "Ünited 'AA'", "flag": true, "t": .timestamp(Timestamp("2013-04-06T17:45:30.5Z")!),
    "d": .date(15_801), "mean_delay_24h": 12.0,
]

/// The value over the row above; the number program must agree with the evaluator wherever it can run.
private func value(_ text: String) throws -> Value {
    let typed = try Expression(parsing: text).typed(schema)
    let result = typed.evaluate { row[typed.columns[$0]] ?? .null }
    if typed.isNumeric {
        let slots: [Double] = typed.columns.map { name in
            switch row[name] ?? .null {
            case .timestamp(let t): Double(t.microseconds)
            case .date(let d): Double(d)
            case let other: other.number ?? .nan
            }
        }
        let number = slots.withUnsafeBufferPointer { typed.evaluateNumber($0) }
        switch result {
        case .null: #expect(number.isNaN, "\(text) is null, as a number \(number)")
        case .timestamp(let t): #expect(number == Double(t.microseconds), "\(text)")
        case .date(let d): #expect(number == Double(d), "\(text)")
        default: #expect(number == result.number, "\(text)")
        }
    }
    return result
}

@Suite("The expression language")
struct ExpressionTests {
    @Test(
        "precedence is that of SQL",
        arguments: [
            ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("-a + 10", 3), ("- - a", 7), ("10 - 3 - 2", 5), ("8 % 5 % 2", 1), ("2 * a % 4", 2),
            ("NOT a = 7 OR flag", true), ("TRUE OR FALSE AND FALSE", true), ("NOT FALSE AND FALSE", false),
            ("a BETWEEN 1 AND 3 OR flag", true),
            ("a + 1 = b + 5", true), ("a NOT IN (1, 2) and a is not null", true), ("case when a > 5 then 1 else 2 end + 1", 2),
            ("7 / 2", 3.5),
            ("10%3", 1), ("n = 1", nil), ("1e2", 100.0), (".5 + 1.", 1.5),
        ] as [(String, Value?)])
    func precedence(text: String, expected: Value?) throws {
        guard let expected else {
            #expect(throws: KeelError.self) { try value(text) }
            return
        }
        #expect(try value(text) == expected)
    }

    @Test(
        "units directly after digits are numbers",
        arguments: [
            ("1%", 0.01), ("50ms", 0.05), ("24h", 86_400), ("1.5m", 90), ("7d", 604_800), ("250us", 0.00025), ("5% * 2", 0.1),
            ("x * 10%", 0.25),
            ("if(x > 1% and flag, 1.0, 0.0)", 1),
        ] as [(String, Double)])
    func units(text: String, expected: Double) throws {
        #expect(try value(text) == .double(expected))
    }

    @Test(
        "null is neither true nor false",
        arguments: [
            ("none = 1", .null), ("none + a", .null), ("none = 1 OR flag", true), ("none = 1 AND flag", .null),
            ("none = 1 AND NOT flag", false),
            ("NOT (none = 1)", .null), ("none IS NULL", true), ("a IS NOT NULL", true), ("none IN (1, 2)", .null), ("a IN (7, none)", true),
            ("a IN (1, none)", .null), ("a NOT IN (1, NULL)", .null), ("a BETWEEN none AND 3", false), ("a BETWEEN none AND 30", .null),
            ("coalesce(none, NULL, a)", 7), ("least(none, a, b)", 3), ("greatest(none, NULL)", .null), ("nullif(a, 7)", .null),
            ("nullif(a, none)", 7),
            ("if(none = 1, 1, 2)", 2), ("CASE WHEN none = 1 THEN 1 END", .null), ("concat(s, NULL, '!')", "Ünited 'AA'!"),
            ("length(NULL)", .null),
            ("power(nothing, 0)", .null), ("sign(nothing)", .null), ("hour(NULL)", .null), ("t + none", .null), ("NULL", .null),
            ("-none", .null),
        ] as [(String, Value)])
    func nulls(text: String, expected: Value) throws {
        #expect(try value(text) == expected)
    }

    @Test(
        "no result is infinite, and nothing overflows",
        arguments: [
            "a / 0", "x / 0", "a % 0", "x % 0", "9223372036854775807 + a", "9223372036854775807 * 2", "-9223372036854775807 - 2",
            "1e308 * 10",
            "sqrt(-1)", "ln(0)", "log10(-1)", "exp(1000)", "power(-1, 0.5)", "power(0, -1)", "1 / (1e308 * 10)", "t + 1e300",
            "1e308 + 1e308 - 1e308",
        ])
    func finite(text: String) throws {
        #expect(try value(text) == .null)
    }

    @Test(
        "functions",
        arguments: [
            ("abs(-a)", 7), ("round(2.5)", 3.0), ("round(-2.5)", -3.0), ("round(3.14159, 2)", 3.14), ("round(1250, -2)", 1300),
            ("floor(-x)", -3.0),
            ("ceil(x)", 3.0), ("sqrt(16)", 4.0), ("ln(exp(1))", 1.0), ("log10(1000)", 3.0), ("power(2, 10)", 1024.0), ("sign(-x)", -1),
            ("least(a, x)", 2.5), ("lower(s)", "ünited 'aa'"), ("upper('straße')", "STRAẞE"), ("trim('  x\t\n ')", "x"), ("length(s)", 11),
            ("substr(s, 2, 3)", "nit"), ("substr(s, 9)", "AA'"), ("contains(s, 'AA')", true), ("contains(s, 'UA')", false),
            ("starts_with(s, 'Ün')", true),
            ("s = 'Ünited ''AA'''", true), ("'a' < 'B'", false), ("hour(t)", 17), ("minute(t)", 45), ("day(t)", 6), ("month(t)", 4),
            ("year(d)", 2013),
            ("dayofweek(t)", 6), ("epoch(t)", 1_365_270_330.5), ("date(t) = '2013-04-06'", true), ("t - d", 63_930.5),
            ("t + minutes(30) > '2013-04-06T18:15:30'", true),
            ("hour(t - 24h + hours(1))", 18), ("d + 1d = '2013-04-07'", true), ("t >= '2013-04-06'", true),
            ("d BETWEEN '2013-04-01' AND '2013-04-06'", true),
            ("cos(pi())", -1.0), ("y", 0.5), ("d", .date(15_801)), ("`mean_delay_24h` * 2", 24.0), ("\"x\"", 2.5),
        ] as [(String, Value)])
    func functions(text: String, expected: Value) throws {
        #expect(try value(text) == expected)
    }

    @Test(
        "errors say what is wrong, where, and what to do",
        arguments: [
            ("", "empty", ""), ("1 +", "expected a value but found the end at character 4", ""),
            ("a b", "expected an operator or the end but found 'b' at character 3", ""),
            ("rond(x)", "no function 'rond' at character 1", "did you mean 'round'?"),
            ("xx + 1", "no 'xx' at character 1", "did you mean 'x'?"),
            ("a < b < x", "comparisons cannot be chained at character 7", "AND"),
            ("s + 1", "'+' does not work on string and int64 at character 3", "concat"),
            ("flag + 1", "'+' does not work on bool and int64", "if(condition, 1, 0)"),
            ("a AND flag", "AND needs a condition, not a int64 at character 1", "compare"),
            ("s > 5", "cannot bring string and int64 together", ""),
            ("round(x, b)", "written out here at character 10", "round(number[, digits])"),
            ("15x", "'15x' is not a number", "units"), ("'abc", "no closing '", ""), ("a && b", "'&' is not part", "write AND"),
            ("t = 'noon'", "'noon' is not a time", "2013"),
            ("if(flag, 1, 'x')", "cannot bring int64 and string together", ""),
            ("hour(a)", "hour needs a timestamp, not a int64", "hour(timestamp)"),
            ("power(1)", "power does not take 1 argument", "power(base, exponent)"), ("raw = 1", "is a bytes", ""),
            ("a IN ()", "list of IN is empty", ""),
            ("a.", "a name must follow the dot", ""), ("end + 1", "expected a value but found 'end'", "double quotes"),
            ("CASE a WHEN 1 THEN 2 END", "expected WHEN", "CASE WHEN"),
            ("1e999", "not a number that float64 can hold", ""),
            ("nullif(nullif(nullif(nullif(nullif(nullif(nullif(nullif(nullif(a,1),1),1),1),1),1),1),1),1)", "nested more than 8", "CASE"),
        ])
    func errors(text: String, message: String, hint: String) {
        let error = #expect(throws: KeelError.self) { try Expression(parsing: text).typed(schema) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(hint.isEmpty || error?.hint?.contains(hint) == true, "\(error?.hint ?? "no hint")")
    }

    @Test("names are listed once, in order, with their dots")
    func identifiers() throws {
        let expression = try Expression(parsing: "slices.carrier.9E.auc >= auc - 0.1 AND \"odd name\".p99 < auc AND TRUE")
        #expect(expression.identifiers == ["slices.carrier.9E.auc", "auc", "odd name.p99"])
        #expect(expression.description.hasPrefix("slices"))
    }

    @Test("gate and rollback conditions run over named numbers")
    func conditions() throws {
        let gate = try Expression(parsing: "auc >= baseline.auc - 0.005")
        #expect(try gate.holds(["auc": 0.75, "baseline.auc": 0.754]) == true)
        #expect(try gate.holds(["auc": 0.74, "baseline.auc": 0.754]) == false)
        #expect(try gate.holds(["auc": 0.74, "baseline.auc": nil]) == nil)
        #expect(try gate.holds(["auc": 0.74, "baseline.auc": .nan]) == nil)
        #expect(try Expression(parsing: "errors > 1%").holds(["errors": 0.02]) == true)
        #expect(try Expression(parsing: "latency.p99 > 50ms").holds(["latency.p99": 0.012]) == false)
        #expect(try Expression(parsing: "1 - auc").evaluate(numbers: ["auc": 0.75]) == 0.25)
        let unknown = #expect(throws: KeelError.self) { try gate.holds(["aucc": 1, "baseline.auc": 1]) }
        #expect(unknown?.hint == "did you mean 'aucc'?")
        #expect(throws: KeelError.self) { try Expression(parsing: "auc - 1").holds(["auc": 1]) }
    }

    @Test("a table is computed column by column, and must be what was checked")
    func tables() throws {
        let table = try Table([
            ("arr_delay", Column(.float64, values: [20, nil, 15, 15.5])), ("carrier", Column(.string, values: ["UA", "AA", nil, "UA"])),
        ])
        let columns: (String) -> DataType? = { table[$0]?.type }
        let late = try Expression(parsing: "arr_delay > 15").typed(columns).evaluate(over: table)
        #expect((0..<4).map { late[$0] } == [true, .null, false, true])
        let label = try Expression(parsing: "concat(lower(carrier), '-', if(arr_delay > 15, 'late', 'fine'))").typed(columns).evaluate(
            over: table)
        #expect((0..<4).map { label[$0] } == ["ua-late", "aa-fine", "-fine", "ua-late"])
        let other = try Expression(parsing: "arr_delay + 1").typed { _ in .int64 }
        #expect(throws: KeelError.self) { try other.evaluate(over: table) }
        #expect(try other.evaluate(over: Table([("arr_delay", Column(.int64))])).count == 0)
    }

    @Test("SQL names columns as it is told, with decimals as float64")
    func sql() throws {
        let typed = try Expression(parsing: "arr_delay > 15 AND carrier IN ('UA', 'O''B')").typed { $0 == "carrier" ? .string : .int64 }
        #expect(typed.sql { "\"e\".\"\($0)\"" } == #"((("e"."arr_delay") > (15::BIGINT)) AND (("e"."carrier") IN ('UA', 'O''B')))"#)
        #expect(try Expression(parsing: "0.5 + 1e300").typed { _ in nil }.sql { $0 }.contains("(0.5e0) + (1e+300)"))
    }
}
