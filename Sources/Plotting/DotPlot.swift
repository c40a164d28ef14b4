/// One value of each of several runs, as dots on lines under one scale: what a metric without a history looks like.
public struct DotPlot: Sendable {
    public let title: String
    public let isLogarithmic: Bool
    public let dots: [(name: String, value: Double)]

    /// More are not told apart.
    public static let dotsMax = 50

    public init(title: String, isLogarithmic: Bool = false, dots: [(name: String, value: Double)]) {
        (self.title, self.isLogarithmic, self.dots) = (title, isLogarithmic, dots)
    }

    public func drawing(width: Int = 960) -> Drawing {
        let height = max(200, 120 + dots.count * 22)
        var drawing = Drawing(width: width, height: height)
        let names = dots.map { shortened($0.name) }
        let left = (names.map { StrokeFont.width($0, size: 12) }.max() ?? 0) + 36
        let frame = Frame(left: left, top: 52, right: Double(width) - 90, bottom: Double(height) - 40)
        let scale = Scale(dots.map(\.value), count: 7, margin: 0.04, isLogarithmic: isLogarithmic)
        drawing.text(shortened(title, to: 80), at: Point(24, 28), size: 15)
        for tick in scale.ticks {
            let place = frame.x(scale.share(tick))
            drawing.line([Point(place, frame.top), Point(place, frame.bottom)], .grid)
            drawing.text(scale.label(tick), at: Point(place, frame.bottom + 19), .faint, anchor: .middle)
        }
        for (i, dot) in dots.enumerated() {
            let y = frame.top + (Double(i) + 0.5) * (frame.bottom - frame.top) / Double(dots.count)
            drawing.text(names[i], at: Point(frame.left - 12, y + 4), anchor: .end)
            drawing.line([Point(frame.left, y), Point(frame.right, y)], .grid)
            let hasPlace = Scale.isPlace(dot.value) && !(isLogarithmic && dot.value <= 0)
            if hasPlace { drawing.shapes.append(.disc(Point(frame.x(scale.share(dot.value)), y), radius: 5, Colour.palette[0])) }
            drawing.text(Scale.short(dot.value), at: Point(frame.right + 10, y + 4), hasPlace ? .ink : .faint)
        }
        return drawing
    }
}
