import Contracts
import Expressions
import Testing

@Suite("Expressions over instants")
struct InstantTests {
    private static let extremes: [Int64] = [
        .min, .min + 1, -9_000_000_000_000_000_000, Timestamp.range.lowerBound - 1, Timestamp.range.lowerBound, -1, 0, 1,
        Timestamp.range.upperBound, Timestamp.range.upperBound + 1, 9_000_000_000_000_000_000, .max - 1, .max,
    ]

    @Test("S2: at the ends of time they are null beyond them, never a trap")
    func expressions() throws {
        let schema = Schema([Field("t", .timestamp), Field("d", .date), Field("n", .int64), Field("x", .float64)])
        let texts = [
            "t + x", "t - x", "t + n", "t + days(n)", "d + x", "t - d", "date(t)", "year(t)", "dayofweek(d)", "epoch(t)", "t > d",
            "date(t - 24h)", "coalesce(d, t)", "n * n + n - n % n", "round(n, -15)", "abs(n)", "-n",
        ]
        for text in texts {
            let typed = try Expression(parsing: text).typed(schema)
            for x in Self.extremes {
                for day in [Int32.min, CivilDate.range.lowerBound, 0, CivilDate.range.upperBound, .max] {
                    let row: [String: Value] = [
                        "t": .timestamp(Timestamp(microseconds: x)), "d": .date(day), "n": .int(x), "x": .double(Double(x)),
                    ]
                    let value = typed.evaluate { row[typed.columns[$0]] ?? .null }
                    if case .timestamp(let t) = value { #expect(Timestamp.range.contains(t.microseconds), "\(text)") }
                    let table = try Table(
                        typed.columns.map { name in
                            (name, try Column(schema[name]?.type ?? .int64, values: [row[name] ?? .null]))
                        })
                    _ = try typed.evaluate(over: table)
                    let numbers = typed.columns.map { table[$0]?.doubles()?.first ?? .nan }
                    _ = numbers.withUnsafeBufferPointer { typed.evaluateNumber($0) }
                }
            }
        }
    }
}
