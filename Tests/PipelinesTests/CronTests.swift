import Contracts
import Pipelines
import TestSupport
import Testing

@Suite("Schedules")
struct CronTests {
    @Test(
        "known next times",
        arguments: [
            ("0 4 1 * *", "2013-04-01T04:00:00Z", "2013-05-01T04:00:00Z"), ("*/15 * * * *", "2013-12-31T23:50:00Z", "2014-01-01T00:00:00Z"),
            ("30 2 29 feb *", "2013-01-01", "2016-02-29T02:30:00Z"), ("0 0 * * mon-fri", "2013-03-29T00:00:00Z", "2013-04-01T00:00:00Z"),
            ("0 12 13 * 5", "2013-09-01", "2013-09-06T12:00:00Z"), ("0 0 * * 7", "2013-03-29", "2013-03-31T00:00:00Z"),
            ("0 0 29 2 *", "2096-03-01", "2104-02-29T00:00:00Z"), ("5,10-12/2 0 * * *", "2013-01-01T00:05:00Z", "2013-01-01T00:10:00Z"),
        ])
    func known(text: String, from: String, next: String) throws {
        #expect(try Cron(text).next(after: #require(Timestamp(from)))?.description == next)
    }

    @Test("the next time is the first minute that matches, for random schedules")
    func property() throws {
        var random = Seeded(60)
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
        func field(_ range: ClosedRange<Int>) -> String {
            switch number(0...4) {
            case 0: return "*"
            case 1: return "*/\(number(1...5))"
            case 2: return "\(number(range))"
            case 3:
                let a = number(range)
                let b = number(range)
                return "\(min(a, b))-\(max(a, b))/\(number(1...3))"
            default: return "\(number(range)),\(number(range))"
            }
        }
        for _ in 0..<60 {
            let month = number(0...1) == 0 ? "*" : field(1...12)
            let cron = try Cron("\(field(0...59)) \(field(0...23)) \(field(1...28)) \(month) \(field(0...7))")
            let start = Timestamp(microseconds: Int64(number(1_300_000_000_000_000...1_700_000_000_000_000)))
            let next = try #require(cron.next(after: start))
            #expect(next > start && cron.matches(next) && next.microseconds % 60_000_000 == 0)
            // No minute in between matches (at most two months are looked at).
            var minute = Timestamp(microseconds: (start.microseconds / 60_000_000 + 1) * 60_000_000)
            var steps = 0
            while minute < next, steps < 90_000 {
                if cron.matches(minute) {
                    Issue.record("\(cron) matches \(minute), before \(next)")
                    break
                }
                minute = minute + .seconds(60)
                steps += 1
            }
        }
    }

    @Test(
        "what is no schedule is refused",
        arguments: [
            "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *",
            "a * * * *", "1,,2 * * * *", "-1 * * * *", "1/2/3 * * * *", "0 0 31 4 *", "99999999999999999999 * * * *",
        ])
    func refused(text: String) {
        #expect(throws: KeelError.self) { try Cron(text) }
    }
}
