/// Runs as lines over several upright axes: how params and metrics go together. The last axis colours the lines.
public struct ParallelPlot: Sendable {
    public enum Value: Sendable, Hashable {
        case number(Double)
        case text(String)
        /// The run has none.
        case none
    }

    public let title: String
    public let axes: [String]
    /// One value per axis, of each run.
    public let rows: [[Value]]
    /// Whether less is better on the last axis: the better lines are darker, and on top.
    public let isLeastBest: Bool

    public init(title: String, axes: [String], rows: [[Value]], isLeastBest: Bool = false) {
        (self.title, self.axes, self.rows, self.isLeastBest) = (title, axes, rows, isLeastBest)
    }

    public func drawing(width: Int = 960, height: Int = 540) -> Drawing {
        var drawing = Drawing(width: width, height: height)
        let scales = axes.indices.map { i in ParallelAxis(rows.map { $0[i] }) }
        let frame = Frame(left: 90, top: 88, right: Double(width) - 90, bottom: Double(height) - 50)
        func x(_ i: Int) -> Double { frame.x(axes.count == 1 ? 0.5 : Double(i) / Double(axes.count - 1)) }
        drawing.text(shortened(title, to: 80), at: Point(24, 28), size: 15)
        let last = axes.count - 1
        func merit(_ row: [Value]) -> Double? { scales[last].merit(row[last]).map { isLeastBest ? 1 - $0 : $0 } }
        let isCrowded = rows.count > 60
        for row in rows.sorted(by: { (merit($0) ?? -1) < (merit($1) ?? -1) }) {
            let colour = merit(row).map(Colour.ramp) ?? .background
            let places = scales.indices.map { i in scales[i].share(row[i]).map { Point(x(i), frame.y($0)) } }
            for part in places.split(separator: nil) {
                let points = part.compactMap { $0 }
                drawing.line(points, colour, width: isCrowded ? 1 : 1.6)
                for point in points { drawing.shapes.append(.disc(point, radius: isCrowded ? 1.6 : 2.6, colour)) }
            }
        }
        let room = axes.count > 1 ? (x(1) - x(0)) * 2 : 300
        for (i, name) in axes.enumerated() {
            drawAxis(&drawing, scales[i], at: x(i), frame, isLast: i == last && i > 0)
            // Every second name stands higher: neighbours do not touch.
            drawing.text(fitting(name, room - 12), at: Point(x(i), frame.top - (i % 2 == 0 ? 18 : 36)), anchor: .middle)
        }
        return drawing
    }

    private func drawAxis(_ drawing: inout Drawing, _ axis: ParallelAxis, at x: Double, _ frame: Frame, isLast: Bool) {
        drawing.line([Point(x, frame.top), Point(x, frame.bottom)], .axis, width: 1.2)
        if isLast, axis.isNumeric {
            // The axis is its own legend of colours.
            for i in 0..<40 {
                let (from, to) = (Double(i) / 40, Double(i + 1) / 40)
                let place = isLeastBest ? 1 - (from + to) / 2 : (from + to) / 2
                drawing.line([Point(x, frame.y(from)), Point(x, frame.y(to))], .ramp(place), width: 5)
            }
        }
        for mark in axis.marks {
            let y = frame.y(mark.share)
            drawing.line([Point(x - 3, y), Point(x + 3, y)], .axis)
            // Left of its axis, but for the last: lines come from the left there.
            let (place, anchor) = (Point(x + (isLast ? 9 : -8), y + 4), isLast ? Shape.Anchor.start : .end)
            drawing.shapes.append(.halo(mark.text, at: place, size: 11, anchor: anchor))
            drawing.text(mark.text, at: place, size: 11, .faint, anchor: anchor)
        }
    }

    private func fitting(_ name: String, _ room: Double) -> String {
        var count = name.count
        while count > 6, StrokeFont.width(shortened(name, to: count), size: 12) > room { count -= 1 }
        return shortened(name, to: count)
    }
}
