import Contracts

/// One metric of several runs over the steps.
public struct LinePlot: Sendable {
    public struct Series: Sendable {
        public let name: String
        /// In the order of `x`; where `y` is no number the line is broken.
        public let points: [Point]
        public init(name: String, points: [Point]) { (self.name, self.points) = (name, points) }
    }

    public let title: String
    public let xLabel: String
    public let series: [Series]
    /// Whether the axis of values is logarithmic; values that are not above zero break their line then.
    public let isLogarithmic: Bool

    /// Lines that are told apart: each colour once as a solid and once as a dashed line. Those after them are in the background.
    static let namedMax = Colour.palette.count * 2

    public init(title: String, xLabel: String = "step", isLogarithmic: Bool = false, series: [Series]) {
        (self.title, self.xLabel, self.isLogarithmic, self.series) = (title, xLabel, isLogarithmic, series)
    }

    public func drawing(width: Int = 960, height: Int = 540) -> Drawing {
        var drawing = Drawing(width: width, height: height)
        let names = series.prefix(LinePlot.namedMax).map { shortened($0.name) + (stretches($0.points).isEmpty ? " (no number)" : "") }
        let legend = (names.map { StrokeFont.width($0, size: 12) }.max() ?? 0) + 64
        let y = Scale(series.flatMap { $0.points.map(\.y) }, count: 7, margin: 0.04, isLogarithmic: isLogarithmic)
        let x = Scale(series.flatMap { $0.points.map(\.x) }, count: 8, leastStep: 1)
        let left = (y.ticks.map { StrokeFont.width(y.label($0), size: 12) }.max() ?? 0) + 32
        let frame = Frame(left: left, top: 48, right: Double(width) - legend, bottom: Double(height) - 52)
        drawing.text(shortened(title, to: 80), at: Point(frame.left, 28), size: 15)
        drawAxes(&drawing, x, y, frame, at: Double(height) - 12)
        // The first is drawn last, on top.
        for (i, one) in series.enumerated().reversed() {
            let pen = LinePlot.pen(i)
            let stretches = stretches(one.points)
            for stretch in stretches {
                let points = Downsample.extremes(
                    stretch.map { Point(frame.x(x.share($0.x)), frame.y(y.share($0.y))) }, parts: Int(saturating: frame.right - frame.left))
                drawing.line(points, pen.colour, width: series.count > 8 ? 1.2 : 1.8, isDashed: pen.isDashed)
                if points.count == 1 { drawing.shapes.append(.disc(points[0], radius: 3.5, pen.colour)) }
            }
            // Where a line ends for want of numbers is a cross: the run has gone astray there.
            if let end = stretches.last?.last, one.points.last != end {
                let place = Point(frame.x(x.share(end.x)), frame.y(y.share(end.y)))
                for slope in [4.0, -4.0] {
                    drawing.line([Point(place.x - 4, place.y - slope), Point(place.x + 4, place.y + slope)], pen.colour, width: 1.8)
                }
            }
        }
        if series.allSatisfy({ stretches($0.points).isEmpty }) {
            drawing.text(
                "no numbers to draw", at: Point((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2), size: 15, .faint,
                anchor: .middle)
        }
        drawLegend(&drawing, names, at: Point(frame.right + 22, frame.top + 4))
        return drawing
    }

    /// Which line the series of this number is.
    private static func pen(_ number: Int) -> (colour: Colour, isDashed: Bool) {
        number < namedMax ? (Colour.palette[number % Colour.palette.count], number >= Colour.palette.count) : (.background, false)
    }

    private func drawAxes(_ drawing: inout Drawing, _ x: Scale, _ y: Scale, _ frame: Frame, at bottom: Double) {
        for tick in y.ticks {
            let place = frame.y(y.share(tick))
            drawing.line([Point(frame.left, place), Point(frame.right, place)], .grid)
            drawing.text(y.label(tick), at: Point(frame.left - 8, place + 4), .faint, anchor: .end)
        }
        for tick in x.ticks {
            let place = frame.x(x.share(tick))
            drawing.line([Point(place, frame.bottom), Point(place, frame.bottom + 5)], .axis)
            drawing.text(x.label(tick), at: Point(place, frame.bottom + 19), .faint, anchor: .middle)
        }
        drawing.line([Point(frame.left, frame.bottom), Point(frame.right, frame.bottom)], .axis)
        drawing.text(xLabel, at: Point((frame.left + frame.right) / 2, bottom), .faint, anchor: .middle)
    }

    private func drawLegend(_ drawing: inout Drawing, _ names: [String], at corner: Point) {
        func entry(_ place: Int, _ text: String, _ colour: Colour) {
            let (y, pen) = (corner.y + Double(place) * 20, LinePlot.pen(place))
            drawing.line([Point(corner.x, y), Point(corner.x + 26, y)], pen.colour, width: 2.4, isDashed: pen.isDashed)
            drawing.text(text, at: Point(corner.x + 33, y + 4), colour)
        }
        for (i, name) in names.enumerated() { entry(i, name, .ink) }
        if series.count > names.count { entry(names.count, "\(series.count - names.count) more", .faint) }
    }

    /// The stretches between points that have no place.
    private func stretches(_ points: [Point]) -> [[Point]] { LinePlot.unbroken(points, isLogarithmic: isLogarithmic) }

    package static func unbroken(_ points: [Point], isLogarithmic: Bool = false) -> [[Point]] {
        points.split { !Scale.isPlace($0.y) || isLogarithmic && $0.y <= 0 }.map(Array.init)
    }
}

/// The place of the plot in its picture.
struct Frame {
    let left: Double
    let top: Double
    let right: Double
    let bottom: Double

    func x(_ share: Double) -> Double { left + (right - left) * share }
    func y(_ share: Double) -> Double { bottom - (bottom - top) * share }
}

/// Without its middle when it is long: names of one family differ at their ends.
func shortened(_ text: String, to count: Int = 28) -> String {
    text.count > count ? text.prefix((count - 2) / 2) + ".." + text.suffix((count - 1) / 2) : text
}
