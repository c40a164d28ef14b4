import Contracts
import Foundation
import Monitoring
import Testing

@Suite("Population stability")
struct StabilityTests {
    @Test("PSI is what one computes by hand, with empty bins as 0.0001")
    func byHand() throws {
        let psi = try #require(Stability.psi(reference: [0.5, 0.5], counts: [30, 10]))
        #expect(abs(psi - (0.25 * log(1.5) - 0.25 * log(0.5))) < 1e-12)
        let empty = try #require(Stability.psi(reference: [0.5, 0.5, 0], counts: [40, 0, 0]))
        #expect(abs(empty - (0.5 * log(2.0) + (0.0001 - 0.5) * log(0.0001 / 0.5))) < 1e-12)
        #expect(Stability.psi(reference: [0.2, 0.8], counts: [20, 80]) == 0)
        #expect(Stability.psi(reference: [1], counts: [0]) == nil)
    }

    @Test("the counts of a window give the PSI that counting each value by its definition gives", arguments: 0..<10)
    func oracle(seed: Int) async throws {
        var random = SplitMix(state: UInt64(seed))
        let edges: [Double] = [-1.5, -0.5, 0, 0.25, 0.3, 1, 2]
        let shares = (0..<edges.count + 2).map { _ in random.uniform() }
        let total = shares.reduce(0, +)
        let column = try ReferenceColumn(name: "x", edges: edges, shares: shares.map { $0 / total })
        let values = (0..<3000).map { _ -> Float in
            switch random.next() % 10 {
            case 0: .nan
            case 1: Float(edges[Int(random.next() % UInt64(edges.count))])
            case 2: [-.infinity, .infinity][Int(random.next() % 2)]
            default: Float(random.normal())
            }
        }
        var expected = 0.0
        for bin in 0..<edges.count + 2 {
            let count = values.filter { value in
                if bin == edges.count + 1 { return !value.isFinite }
                if !value.isFinite { return false }
                return (bin == 0 || value > Float(edges[bin - 1])) && (bin == edges.count || value <= Float(edges[bin]))
            }.count
            let (r, c) = (column.shares[bin], count == 0 ? 0.0001 : Double(count) / 3000)
            expected += (c - r) * log(c / r)
        }
        let home = try await MonitorHome(spec: ["endpoint": "delay", "window": "1h", "drift": [:]], inputs: [column])
        try await home.service.observe(values.map { home.prediction(at: 60, features: [$0]) } + [home.prediction(at: 8000, features: [0])])
        let window = try #require(try await home.windows(.drift).first)
        #expect(abs((window.columns.first?.psi ?? 0) - expected) < 1e-9)
        #expect(window.columns.first?.counts.reduce(0, +) == 3000)
    }

    @Test("an edge just below the smallest value stays below it when it is rounded")
    func rounding() throws {
        let column = try ReferenceColumn(name: "constant", edges: [Double(0.1).nextDown, 0.1], shares: [0, 1, 0, 0])
        #expect(column.edges[0] < Float(0.1) && column.edges[1] == Float(0.1))
        #expect(throws: KeelError.self) { try ReferenceColumn(name: "x", edges: [1, 1], shares: [0, 0, 0, 0]) }
        #expect(throws: KeelError.self) { try ReferenceColumn(name: "x", edges: [1], shares: [1]) }
    }

    @Test("without drift few windows pass the calibrated threshold, whatever their size", arguments: [(200, 10), (500, 20), (2000, 5)])
    func calibration(rows: Int, bins: Int) throws {
        var random = SplitMix(state: UInt64(rows + bins))
        func counts(_ n: Int) -> [Int] {
            (0..<n).reduce(into: [Int](repeating: 0, count: bins)) { counts, _ in counts[Int(random.next() % UInt64(bins))] += 1 }
        }
        let limit = Stability.calibratedThreshold(bins: bins, rows: rows, referenceRows: 5000, falseAlarms: 0.05)
        let trials = 400
        let alarms = try (0..<trials).count { _ in
            let reference = counts(5000).map { Double($0) / 5000 }
            return try #require(Stability.psi(reference: reference, counts: counts(rows))) > limit
        }
        // 5 % of 400 are 20; the binomial's standard deviation is 4.4.
        #expect((5...42).contains(alarms), "\(alarms) of \(trials)")
    }

    @Test("the calibrated threshold follows the quantiles of the χ² distribution")
    func quantiles() {
        // χ² of 9 degrees: 95 % at 16.919, 99 % at 21.666.
        let five = Stability.calibratedThreshold(bins: 10, rows: 1000, referenceRows: 1000, falseAlarms: 0.05)
        let one = Stability.calibratedThreshold(bins: 10, rows: 1000, referenceRows: 1000, falseAlarms: 0.01)
        #expect(abs(five - 16.919 * 0.002) < 0.0005 && abs(one - 21.666 * 0.002) < 0.0005)
        #expect(Stability.calibratedThreshold(bins: 1, rows: 10, referenceRows: 10, falseAlarms: 0.05) == 0)
    }
}

/// Sebastiano Vigna's SplitMix64: the same numbers on every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func uniform() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }
    mutating func normal() -> Double { (-2 * log(1 - uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}
