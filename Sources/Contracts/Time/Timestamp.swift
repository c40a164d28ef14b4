#if canImport(Glibc)
    import Glibc
#endif

/// An instant in microseconds since 1970-01-01T00:00:00Z (UTC, no leap seconds), from 0001-01-01 to the end of 9999-12-31.
///
/// No instant outside these years exists: what comes from outside is read with `init(exactly:)`, which refuses it; every other way to make an instant,
/// arithmetic included, stops at the nearest end. So neither windows nor calendars can overflow (docs/decisions/0015).
public struct Timestamp: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    public let microseconds: Int64

    /// The µs of all instants: years 0001 to 9999.
    public static let range: ClosedRange<Int64> = -62_135_596_800_000_000...253_402_300_799_999_999
    /// For messages: what `range` is.
    public static let rangeHint = "years 0001 to 9999"

    /// The nearest instant: one outside `range` becomes its end.
    public init(microseconds: Int64) {
        self.microseconds = min(max(microseconds, Timestamp.range.lowerBound), Timestamp.range.upperBound)
    }
    /// Nil outside `range`: for every instant that comes from outside.
    public init?(exactly microseconds: Int64) {
        guard Timestamp.range.contains(microseconds) else { return nil }
        self.microseconds = microseconds
    }
    /// The nearest instant; NaN is 1970.
    public init(seconds: Double) {
        let microseconds = (seconds * 1_000_000).rounded()
        let (low, high) = (Double(Timestamp.range.lowerBound), Double(Timestamp.range.upperBound))
        self.init(microseconds: microseconds.isNaN ? 0 : Int64(min(max(microseconds, low), high)))
    }
    /// The nearest instant.
    public init(milliseconds: Int64) { self.init(microseconds: saturatingProduct(milliseconds, 1000)) }
    /// Nil outside `range`.
    public init?(given milliseconds: Int64) { self.init(exactly: saturatingProduct(milliseconds, 1000)) }
    /// Midnight of a day, days since 1970; the nearest instant.
    public init(day: Int32) { self.init(microseconds: saturatingProduct(Int64(day), CivilDate.microseconds)) }

    public init(from decoder: any Decoder) throws { self.init(microseconds: try decoder.singleValueContainer().decode(Int64.self)) }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(microseconds)
    }

    /// Milliseconds since 1970, rounded towards minus infinity.
    public var milliseconds: Int64 { floorDivide(microseconds, 1000) }
    public var seconds: Double { Double(microseconds) / 1_000_000 }

    public static let distantPast = Timestamp(microseconds: .min)
    public static let distantFuture = Timestamp(microseconds: .max)

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }
    public static func + (a: Timestamp, b: TimeSpan) -> Timestamp { Timestamp(microseconds: saturatingSum(a.microseconds, b.microseconds)) }
    public static func - (a: Timestamp, b: TimeSpan) -> Timestamp {
        Timestamp(microseconds: saturatingDifference(a.microseconds, b.microseconds))
    }
    public static func - (a: Timestamp, b: Timestamp) -> TimeSpan { TimeSpan(microseconds: a.microseconds - b.microseconds) }

    /// The instant now, by the system's clock.
    public static func systemNow() -> Timestamp {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Timestamp(microseconds: Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000)
    }

    /// ISO 8601 in UTC, with as many decimals as are needed: `2013-04-01T10:15:00Z`.
    public var description: String {
        let (days, rest) = (floorDivide(microseconds, 86_400_000_000), floorModulo(microseconds, 86_400_000_000))
        let (year, month, day) = CivilDate.civil(fromDays: days)
        var text = CivilDate.text(year, month, day)
        text += "T" + pad(rest / 3_600_000_000, 2) + ":" + pad(rest / 60_000_000 % 60, 2) + ":" + pad(rest / 1_000_000 % 60, 2)
        let fraction = rest % 1_000_000
        if fraction != 0 {
            text += "." + (fraction % 1000 == 0 ? pad(fraction / 1000, 3) : pad(fraction, 6))
        }
        return text + "Z"
    }

    /// Reads `2013-04-01`, `2013-04-01 10:15`, `2013-04-01T10:15:00.250Z`, `…+02:00`. Without a zone it is UTC. Nil when the text is none of these, or outside
    /// the years 0001 to 9999.
    public init?(_ text: some StringProtocol) {
        var bytes = Array(text.utf8)
        guard let value = bytes.withUnsafeMutableBufferPointer({ Timestamp.parse(UnsafeBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// The same over UTF-8 bytes, without allocation.
    public static func parse(_ b: UnsafeBufferPointer<UInt8>) -> Timestamp? {
        guard b.count >= 10, b.count <= 40, let days = CivilDate.parse(UnsafeBufferPointer(rebasing: b[0..<10])) else { return nil }
        var total = Int64(days) * 86_400_000_000
        if b.count == 10 { return Timestamp(exactly: total) }
        guard b[10] == UInt8(ascii: "T") || b[10] == UInt8(ascii: " ") || b[10] == UInt8(ascii: "t") else { return nil }
        func two(_ at: Int) -> Int64? {
            guard at + 1 < b.count, let x = digit(b[at]), let y = digit(b[at + 1]) else { return nil }
            return x * 10 + y
        }
        guard let hour = two(11), hour < 24, b.count >= 16, b[13] == UInt8(ascii: ":"), let minute = two(14), minute < 60 else {
            return nil
        }
        total += hour * 3_600_000_000 + minute * 60_000_000
        var i = 16
        if i < b.count, b[i] == UInt8(ascii: ":") {
            guard let second = two(17), second < 60 else { return nil }
            total += second * 1_000_000
            i = 19
            if i < b.count, b[i] == UInt8(ascii: ".") {
                var scale: Int64 = 100_000
                i += 1
                let start = i
                while i < b.count, let d = digit(b[i]) {
                    total += d * scale
                    scale /= 10
                    i += 1
                }
                if i == start { return nil }
            }
        }
        if i == b.count { return Timestamp(exactly: total) }
        if b[i] == UInt8(ascii: "Z") || b[i] == UInt8(ascii: "z") {
            return i + 1 == b.count ? Timestamp(exactly: total) : nil
        }
        guard b[i] == UInt8(ascii: "+") || b[i] == UInt8(ascii: "-"), let zoneHour = two(i + 1), zoneHour < 24 else { return nil }
        var offset = zoneHour * 60
        var j = i + 3
        if j < b.count {
            if b[j] == UInt8(ascii: ":") { j += 1 }
            guard let zoneMinute = two(j), zoneMinute < 60, j + 2 == b.count else { return nil }
            offset += zoneMinute
        }
        return Timestamp(exactly: total - (b[i] == UInt8(ascii: "-") ? -offset : offset) * 60_000_000)
    }
}

/// A calendar day as days since 1970-01-01 (proleptic Gregorian).
public enum CivilDate {
    /// µs of a day.
    public static let microseconds: Int64 = 86_400_000_000
    /// The days since 1970 that are instants: 0001-01-01 to 9999-12-31.
    public static let range: ClosedRange<Int32> = -719_162...2_932_896

    /// After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    public static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = floorDivide(y, 400)
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    public static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let z = days + 719_468
        let era = floorDivide(z, 146_097)
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        let month = m < 10 ? m + 3 : m - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * m + 2) / 5 + 1)
    }

    /// `2013-04-01` as days since 1970, nil when it is no date of the years 0001 to 9999.
    public static func parse(_ b: UnsafeBufferPointer<UInt8>) -> Int32? {
        guard b.count == 10, b[4] == UInt8(ascii: "-"), b[7] == UInt8(ascii: "-") else { return nil }
        var year: Int64 = 0
        for i in 0..<4 {
            guard let d = digit(b[i]) else { return nil }
            year = year * 10 + d
        }
        guard let m1 = digit(b[5]), let m2 = digit(b[6]), let d1 = digit(b[8]), let d2 = digit(b[9]) else { return nil }
        let (month, day) = (m1 * 10 + m2, d1 * 10 + d2)
        guard year > 0, (1...12).contains(month), day >= 1, day <= daysIn(month: month, year: year) else { return nil }
        return Int32(days(year: year, month: month, day: day))
    }

    public static func text(days value: Int32) -> String {
        let (year, month, day) = civil(fromDays: Int64(value))
        return text(year, month, day)
    }

    static func text(_ year: Int64, _ month: Int64, _ day: Int64) -> String {
        pad(year, 4) + "-" + pad(month, 2) + "-" + pad(day, 2)
    }

    private static func daysIn(month: Int64, year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }
}

