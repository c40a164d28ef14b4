import Contracts

/// A schedule in the five fields of cron(5): minute, hour, day of month, month, day of week, in UTC.
///
/// Fields are `*`, numbers, ranges `a-b`, steps `*/n` and `a-b/n`, lists of those, and names (`jan`, `mon`); Sunday is 0 and 7. When both days are
/// restricted, a day that matches either is meant, as Vixie's cron does.
public struct Cron: Sendable, Hashable, CustomStringConvertible {
    private let minutes: Set<Int>
    private let hours: Set<Int>
    private let days: Set<Int>
    private let months: Set<Int>
    private let weekdays: Set<Int>
    private let eitherDay: Bool
    public let description: String

    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    private static let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// - Throws: `invalidArgument` naming the field that is wrong, or when no date matches at all.
    public init(_ text: String) throws(KeelError) {
        let fields = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard fields.count == 5 else {
            throw .invalid(
                "a schedule has five fields, not \(fields.count)", hint: "minute hour day-of-month month day-of-week: '0 4 1 * *'")
        }
        minutes = try Cron.field(fields[0], "minute", 0...59)
        hours = try Cron.field(fields[1], "hour", 0...23)
        days = try Cron.field(fields[2], "day of month", 1...31)
        months = try Cron.field(fields[3], "month", 1...12, names: Cron.months)
        let weekdays = try Cron.field(fields[4], "day of week", 0...7, names: Cron.weekdays)
        self.weekdays = Set(weekdays.map { $0 % 7 })
        eitherDay = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        description = fields.joined(separator: " ")
        guard next(after: Timestamp(microseconds: 0)) != nil else { throw .invalid("no date matches the schedule '\(description)'") }
    }

    private static func field(_ text: String, _ name: String, _ range: ClosedRange<Int>, names: [String] = []) throws(KeelError) -> Set<Int>
    {
        func wrong(_ part: String) -> KeelError {
            .invalid(
                "'\(part.prefix(40))' is no \(name)",
                hint: "use \(range.lowerBound)-\(range.upperBound), lists, ranges, '*' and steps such as */5")
        }
        func number(_ part: Substring) -> Int? {
            if let i = names.firstIndex(of: part.lowercased()) { return i + (range.lowerBound == 1 ? 1 : 0) }
            guard part.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let value = Int(part), range.contains(value) else { return nil }
            return value
        }
        var out: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", omittingEmptySubsequences: false)
            guard let span = halves.first, halves.count <= 2 else { throw wrong(String(part)) }
            var step = 1
            if halves.count == 2 {
                guard let given = Int(halves[1]), given > 0, given <= range.upperBound else { throw wrong(String(part)) }
                step = given
            }
            let ends = span.split(separator: "-", omittingEmptySubsequences: false)
            let (low, high): (Int, Int)
            if span == "*" {
                // `*` of weekdays is 0…6: 7 would count Sunday twice for steps.
                (low, high) = (range.lowerBound, range.upperBound == 7 ? 6 : range.upperBound)
            } else if ends.count == 1, let only = number(ends[0]) {
                (low, high) = (only, halves.count == 2 ? range.upperBound : only)
            } else if ends.count == 2, let first = number(ends[0]), let last = number(ends[1]), first <= last {
                (low, high) = (first, last)
            } else {
                throw wrong(String(part))
            }
            out.formUnion(stride(from: low, through: high, by: step))
        }
        return out
    }

    /// Whether the minute that holds this instant is on the schedule.
    public func matches(_ time: Timestamp) -> Bool {
        let minute = floorDivide(time.microseconds, 60_000_000)
        let (day, rest) = (floorDivide(minute, 1440), Int(floorModulo(minute, 1440)))
        return matches(day: day) && hours.contains(rest / 60) && minutes.contains(rest % 60)
    }

    private func matches(day: Int64) -> Bool {
        let date = CivilDate.civil(fromDays: day)
        guard months.contains(Int(date.month)) else { return false }
        // 1970-01-01 was a Thursday.
        let (inMonth, inWeek) = (days.contains(Int(date.day)), weekdays.contains(Int(floorModulo(day + 4, 7))))
        return eitherDay ? inMonth || inWeek : inMonth && inWeek
    }

    /// The first minute on the schedule that begins after `time`; nil when there is none within the 28 years in which the calendar repeats (and 12 more for
    /// the century that skips a leap year).
    public func next(after time: Timestamp) -> Timestamp? {
        let first = floorDivide(time.microseconds, 60_000_000) + 1
        let firstDay = floorDivide(first, 1440)
        let (hours, minutes) = (hours.sorted(), minutes.sorted())
        for day in firstDay..<(firstDay + 40 * 366) where matches(day: day) {
            for hour in hours {
                for minute in minutes {
                    let candidate = day * 1440 + Int64(hour * 60 + minute)
                    if candidate >= first { return Timestamp(exactly: candidate * 60_000_000) }
                }
            }
        }
        return nil
    }
}
