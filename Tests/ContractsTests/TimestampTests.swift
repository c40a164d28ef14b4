import Contracts
import Testing

@Suite("Instants")
struct TimestampTests {
    private static let extremes: [Int64] = [
        .min, .min + 1, -9_000_000_000_000_000_000, Timestamp.range.lowerBound - 1, Timestamp.range.lowerBound, -1, 0, 1,
        Timestamp.range.upperBound, Timestamp.range.upperBound + 1, 9_000_000_000_000_000_000, .max - 1, .max,
    ]

    @Test("S2: the range is the years 0001 to 9999")
    func range() {
        #expect(Timestamp.distantPast.description == "0001-01-01T00:00:00Z")
        #expect(Timestamp.distantFuture.description == "9999-12-31T23:59:59.999999Z")
        #expect(CivilDate.text(days: CivilDate.range.lowerBound) == "0001-01-01")
        #expect(CivilDate.text(days: CivilDate.range.upperBound) == "9999-12-31")
        for text in [
            "0000-12-31", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01",
            "-0001-01-01",
        ] { #expect(Timestamp(text) == nil, "\(text)") }
        #expect(Timestamp("0001-01-01T00:00:00-00:01") != nil)
    }

    @Test("S2: from outside an instant is in range or refused; everything else stops at the ends")
    func bounds() {
        for x in Self.extremes {
            #expect((Timestamp(exactly: x) != nil) == Timestamp.range.contains(x))
            for time in [
                Timestamp(microseconds: x), Timestamp(milliseconds: x), Timestamp(seconds: Double(x)), Timestamp(day: Int32(clamping: x)),
            ] { #expect(Timestamp.range.contains(time.microseconds)) }
            #expect(Timestamp(given: x).map { $0.milliseconds == x } ?? !Timestamp.range.contains(saturatingProduct(x, 1000)))
        }
        for x in [Double.nan, .infinity, -.infinity, 1e308, -1e308, .leastNonzeroMagnitude] {
            #expect(Timestamp.range.contains(Timestamp(seconds: x).microseconds))
        }
    }

    @Test("S2: no arithmetic on instants and lengths of time leaves the range")
    func arithmetic() {
        for x in Self.extremes {
            for y in Self.extremes {
                let (time, other, span) = (Timestamp(microseconds: x), Timestamp(microseconds: y), TimeSpan(microseconds: y))
                #expect(Timestamp.range.contains((time + span).microseconds))
                #expect(Timestamp.range.contains((time - span).microseconds))
                #expect(other + (time - other) == time)
                #expect((time + span >= time) == (y >= 0 || time == .distantPast))
            }
            #expect((TimeSpan.days(x) >= TimeSpan.days(0)) == (x >= 0))
        }
    }

    @Test("S2: a declared length of time has a maximum")
    func spans() throws {
        let reader = try FieldReader(["window": "106751991d", "ttl": "3650d"], path: "spec")
        #expect(throws: KeelError.self) { try reader.span("window") }
        #expect(try reader.span("ttl") == TimeSpan.declaredMax)
    }
}
