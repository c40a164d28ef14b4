import Console
import Testing

@Suite("Charts of scores")
struct ScoreChartTests {
    @Test("every finite score is in one bin, also at the ends of the widest range")
    func bins() {
        let scores: [(release: Int, score: Double)] =
            (0..<100).map { (1, Double($0) / 99) } + [(2, 0), (2, 1), (2, .nan), (2, .infinity)]
        let chart = ScoreChart(scores)
        #expect(chart.counts.map(\.release) == [1, 2] && chart.counts.map { $0.counts.reduce(0, +) } == [100, 2])
        #expect(chart.counts[1].counts.first == 1 && chart.counts[1].counts.last == 1 && chart.bounds.count == 20)
        let wide = ScoreChart([(1, -Double.greatestFiniteMagnitude), (1, .greatestFiniteMagnitude), (1, 0)])
        #expect(wide.counts[0].counts.reduce(0, +) == 3 && wide.bounds.allSatisfy(\.isFinite))
    }

    @Test("scores that are all the same are in one bin, and no score is no chart")
    func same() {
        #expect(ScoreChart([(3, 0.5), (3, 0.5)]).counts[0].counts == [2] + [Int](repeating: 0, count: 19))
        #expect(ScoreChart([(3, .nan)]).counts.isEmpty)
    }
}
