import Contracts
import Foundation

/// Where values stand between two ends, and where its marks are.
public struct Scale: Sendable {
    public let low: Double
    public let high: Double
    /// In rising order, at round numbers.
    public let ticks: [Double]
    /// Whether equal ratios, not equal differences, are equally far apart.
    public let isLogarithmic: Bool
    private let step: Double

    /// Spans `values` with at most about `count` marks; no values span 0 to 1.
    /// - Parameters:
    ///   - margin: room beyond the lowest and highest value, as a share of what they span; never beyond zero.
    ///   - leastStep: the least distance of two marks: 1 for whole numbers.
    ///   - isLogarithmic: equal ratios are equally far apart; values that are not above zero have no place then.
    public init(_ values: [Double], count: Int = 6, margin: Double = 0, leastStep: Double = 0, isLogarithmic: Bool = false) {
        let known = values.filter { Scale.isPlace($0) && (!isLogarithmic || $0 > 0) }
        self.isLogarithmic = isLogarithmic
        var (low, high) = (known.min() ?? (isLogarithmic ? 0.1 : 0), known.max() ?? 1)
        if isLogarithmic {
            let (first, last) = low == high ? (log10(low) - 0.5, log10(high) + 0.5) : (log10(low), log10(high))
            let room = (last - first) * margin
            (self.low, self.high, step) = (pow(10, first - room), pow(10, last + room), 0)
            ticks = Scale.powers(self.low, self.high, count)
            return
        }
        if low == high {
            let room = low == 0 ? 1 : abs(low) * 0.1
            (low, high) = (low - room, high + room)
        }
        let room = (high - low) * margin
        (self.low, self.high) = (low >= 0 ? max(0, low - room) : low - room, high <= 0 ? min(0, high + room) : high + room)
        let step = max(leastStep, Scale.roundStep((high - low) / Double(max(count - 1, 1))))
        let (first, last) = ((self.low / step - 1e-9).rounded(.up), (self.high / step + 1e-9).rounded(.down))
        self.step = step
        ticks = first <= last ? stride(from: first, through: last, by: 1).map { $0 * step } : []
    }

    /// Whether a value has a place on an axis: the largest numbers stand for infinities, which MLflow's clients write so.
    public static func isPlace(_ value: Double) -> Bool { value.isFinite && abs(value) < 1e300 }

    /// Powers of ten; with 2 and 5 times them when they are few, only some when they are many.
    private static func powers(_ low: Double, _ high: Double, _ count: Int) -> [Double] {
        let (first, last) = (Int(saturating: log10(low).rounded(.down)), Int(saturating: log10(high).rounded(.up)))
        let every = max(1, (last - first) / max(count, 1))
        let factors: [Double] = last - first <= 2 ? [1, 2, 5] : [1]
        var marks: [Double] = []
        for power in stride(from: first, through: last, by: every) {
            let whole = pow(10, Double(power))
            marks += factors.map { $0 * whole }
        }
        return marks.filter { $0 >= low * (1 - 1e-9) && $0 <= high * (1 + 1e-9) }
    }

    /// 0 at the low end, 1 at the high one.
    public func share(_ value: Double) -> Double {
        isLogarithmic ? log10(value / low) / log10(high / low) : (value - low) / (high - low)
    }

    /// The text of a mark: as many decimals as the step needs.
    public func label(_ tick: Double) -> String {
        if isLogarithmic { return Scale.short(tick) }
        let largest = max(abs(low), abs(high))
        if largest >= 1e6 || largest < 1e-3 {
            return Scale.short(tick, digits: min(15, max(4, Int(saturating: log10(largest / step).rounded(.up)) + 1)))
        }
        var (decimals, rest) = (0, step)
        while decimals < 9, abs(rest - rest.rounded()) > 1e-6 * max(1, rest) {
            rest *= 10
            decimals += 1
        }
        return tick.decimals(decimals)
    }

    /// 1, 2 or 5 times a power of ten, at least `least`.
    static func roundStep(_ least: Double) -> Double {
        var power = 1.0
        while power > least { power /= 10 }
        while power * 10 <= least { power *= 10 }
        return [1, 2, 5, 10].map { $0 * power }.first { $0 >= least * (1 - 1e-9) } ?? power * 10
    }

    /// A number in few characters: `0.8731`, `12`, `3.2e-7`, `1.5e9`.
    public static func short(_ value: Double, digits: Int = 4) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-inf" : "inf" }
        if value == 0 { return "0" }
        if abs(value) >= 1e300 { return value < 0 ? "-inf" : "inf" }
        var (power, mantissa) = (0, abs(value))
        while mantissa >= 10 { (power, mantissa) = (power + 1, mantissa / 10) }
        while mantissa < 1 { (power, mantissa) = (power - 1, mantissa * 10) }
        // 9.9999 is written as 10: one digit more before the point.
        if mantissa.decimals(digits - 1).utf8.prefix(2).elementsEqual("10".utf8) { (power, mantissa) = (power + 1, 1) }
        func trimmed(_ text: String) -> String {
            guard text.contains(".") else { return text }
            var text = text
            while text.last == "0" { text.removeLast() }
            if text.last == "." { text.removeLast() }
            return text
        }
        let sign = value < 0 ? "-" : ""
        if power < -4 || power >= 9 { return sign + trimmed(mantissa.decimals(digits - 1)) + "e\(power)" }
        return sign + trimmed(abs(value).decimals(max(0, digits - 1 - power)))
    }
}
