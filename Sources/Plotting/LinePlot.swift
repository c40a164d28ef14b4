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
    public let yLabel: String
    public let series: [Series]
    /// Names that the legend shows; it says how many more there are.
    static let legendMax = 20

    public init(title: String, xLabel: String = "step", yLabel: String, series: [Series]) {
        (self.title, self.xLabel, self.yLabel, self.series) = (title, xLabel, yLabel, series)
    }

    public func drawing(width: Int = 960, height: Int = 540) -> Drawing {
        var drawing = Drawing(width: width, height: height)
        let names = series.prefix(LinePlot.legendMax).map { shortened($0.name) }
        let legend = (names.map { StrokeFont.width($0, size: 12) }.max() ?? 0) + 44
        let y = Scale(series.flatMap { $0.points.map(\.y) }, count: 7)
        let labels = y.ticks.map(y.label)
        let left = (labels.map { StrokeFont.width($0, size: 12) }.max() ?? 0) + 44
        let frame = Frame(left: left, top: 44, right: Double(width) - legend, bottom: Double(height) - 52)
        let xs = series.flatMap { $0.points.map(\.x) }
        let x = Scale(xs, count: 8)
        // Steps end where they end: only values get room up to the next mark.
        let (first, last) = xs.isEmpty || xs.min() == xs.max() ? (x.low, x.high) : (xs.min() ?? 0, xs.max() ?? 1)
        func place(_ point: Point) -> Point { Point(frame.x((point.x - first) / (last - first)), frame.y(y.share(point.y))) }

        drawing.text(title, at: Point(frame.left, 26), size: 15)
        for (tick, label) in zip(y.ticks, labels) {
            drawing.line([Point(frame.left, frame.y(y.share(tick))), Point(frame.right, frame.y(y.share(tick)))], .grid)
            drawing.text(label, at: Point(frame.left - 8, frame.y(y.share(tick)) + 4), .faint, anchor: .end)
        }
        for tick in x.ticks where tick >= first && tick <= last {
            let at = frame.x((tick - first) / (last - first))
            drawing.line([Point(at, frame.bottom), Point(at, frame.bottom + 5)], .axis)
            drawing.text(x.label(tick), at: Point(at, frame.bottom + 19), .faint, anchor: .middle)
        }
        drawing.line([Point(frame.left, frame.bottom), Point(frame.right, frame.bottom)], .axis)
        drawing.text(xLabel, at: Point((frame.left + frame.right) / 2, Double(height) - 12), .faint, anchor: .middle)
        drawing.text(yLabel, at: Point(18, (frame.top + frame.bottom) / 2), .faint, anchor: .middle, isUpright: true)
        for (i, one) in series.enumerated() {
            let colour = Colour.series(i)
            for part in LinePlot.unbroken(one.points) {
                let points = Downsample.extremes(part.map(place), parts: Int(frame.right - frame.left))
                drawing.line(points, colour, width: series.count > 8 ? 1.2 : 1.8)
                if part.count == 1 { drawing.shapes.append(.disc(place(part[0]), radius: 3, colour)) }
            }
        }
        drawLegend(&drawing, names, at: Point(frame.right + 14, frame.top + 4))
        return drawing
    }

    private func drawLegend(_ drawing: inout Drawing, _ names: [String], at corner: Point) {
        for (i, name) in names.enumerated() {
            let y = corner.y + Double(i) * 20
            drawing.line([Point(corner.x, y), Point(corner.x + 16, y)], Colour.series(i), width: 3)
            drawing.text(name, at: Point(corner.x + 22, y + 4))
        }
        if series.count > names.count {
            drawing.text("and \(series.count - names.count) more", at: Point(corner.x, corner.y + Double(names.count) * 20 + 4), .faint)
        }
    }

    /// The stretches between points that are no numbers.
    package static func unbroken(_ points: [Point]) -> [[Point]] {
        points.split { !$0.y.isFinite || abs($0.y) > 1e300 }.map(Array.init)
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

func shortened(_ text: String, to count: Int = 28) -> String { text.count > count ? text.prefix(count - 2) + ".." : text }
