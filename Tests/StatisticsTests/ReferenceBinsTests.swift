import Contracts
import Statistics
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Reference bins and the population stability index")
struct ReferenceBinsTests {
    @Test("ten bins between deciles, upper edges included, and one for nulls")
    func deciles() {
        let bins = ReferenceBins(numbers: (1...100).map(Double.init) + [.nan, .infinity])
        #expect(bins.edges == [10, 20, 30, 40, 50, 60, 70, 80, 90])
        #expect(bins.counts == [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 2])
        #expect(([-5, 10, 10.5, 90, 91, 1e300, .nan] as [Double]).map { bins.index(of: $0) } == [0, 0, 1, 8, 9, 9, 10])
        #expect(bins.index(of: Value.null) == 10 && bins.index(of: Value.int(15)) == 1)
        #expect(bins.labels.first == "≤ 10.0" && bins.labels.last == "null" && bins.labels.count == bins.binCount)
    }

    @Test("equal deciles collapse, and a constant column still shows drift on both sides")
    func constants() {
        let bins = ReferenceBins(numbers: Array(repeating: 5, count: 80))
        #expect(bins.counts == [0, 80, 0, 0])
        #expect(([4, 5, 6] as [Double]).map { bins.index(of: $0 as Double) } == [0, 1, 2])
        #expect(bins.stability(of: bins.count(Array(repeating: 4, count: 80))).index > 1)
        #expect(ReferenceBins(numbers: []).counts == [0, 0])
        #expect(ReferenceBins(numbers: [.nan]).index(of: 3.0 as Double) == 0)
    }

    @Test("texts: the frequent ones, all others, nulls")
    func texts() {
        let bins = ReferenceBins(texts: ["UA", "UA", nil, "AA"] + (0..<60).map { "x\($0)" })
        #expect(bins.categories?.first == "UA" && bins.binCount == 52)
        #expect(bins.counts[0] == 2 && bins.counts[51] == 1 && bins.rowCount == 64)
        #expect(bins.index(of: "UA") == 0 && bins.index(of: "never seen") == 50 && bins.index(of: String?.none) == 51)
    }

    @Test("bins from a profile are those of the values, within the sketch's error")
    func fromProfile() throws {
        var random = Seeded(3)
        let values = (0..<50_000).map { _ in Double.random(in: 0..<1, using: &random) }
        let bins = ReferenceBins(try #require(Profile(of: Table([("x", Column(.float64, .float64(values)))]))["x"]))
        for (edge, i) in zip(try #require(bins.edges), 1...) { #expect(abs(edge - Double(i) / 10) < 0.02) }
        #expect(abs(bins.rowCount - 50_000) < 1e-6)
        #expect(populationStability(reference: bins.counts, current: bins.count(values)) < 0.01)
    }

    @Test("the index as computed by hand")
    func byHand() {
        // (0.5 − 0.25) ln 2 + (0.5 − 0.75) ln (2/3) = 0.2746530722
        #expect(abs(populationStability(reference: [25, 75], current: [50, 50]) - 0.274_653_072_167_027) < 1e-12)
        // An empty bin counts as 0.0001: (0.0001 − 0.5) ln 0.0002 + 0.5 ln 2
        #expect(abs(populationStability(reference: [0.5, 0.5], current: [0, 7]) - (-0.4999 * log(0.0002) + 0.5 * log(2.0))) < 1e-12)
        #expect(populationStability(reference: [3, 4], current: [30, 40]) == 0)
        #expect(populationStability(reference: [3, 4], current: [0, 0]).isNaN)
    }

    @Test("without drift the index stays under its threshold, in 999 of 1000 samples")
    func threshold() {
        var (random, above) = (Seeded(11), 0)
        let trials = 2000
        for _ in 0..<trials {
            let bins = ReferenceBins(numbers: (0..<400).map { _ in Double.random(in: 0..<1, using: &random) })
            let (index, threshold) = bins.stability(of: bins.count((0..<300).map { _ in Double.random(in: 0..<1, using: &random) }))
            if index > threshold { above += 1 }
        }
        #expect(above <= trials / 100)
        #expect(abs(populationStabilityThreshold(bins: 10, reference: 1000, current: 500) / (0.003 * 27.877) - 1) < 0.01)
    }

    @Test("bins survive JSON")
    func encoding() throws {
        for bins in [ReferenceBins(numbers: [1, 2, .nan, 7]), ReferenceBins(texts: ["a", nil, "b"]), ReferenceBins(numbers: [0, 0, 1])] {
            #expect(try ReferenceBins(json: JSON.parse(bins.json.bytes)) == bins)
        }
        #expect(throws: KeelError.self) { try ReferenceBins(json: ["counts": [1, 2], "edges": [3, 4]]) }
    }
}