/// A length of time in microseconds, written `1h`, `24h`, `30d`, `500ms`, `90s`, `15m`.
public struct TimeSpan: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    public var microseconds: Int64

    /// The longest window, ttl, delay or interval that can be declared.
    public static let declaredMax = TimeSpan.days(3650)

    public init(microseconds: Int64) { self.microseconds = microseconds }
    public static func seconds(_ n: Int64) -> TimeSpan { TimeSpan(microseconds: saturatingProduct(n, 1_000_000)) }
    public static func milliseconds(_ n: Int64) -> TimeSpan { TimeSpan(microseconds: saturatingProduct(n, 1000)) }
    public static func hours(_ n: Int64) -> TimeSpan { TimeSpan(microseconds: saturatingProduct(n, 3_600_000_000)) }
    public static func days(_ n: Int64) -> TimeSpan { TimeSpan(microseconds: saturatingProduct(n, CivilDate.microseconds)) }

    public var seconds: Double { Double(microseconds) / 1_000_000 }

    private static let units: [(String, Int64)] = [
        ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1),
    ]

    /// Nil when the text is not a whole number and a unit, or is not positive.
    public init?(_ text: String) {
        let number = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = Int64(number), count > 0,
            let unit = TimeSpan.units.first(where: { $0.0 == text.dropFirst(number.count) }),
            !count.multipliedReportingOverflow(by: unit.1).overflow
        else { return nil }
        microseconds = count * unit.1
    }

    public static func < (a: TimeSpan, b: TimeSpan) -> Bool { a.microseconds < b.microseconds }

    public var description: String {
        for (name, size) in TimeSpan.units where microseconds % size == 0 && microseconds != 0 { return "\(microseconds / size)\(name)" }
        return "0s"
    }
}

