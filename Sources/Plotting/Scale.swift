import Contracts

/// Where values stand between two ends, and where its marks are.
public struct Scale: Sendable {
    public let low: Double
    public let high: Double
    /// In rising order, at round numbers.
    public let ticks: [Double]
    private let step: Double

    /// Spans `values` with at most about `count` marks; no values span 0 to 1.
    public init(_ values: [Double], count: Int = 6) {
        let finite = values.filter { $0.isFinite && abs($0) < 1e300 }
        var (low, high) = (finite.min() ?? 0, finite.max() ?? 1)
        if low == high {
            let room = low == 0 ? 1 : abs(low) * 0.1
            (low, high) = (low - room, high + room)
        }
        step = Scale.roundStep((high - low) / Double(max(count - 1, 1)))
        (self.low, self.high) = ((low / step).rounded(.down) * step, (high / step).rounded(.up) * step)
        let (first, last) = ((self.low / step).rounded(), (self.high / step).rounded())
        ticks = stride(from: first, through: last, by: 1).map { [step] in $0 * step }
    }

    /// 0 at the low end, 1 at the high one.
    public func share(_ value: Double) -> Double { (value - low) / (high - low) }

    /// The text of a mark: as many decimals as the step needs.
    public func label(_ tick: Double) -> String {
        let largest = max(abs(low), abs(high))
        if largest >= 1e6 || largest < 1e-3 { return Scale.short(tick) }
        var (decimals, rest) = (0, step)
        while decimals < 9, abs(rest - rest.rounded()) > 1e-6 * max(1, rest) {
            rest *= 10
            decimals += 1
        }
        return Scale.fixed(tick, decimals)
    }

    /// 1, 2 or 5 times a power of ten, at least `least`.
    static func roundStep(_ least: Double) -> Double {
        var power = 1.0
        while power > least { power /= 10 }
        while power * 10 <= least { power *= 10 }
        return [1, 2, 5, 10].map { $0 * power }.first { $0 >= least * (1 - 1e-9) } ?? power * 10
    }

    static func fixed(_ value: Double, _ decimals: Int) -> String {
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let scaled = Int64((abs(value) * scale).rounded())
        let (whole, part) = (scaled / Int64(scale), scaled % Int64(scale))
        let digits = String(part)
        let text = decimals == 0 ? "\(whole)" : "\(whole)." + String(repeating: "0", count: decimals - digits.count) + digits
        return value < 0 && scaled != 0 ? "-" + text : text
    }

    /// A number in few characters: `0.8731`, `12`, `3.2e-7`, `1.5e9`.
    public static func short(_ value: Double, digits: Int = 4) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-inf" : "inf" }
        if value == 0 { return "0" }
        if abs(value) >= 1e300 { return value < 0 ? "-inf" : "inf" }
        var (power, mantissa) = (0, abs(value))
        while mantissa >= 10 { (power, mantissa) = (power + 1, mantissa / 10) }
        while mantissa < 1 { (power, mantissa) = (power - 1, mantissa * 10) }
        func trimmed(_ text: String) -> String {
            guard text.contains(".") else { return text }
            var text = text
            while text.last == "0" { text.removeLast() }
            if text.last == "." { text.removeLast() }
            return text
        }
        let sign = value < 0 ? "-" : ""
        if power < -4 || power >= 9 { return sign + trimmed(fixed(mantissa, digits - 1)) + "e\(power)" }
        return sign + trimmed(fixed(abs(value), max(0, digits - 1 - power)))
    }
}
