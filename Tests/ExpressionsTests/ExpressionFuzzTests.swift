import Contracts
import Expressions
import TestSupport
import Testing

@Suite("Hostile expressions")
struct ExpressionFuzzTests {
    @Test(
        "depth and length are limited, on any thread",
        arguments: [
            String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 4999), String(repeating: "-", count: 9000) + "1",
            String(repeating: "NOT ", count: 2000) + "TRUE", "1" + String(repeating: "+1", count: 4000),
            "TRUE" + String(repeating: " AND TRUE", count: 1000),
            String(repeating: "abs(", count: 1000) + "1" + String(repeating: ")", count: 1000), String(repeating: "CASE WHEN ", count: 900),
            "1" + String(repeating: " IS NULL", count: 1000), String(repeating: "x", count: 10_001),
        ])
    func limits(text: String) async {
        let error = await Task.detached { () -> KeelError? in
            do throws(KeelError) {
                _ = try Expression(parsing: text)
                return nil
            } catch { return error }
        }.value
        #expect(error?.code == .invalidArgument)
    }

    @Test("200 levels are allowed, and run")
    func deep() throws {
        let text = String(repeating: "(", count: 199) + "x" + String(repeating: "+1)", count: 199)
        let typed = try Expression(parsing: text).typed { _ in .float64 }
        #expect(typed.evaluate { _ in 1 } == 200.0)
        #expect([1.0].withUnsafeBufferPointer { typed.evaluateNumber($0) } == 200)
        #expect(typed.sql { $0 }.utf8.count < 10_000)
    }

    @Test("random texts never crash the parser or the type check, and what parses once parses again")
    func fuzz() {
        var random = Seeded(31)
        let words = [
            "1", "2.5", "1%", "50ms", "'t'", "''", "x", "s", "t", "a.b", "\"q\"", "`r`", "+", "-", "*", "/", "%", "(", ")", ",", "=", "<>",
            "<", ">=", "AND", "or",
            "NOT", "IS", "NULL", "TRUE", "BETWEEN", "IN", "CASE", "WHEN", "THEN", "ELSE", "END", "round(", "if(", "hour(", "coalesce(", "é",
            "'", "\"", ".", "\u{0}", "9e", "\\",
        ]
        let types: [DataType?] = [.int64, .float64, .string, .bool, .timestamp, .date, .bytes, nil]
        var parsed = 0
        for round in 0..<20_000 {
            var text = (0..<Int.random(in: 1...12, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }.joined(
                separator: round % 2 == 0 ? " " : "")
            if round % 10 == 0 {
                var bytes = Array(text.utf8)
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: .min ... .max, using: &random)
                text = String(decoding: bytes, as: UTF8.self)
            }
            guard let expression = try? Expression(parsing: text) else { continue }
            parsed += 1
            #expect((try? Expression(parsing: expression.description)) == expression)
            if let typed = try? expression.typed({ _ in types.randomElement(using: &random) ?? nil }) {
                _ = typed.evaluate { _ in [Value.null, 1, 2.5, "t", true][Int.random(in: 0..<5, using: &random)] }
                _ = typed.sql { $0 }
                _ = [Double](repeating: .random(in: -1e20...1e20, using: &random), count: 16).withUnsafeBufferPointer {
                    typed.evaluateNumber($0)
                }
            }
        }
        #expect(parsed > 100)
    }
}