/// Where the time comes from; tests and replays inject their own.
public protocol Clock: Sendable {
    func now() -> Timestamp
}

public struct SystemClock: Clock {
    public init() {}
    public func now() -> Timestamp { .systemNow() }
}

/// Division that rounds towards minus infinity, as windows and calendars need.
@inlinable public func floorDivide(_ a: Int64, _ b: Int64) -> Int64 {
    let q = a / b
    return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q
}

/// Sums, differences and products that stop at the ends of int64, for numbers that come from data.
@inlinable public func saturatingSum(_ a: Int64, _ b: Int64) -> Int64 {
    let (value, overflow) = a.addingReportingOverflow(b)
    return overflow ? (a < 0 ? .min : .max) : value
}
@inlinable public func saturatingDifference(_ a: Int64, _ b: Int64) -> Int64 {
    let (value, overflow) = a.subtractingReportingOverflow(b)
    return overflow ? (a < 0 ? .min : .max) : value
}
@inlinable public func saturatingProduct(_ a: Int64, _ b: Int64) -> Int64 {
    let (value, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? ((a < 0) == (b < 0) ? .max : .min) : value
}

@inlinable public func floorModulo(_ a: Int64, _ b: Int64) -> Int64 { a - floorDivide(a, b) * b }

@inline(__always) private func digit(_ byte: UInt8) -> Int64? { byte >= 48 && byte <= 57 ? Int64(byte - 48) : nil }

private func pad(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return text.count >= width ? text : String(repeating: "0", count: width - text.count) + text
}
