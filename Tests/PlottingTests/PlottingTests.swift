import Foundation
import Plotting
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

@Suite("Plots")
struct PlottingTests {
    @Test("a sparkline has the shape of its values")
    func sparkline() {
        #expect(Sparkline.text([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█")
        #expect(Sparkline.text([3, 3, 3]) == "▄▄▄")
        #expect(Sparkline.text([]) == "" && Sparkline.text([.nan]) == "")
        #expect(Sparkline.text([1, .nan, 2]) == "▁ █")
        #expect(Sparkline.text([1, .infinity, 1.7976931348623157e308, 2]) == "▁  █")
        #expect(Sparkline.texts([[0, 2], [8], [], [.nan]], width: 8) == ["▁▃", "█", "", " "])
        #expect(Sparkline.text((0..<10_000).map(Double.init), width: 8) == "▁▂▃▄▅▆▇█")
    }

    @Test(
        "marks are round numbers that span all values",
        arguments: [(0.0, 1.0), (0.71, 0.74), (-3.2, 11.9), (1e-9, 3e-9), (5, 5), (0, 0), (-2e7, 3e12)])
    func ticks(low: Double, high: Double) {
        let scale = Scale([low, high])
        #expect(scale.low <= low && scale.high >= high && scale.share(scale.low) == 0 && scale.share(scale.high) == 1)
        #expect((2...7).contains(scale.ticks.count) && scale.ticks == scale.ticks.sorted())
        let labels = scale.ticks.map(scale.label)
        #expect(Set(labels).count == labels.count, "\(labels)")
        for (tick, label) in zip(scale.ticks, labels) {
            #expect(abs((Double(label) ?? .nan) - tick) <= (scale.high - scale.low) * 0.05, "\(label) for \(tick)")
        }
    }

