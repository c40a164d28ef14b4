import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// The arithmetic that both evaluators share; NaN stands for null.
enum ExpressionKernel {
    @inline(__always) static func finite(_ x: Double) -> Double { x.isFinite ? x : .nan }

    @inline(__always) static func arithmetic(_ operation: ArithmeticOperator, _ a: Double, _ b: Double) -> Double {
        switch operation {
        case .add: finite(a + b)
        case .subtract: finite(a - b)
        case .multiply: finite(a * b)
        case .divide: finite(a / b)
        case .remainder: finite(fmod(a, b))
        }
    }

    /// Null on overflow and on division by zero.
    @inline(__always) static func arithmetic(_ operation: ArithmeticOperator, _ a: Int64, _ b: Int64) -> Int64? {
        // The quotient of int64's minimum by −1 overflows, but not the remainder.
        if operation == .remainder, b == -1 { return 0 }
        let (value, overflow): (Int64, Bool)
        switch operation {
        case .add: (value, overflow) = a.addingReportingOverflow(b)
        case .subtract: (value, overflow) = a.subtractingReportingOverflow(b)
        case .multiply: (value, overflow) = a.multipliedReportingOverflow(by: b)
        case .divide, .remainder: (value, overflow) = a.remainderReportingOverflow(dividingBy: b)
        }
        return overflow ? nil : value
    }

    /// Functions of one number (or two for `power`).
    static func number(_ function: ExpressionFunction, _ x: Double, _ y: Double = 0) -> Double {
        switch function {
        case .abs: Swift.abs(x)
        case .floor: x.rounded(.down)
        case .ceil: x.rounded(.up)
        case .round: x.rounded(.toNearestOrAwayFromZero)
        case .sqrt: x.squareRoot()
        case .ln: finite(Glibc.log(x))
        case .log10: finite(Glibc.log10(x))
        case .exp: finite(Glibc.exp(x))
        case .sin: Glibc.sin(x)
        case .cos: Glibc.cos(x)
        // pow(NaN, 0) and pow(1, NaN) are 1 in IEEE 754, but null here.
        case .power: x.isNaN || y.isNaN ? .nan : finite(Glibc.pow(x, y))
        case .sign: x.isNaN ? .nan : x > 0 ? 1 : x < 0 ? -1 : 0
        default: finite(x * (function.secondsPerUnit ?? .nan))
        }
    }

    /// Halves away from zero, by scaling: the method (and so the last digit) of DuckDB.
    static func round(_ x: Double, digits: Int) -> Double {
        let scale = Glibc.pow(10, Double(Swift.abs(digits)))
        if digits < 0 {
            let rounded = (x / scale).rounded(.toNearestOrAwayFromZero) * scale
            return x.isNaN ? .nan : rounded.isFinite ? rounded : 0
        }
        let rounded = (x * scale).rounded(.toNearestOrAwayFromZero) / scale
        return rounded.isFinite ? rounded : x
    }

    /// To tens, hundreds, …; a whole number has no digits behind the point. Wraps beside the ends of int64, as DuckDB does.
    static func round(_ x: Int64, digits: Int) -> Int64 {
        guard digits < 0 else { return x }
        let scale = Int64(saturating: Glibc.pow(10, Double(-digits)))
        return (x &+ (x < 0 ? -scale / 2 : scale / 2)) / scale &* scale
    }

    private static let day = CivilDate.microseconds

    /// Parts of an instant (µs since 1970), UTC.
    static func calendar(_ function: ExpressionFunction, _ microseconds: Int64) -> Int64 {
        let days = floorDivide(microseconds, day)
        switch function {
        case .year: return CivilDate.civil(fromDays: days).year
        case .month: return CivilDate.civil(fromDays: days).month
        case .day: return CivilDate.civil(fromDays: days).day
        // 1970-01-01 was a Thursday.
        case .dayofweek: return floorModulo(days + 4, 7)
        case .hour: return (microseconds - days * day) / 3_600_000_000
        case .minute: return (microseconds - days * day) / 60_000_000 % 60
        default: return days
        }
    }

    /// An instant moved by seconds, to the nearest microsecond; nil when it leaves the range.
    @inline(__always) static func shift(_ microseconds: Int64, seconds: Double) -> Int64? {
        guard let by = Int64(exactly: (seconds * 1_000_000).rounded(.toNearestOrAwayFromZero)) else { return nil }
        return Timestamp(exactly: saturatingSum(microseconds, by))?.microseconds
    }

    /// Midnight of a day in µs; NaN beyond the instants.
    @inline(__always) static func midnight(_ day: Double) -> Double {
        day >= Double(CivilDate.range.lowerBound) && day <= Double(CivilDate.range.upperBound) ? day * Double(CivilDate.microseconds) : .nan
    }

    @inline(__always) static func elapsed(_ a: Int64, _ b: Int64) -> Double {
        let (value, overflow) = a.subtractingReportingOverflow(b)
        return overflow ? .nan : Double(value) / 1_000_000
    }

    // MARK: Texts

    static func contains(_ text: String, _ part: String) -> Bool {
        var (text, part) = (text, part)
        return text.withUTF8 { t in
            part.withUTF8 { p in
                guard p.count > 0 else { return true }
                guard p.count <= t.count, let x = t.baseAddress, let y = p.baseAddress else { return false }
                return (0...t.count - p.count).contains { t[$0] == p[0] && memcmp(x + $0, y, p.count) == 0 }
            }
        }
    }

    /// Maps each scalar to one scalar (Unicode's simple case mapping), so that lengths do not change.
    static func lower(_ text: String) -> String { mapping(text) { $0 == "\u{130}" ? "i" : single($0.properties.lowercaseMapping) ?? $0 } }
    static func upper(_ text: String) -> String {
        mapping(text) { $0 == "ß" ? "ẞ" : single($0.properties.uppercaseMapping) ?? single($0.properties.titlecaseMapping) ?? $0 }
    }
    private static func single(_ text: String) -> UnicodeScalar? { text.unicodeScalars.count == 1 ? text.unicodeScalars.first : nil }
    private static func mapping(_ text: String, _ map: (UnicodeScalar) -> UnicodeScalar) -> String {
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { out.append(map(scalar)) }
        return String(out)
    }

    static func trim(_ text: String) -> String {
        let blanks: Set<UInt8> = [32, 9, 10, 13]
        let bytes = Array(text.utf8)
        guard let first = bytes.firstIndex(where: { !blanks.contains($0) }), let last = bytes.lastIndex(where: { !blanks.contains($0) })
        else { return "" }
        return String(decoding: bytes[first...last], as: UTF8.self)
    }

    static func substring(_ text: String, start: Int, count: Int?) -> String {
        let rest = text.unicodeScalars.dropFirst(start - 1)
        return String(String.UnicodeScalarView(count.map { rest.prefix($0) } ?? rest))
    }
}
