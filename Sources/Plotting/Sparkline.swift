import Contracts

/// A row of bars in text: `▁▂▅▇█`.
public enum Sparkline {
    private static let bars = Array("▁▂▃▄▅▆▇█")

    /// The shape of `values` in at most `width` characters; each stands for the mean of its share. What is no number is a space.
    public static func text(_ values: [Double], width: Int = 24) -> String { texts([values], width: width)[0] }

    /// Several shapes, all drawn to one scale.
    public static func texts(_ histories: [[Double]], width: Int) -> [String] {
        let all = histories.map { means($0, min(width, $0.count)) }
        let known = all.joined().compactMap { $0 }
        guard let low = known.min(), let high = known.max() else { return all.map { _ in "" } }
        return all.map { means in
            String(
                means.map { mean in
                    guard let mean else { return " " }
                    guard high > low else { return bars[3] }
                    return bars[min(bars.count - 1, Int(saturating: (mean - low) / (high - low) * Double(bars.count)))]
                })
        }
    }

    private static func means(_ values: [Double], _ parts: Int) -> [Double?] {
        (0..<parts).map { i in
            let share = values[(i * values.count / parts)..<((i + 1) * values.count / parts)].filter(Scale.isPlace)
            return share.isEmpty ? nil : share.reduce(0) { $0 + $1 / Double(share.count) }
        }
    }
}

/// Fewer points that draw the same line.
public enum Downsample {
    /// Keeps the first, lowest, highest and last point of each of `parts` shares of a line, in their order: no peak is lost.
    public static func extremes(_ points: [Point], parts: Int) -> [Point] {
        guard points.count > parts * 4, parts > 0 else { return points }
        return (0..<parts).flatMap { part -> [Point] in
            let share = (part * points.count / parts)..<((part + 1) * points.count / parts)
            guard let low = share.min(by: { points[$0].y < points[$1].y }), let high = share.max(by: { points[$0].y < points[$1].y }) else {
                return []
            }
            return Set([share.lowerBound, low, high, share.upperBound - 1]).sorted().map { points[$0] }
        }
    }
}
