import Foundation
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

import Plotting

@Suite("Plots")
struct PlottingTests {
    @Test("a sparkline has the shape of its values")
    func sparkline() {
        #expect(Sparkline.text([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█")
        #expect(Sparkline.text([3, 3, 3]) == "▄▄▄")
        #expect(Sparkline.text([]) == "" && Sparkline.text([.nan]) == "")
        #expect(Sparkline.text([1, .nan, 2]) == "▁ █")
        #expect(Sparkline.text([1, .infinity, 1.7976931348623157e308, 2]) == "▁  █")
        #expect(Sparkline.text((0..<10_000).map(Double.init), width: 8) == "▁▂▃▄▅▆▇█")
    }

    @Test("marks are round numbers that span all values", arguments: [(0.0, 1.0), (0.71, 0.74), (-3.2, 11.9), (1e-9, 3e-9), (5, 5), (0, 0), (-2e7, 3e12)])
    func ticks(low: Double, high: Double) {
        let scale = Scale([low, high])
        #expect(scale.low <= low && scale.high >= high && scale.share(scale.low) == 0 && scale.share(scale.high) == 1)
        #expect((3...13).contains(scale.ticks.count) && scale.ticks == scale.ticks.sorted())
        let labels = scale.ticks.map(scale.label)
        #expect(Set(labels).count == labels.count, "\(labels)")
        for (tick, label) in zip(scale.ticks, labels) {
            #expect(abs((Double(label) ?? .nan) - tick) <= (scale.high - scale.low) * 0.05, "\(label) for \(tick)")
        }
    }

    @Test("numbers in few characters")
    func short() {
        #expect([0.8731, 12, 3.2e-7, -1.5e9, 0, 123_456, 0.5, 100].map { Scale.short($0) } == ["0.8731", "12", "3.2e-7", "-1.5e9", "0", "123456", "0.5", "100"])
        #expect(Scale.short(.nan) == "NaN" && Scale.short(-.infinity) == "-inf" && Scale.short(1.7976931348623157e308) == "inf")
    }

    @Test("fewer points keep every peak")
    func downsample() {
        var points = (0..<100_000).map { Point(Double($0), Double($0 % 10)) }
        points[54_321] = Point(54_321, 1000)
        points[77_777] = Point(77_777, -1000)
        let fewer = Downsample.extremes(points, parts: 500)
        #expect(fewer.count <= 2000 && fewer.contains(points[54_321]) && fewer.contains(points[77_777]))
        #expect(fewer.first == points.first && fewer.last == points.last && fewer.map(\.x) == fewer.map(\.x).sorted())
        #expect(Downsample.extremes(Array(points.prefix(9)), parts: 500).count == 9)
    }

    @Test("SVG is XML whatever the names are, and PNG has the size and ends as it should")
    func files() throws {
        let plot = LinePlot(
            title: "a <b> & \"c\" \u{1} 😀", yLabel: "ü",
            series: [
                .init(name: "one", points: (0..<50).map { Point(Double($0), $0 == 20 ? .nan : Double($0 * $0)) }), .init(name: "dot", points: [Point(3, 5)]),
                .init(name: "none", points: []),
            ])
        let drawing = plot.drawing()
        let parser = XMLParser(data: Data(drawing.svg.utf8))
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        let png = try drawing.png(scale: 1)
        #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]) && png[16..<24] == [0, 0, 3, 192, 0, 0, 2, 28])
        #expect(png.suffix(8) == [0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82])
    }

    @Test("a line that is broken is drawn in parts")
    func broken() {
        let parts = LinePlot.unbroken([Point(0, 1), Point(1, .nan), Point(2, 2), Point(3, 3), Point(4, .infinity)])
        #expect(parts == [[Point(0, 1)], [Point(2, 2), Point(3, 3)]])
    }

    @Test("an axis of words and numbers, and runs without values")
    func parallel() {
        let plot = ParallelPlot(
            title: "p", axes: ["kind", "depth", "auc"],
            rows: [[.text("tree"), .number(3), .number(0.7)], [.text("linear"), .none, .number(0.6)], [.none, .number(5), .none]])
        let svg = plot.drawing().svg
        #expect(svg.contains(">tree<") && svg.contains(">linear<") && svg.contains(">auc<"))
    }
}
