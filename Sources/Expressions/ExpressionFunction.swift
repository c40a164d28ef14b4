import Contracts

/// The functions of the language. Adding one: a case here, its types in `ExpressionTyping`, its meaning in `TypedExpression+Evaluate` and
/// `ExpressionProgram`, its SQL in `TypedExpression+SQL`; the parity test then covers it.
public enum ExpressionFunction: String, Sendable, CaseIterable {
    case abs, round, floor, ceil, sqrt, ln, log10, exp, power, sign, sin, cos, pi
    case least, greatest, coalesce, nullif
    case `if`
    case lower, upper, trim, length, substr, concat, contains
    case startsWith = "starts_with"
    case year, month, day, dayofweek, hour, minute, epoch, date
    case seconds, minutes, hours, days

    /// For people: how it is called, and what it gives.
    public var help: (signature: String, meaning: String) {
        switch self {
        case .abs: ("abs(number) → the same type", "the absolute value")
        case .round: ("round(number[, digits]) → the same type", "rounded, halves away from zero; digits is a literal from −15 to 15")
        case .floor: ("floor(number) → the same type", "the next whole number below")
        case .ceil: ("ceil(number) → the same type", "the next whole number above")
        case .sqrt: ("sqrt(number) → float64", "the square root; null below 0")
        case .ln: ("ln(number) → float64", "the natural logarithm; null unless above 0")
        case .log10: ("log10(number) → float64", "the logarithm of base 10; null unless above 0")
        case .exp: ("exp(number) → float64", "e to the power")
        case .power: ("power(base, exponent) → float64", "base to the power; null where it is not a real number")
        case .sign: ("sign(number) → int64", "−1, 0 or 1")
        case .sin: ("sin(radians) → float64", "the sine")
        case .cos: ("cos(radians) → float64", "the cosine")
        case .pi: ("pi() → float64", "3.14159…")
        case .least: ("least(a, b, …) → their type", "the smallest that is not null")
        case .greatest: ("greatest(a, b, …) → their type", "the largest that is not null")
        case .coalesce: ("coalesce(a, b, …) → their type", "the first that is not null")
        case .nullif: ("nullif(a, b) → their type", "null when a = b, else a; nested at most 8 deep")
        case .if: ("if(condition, a, b) → their type", "a when the condition is true, else b")
        case .lower: ("lower(text) → string", "small letters, one for one")
        case .upper: ("upper(text) → string", "capital letters, one for one")
        case .trim: ("trim(text) → string", "without blanks, tabs and line ends on both sides")
        case .length: ("length(text) → int64", "the number of Unicode scalars")
        case .substr:
            ("substr(text, start[, count]) → string", "from the start-th character (1 is the first); start and count are literals")
        case .concat: ("concat(text, …) → string", "one after another; null counts as empty")
        case .contains: ("contains(text, part) → bool", "whether the part is in the text")
        case .startsWith: ("starts_with(text, part) → bool", "whether the text begins with the part")
        case .year: ("year(timestamp or date) → int64", "the year, UTC")
        case .month: ("month(timestamp or date) → int64", "1 to 12, UTC")
        case .day: ("day(timestamp or date) → int64", "1 to 31, UTC")
        case .dayofweek: ("dayofweek(timestamp or date) → int64", "0 is Sunday, 6 Saturday, UTC")
        case .hour: ("hour(timestamp) → int64", "0 to 23, UTC")
        case .minute: ("minute(timestamp) → int64", "0 to 59")
        case .epoch: ("epoch(timestamp or date) → float64", "seconds since 1970-01-01T00:00:00Z")
        case .date: ("date(timestamp) → date", "the day, UTC")
        case .seconds: ("seconds(number) → float64", "that many seconds, to add to a timestamp")
        case .minutes: ("minutes(number) → float64", "minutes in seconds")
        case .hours: ("hours(number) → float64", "hours in seconds")
        case .days: ("days(number) → float64", "days of 24 hours in seconds")
        }
    }

    var arity: ClosedRange<Int> {
        switch self {
        case .pi: 0...0
        case .round: 1...2
        case .power, .nullif, .contains, .startsWith: 2...2
        case .if: 3...3
        case .substr: 2...3
        case .least, .greatest, .coalesce, .concat: 1...100
        default: 1...1
        }
    }

    /// Seconds of one unit, for the functions that make a length of time.
    var secondsPerUnit: Double? {
        switch self {
        case .seconds: 1
        case .minutes: 60
        case .hours: 3600
        case .days: 86_400
        default: nil
        }
    }
}
