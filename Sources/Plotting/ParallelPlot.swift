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

    public init(title: String, axes: [String], rows: [[Value]]) { (self.title, self.axes, self.rows) = (title, axes, rows) }

    /// One axis: of numbers when all are, of words otherwise.
    private enum Axis {
        case numbers(Scale)
        case words([String])

        init(_ values: [Value]) {
            let numbers = values.compactMap { if case .number(let v) = $0, v.isFinite { v } else { nil } }
            if values.contains(where: { if case .text = $0 { true } else { false } }) {
                self = .words(Set(values.compactMap(Axis.word)).sorted())
            } else {
                self = .numbers(Scale(numbers, count: 6))
            }
        }

        static func word(_ value: Value) -> String? {
            switch value {
            case .number(let v): Scale.short(v)
            case .text(let v): v
            case .none: nil
            }
        }

        func share(_ value: Value) -> Double? {
            switch self {
            case .numbers(let scale):
                guard case .number(let v) = value, v.isFinite, abs(v) < 1e300 else { return nil }
                return scale.share(v)
            case .words(let words):
                guard let word = Axis.word(value), let i = words.firstIndex(of: word) else { return nil }
                return words.count == 1 ? 0.5 : Double(i) / Double(words.count - 1)
            }
        }

        var marks: [(share: Double, text: String)] {
            switch self {
            case .numbers(let scale): scale.ticks.map { (scale.share($0), scale.label($0)) }
            // Of very many words only some can be written.
            case .words(let words):
                words.enumerated().filter { $0.offset % (words.count / 20 + 1) == 0 }.map { (share(.text($0.element)) ?? 0, shortened($0.element, to: 14)) }
            }
        }
    }

    public func drawing(width: Int = 960, height: Int = 540) -> Drawing {
        var drawing = Drawing(width: width, height: height)
        let scales = axes.indices.map { i in Axis(rows.map { $0[i] }) }
        let frame = Frame(left: 90, top: 84, right: Double(width) - 90, bottom: Double(height) - 36)
        func x(_ i: Int) -> Double { frame.x(axes.count == 1 ? 0.5 : Double(i) / Double(axes.count - 1)) }
        drawing.text(title, at: Point(24, 26), size: 15)
        let last = axes.count - 1
        // The best end is drawn last, on top.
        let ordered = rows.sorted { (scales[last].share($0[last]) ?? -1) < (scales[last].share($1[last]) ?? -1) }
        for row in ordered {
            let places = scales.indices.map { i in scales[i].share(row[i]).map { Point(x(i), frame.y($0)) } }
            let colour = scales[last].share(row[last]).map(Colour.ramp) ?? .grid
            for part in places.split(separator: nil) {
                let points = part.compactMap { $0 }
                drawing.line(points, colour, width: rows.count > 60 ? 1 : 1.6)
                for point in points { drawing.shapes.append(.disc(point, radius: rows.count > 60 ? 1.6 : 2.6, colour)) }
            }
        }
        for (i, name) in axes.enumerated() {
            drawing.line([Point(x(i), frame.top), Point(x(i), frame.bottom)], .axis, width: 1.2)
            drawing.text(shortened(name, to: 24), at: Point(x(i), frame.top - (i % 2 == 0 ? 16 : 32)), anchor: .middle)
            // Left of its axis, but for the last: lines come from the left there.
            for mark in scales[i].marks {
                drawing.line([Point(x(i) - 3, frame.y(mark.share)), Point(x(i) + 3, frame.y(mark.share))], .axis)
                let isLast = i == last && i > 0
                let (place, anchor) = (Point(x(i) + (isLast ? 8 : -8), frame.y(mark.share) + 4), isLast ? Shape.Anchor.start : .end)
                drawing.shapes.append(.halo(mark.text, at: place, size: 11, anchor: anchor))
                drawing.text(mark.text, at: place, size: 11, .faint, anchor: anchor)
            }
        }
        return drawing
    }
}