    @Test("numbers in few characters")
    func short() {
        #expect(
            [0.8731, 12, 3.2e-7, -1.5e9, 0, 123_456, 0.5, 100].map { Scale.short($0) } == [
                "0.8731", "12", "3.2e-7", "-1.5e9", "0", "123456", "0.5", "100",
            ])
        #expect(Scale.short(9.99999e-10) == "1e-9" && Scale.short(-99_999.96) == "-100000" && Scale.short(0.99996) == "1")
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
            title: "a <b> & \"c\" \u{1} 😀",
            series: [
                .init(name: "one", points: (0..<50).map { Point(Double($0), $0 == 20 ? .nan : Double($0 * $0)) }),
                .init(name: "dot", points: [Point(3, 5)]),
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

    @Test("a margin goes beyond the values but never beyond zero, and few marks are whole numbers")
    func margins() {
        #expect(Scale([0, 100], margin: 0.04).low == 0 && Scale([0, 100], margin: 0.04).high == 104)
        #expect(Scale([-5, 0], margin: 0.04).high == 0 && Scale([0.5, 0.9], margin: 0.1).low < 0.5)
        #expect(Scale([7], count: 8, leastStep: 1).ticks == [7] && Scale([0], count: 8, leastStep: 1).ticks == [-1, 0, 1])
        #expect(Scale([12_345_678, 12_345_690]).ticks.map(Scale([12_345_678, 12_345_690]).label).contains("12345680"))
    }

    @Test("a logarithmic axis has powers of ten at equal distances and ignores what is not above zero")
    func logarithmic() {
        let scale = Scale([1e-5, 1e-1, 0, -3, .infinity], isLogarithmic: true)
        #expect(scale.ticks.map(scale.label) == ["1e-5", "0.0001", "0.001", "0.01", "0.1"])
        #expect(abs(scale.share(1e-3) - 0.5) < 1e-9 && abs(scale.share(1e-2) - 0.75) < 1e-9)
        #expect(Scale([20, 300], isLogarithmic: true).ticks == [20, 50, 100, 200])
        #expect(LinePlot.unbroken([Point(0, 1), Point(1, 0), Point(2, 5)], isLogarithmic: true).count == 2)
    }

    @Test("an axis tells what is no number apart, tries magnitudes, and marks values chosen by hand")
    func parallelAxis() {
        let rates = ParallelAxis([.number(1e-4), .number(1e-2), .number(.nan), .number(.infinity), .none])
        #expect(rates.share(.number(1e-3)).map { abs($0 - 0.5) < 1e-9 } == true && rates.share(.none) == nil)
        #expect(rates.share(.number(.nan)).map { $0 < 0 } == true && rates.merit(.number(.nan)) == nil)
        #expect(rates.marks.map(\.text).contains("NaN, inf"))
        #expect(ParallelAxis([.number(32), .number(64), .number(256)]).marks.map(\.text) == ["32", "64", "256"])
        let mixed = ParallelAxis([.number(12), .number(4), .text("None"), .text("auto")])
        #expect(mixed.marks.map(\.text) == ["4", "12", "None", "auto"] && !mixed.isNumeric && mixed.share(.text("auto")) == 1)
    }

    @Test("twenty lines are told apart by colour and dashes, the others are behind them")
    func manyLines() {
        let series = (0..<30).map { i in LinePlot.Series(name: "run \(i)", points: [Point(0, Double(i)), Point(1, Double(i + 1))]) }
        let svg = LinePlot(title: "many", series: series).drawing().svg
        #expect(svg.contains(">10 more<") && svg.contains(">run 19<") && !svg.contains(">run 20<"))
        // Ten dashed lines, and each once more in the legend.
        #expect(svg.components(separatedBy: "stroke-dasharray").count - 1 == 20)
        let lines = svg.components(separatedBy: "<polyline").filter { $0.contains("stroke-width=\"1.2\"") }
        #expect(lines.count == 30 && lines.last?.contains("#0072b2") == true && lines.first?.contains("#d0d7de") == true)
    }

    @Test("a line that goes astray ends in a cross, and a picture without numbers says so")
    func astray() {
        let good = LinePlot(title: "m", series: [.init(name: "a", points: [Point(0, 1), Point(1, 2)])]).drawing().svg
        let bad = LinePlot(title: "m", series: [.init(name: "a", points: [Point(0, 1), Point(1, 2), Point(2, .nan)])]).drawing().svg
        func lines(_ svg: String) -> Int { svg.components(separatedBy: "<polyline").count - 1 }
        #expect(lines(bad) >= lines(good) + 2)
        let none = LinePlot(title: "m", series: [.init(name: "a", points: [Point(0, .nan)])]).drawing().svg
        #expect(none.contains("no numbers to draw") && none.contains(">a (no number)<"))
    }

    @Test("PNG draws dashes, and says which letters it cannot write")
    func letters() throws {
        let latin = LinePlot(title: "naïve", series: []).drawing()
        #expect(latin.isWritable && !LinePlot(title: "日本", series: []).drawing().isWritable)
        let series = (0..<11).map { LinePlot.Series(name: "\($0)", points: [Point(0, Double($0)), Point(1, Double($0))]) }
        #expect(
            try LinePlot(title: "a", series: series).drawing().png(scale: 1)
                != LinePlot(title: "a", series: series.dropLast()).drawing().png(scale: 1))
    }

    @Test("values without a history are dots, each with its name and number")
    func dots() throws {
        let plot = DotPlot(title: "auc", dots: [("a", 0.7), ("b", 0.9), ("c", .nan), ("d", .infinity)])
        let svg = plot.drawing().svg
        #expect(svg.components(separatedBy: "<circle").count - 1 == 2)
        for text in ["a", "b", "c", "0.7", "0.9", "NaN", "inf"] { #expect(svg.contains(">\(text)<"), "\(text)") }
        let logarithmic = DotPlot(title: "rate", isLogarithmic: true, dots: [("a", 1e-4), ("b", 0)]).drawing().svg
        #expect(logarithmic.components(separatedBy: "<circle").count - 1 == 1 && !logarithmic.contains("nan"))
        #expect(try !DotPlot(title: "none", dots: []).drawing().png(scale: 1).isEmpty)
    }
}
