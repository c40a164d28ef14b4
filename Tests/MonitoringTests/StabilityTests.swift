import Contracts
import Foundation
import Monitoring
import Statistics
import TestSupport
import Testing

@Suite("Population stability of windows")
struct StabilityTests {
    @Test("the counts of a window give the PSI that counting each value by its definition gives", arguments: 0..<10)
    func oracle(seed: Int) async throws {
        var random = Seeded(UInt64(seed))
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

    @Test("bins of numbers become columns as they are, those of texts do not")
    func bins() throws {
        let bins = ReferenceBins(numbers: (0..<1000).map { Double($0) / 10 } + [.nan])
        let column = try ReferenceColumn(name: "x", bins: bins)
        #expect(column.edges == bins.edges?.map { Float($0) } && column.shares == bins.shares)
        #expect(throws: KeelError.self) { try ReferenceColumn(name: "x", bins: ReferenceBins(texts: ["a", "b"])) }
    }

    @Test(
        "without drift hardly a column of hardly a window passes the calibrated threshold, though many pass 0.02 on small samples",
        arguments: 0..<4)
    func falseAlarms(seed: Int) async throws {
        var random = Seeded(UInt64(seed))
        let columns = try (0..<5).map { _ in (0..<5000).map { _ in random.normal() } }.enumerated().map {
            try ReferenceColumn(name: "c\($0)", bins: ReferenceBins(numbers: $1))
        }
        // A threshold that chance passes now and then: only the calibration stands against alerts.
        let home = try await MonitorHome(
            spec: ["endpoint": "delay", "window": "1h", "drift": ["threshold": 0.02, "minimumRows": 10]], inputs: columns)
        let (hours, perHour) = (40, 400)
        for hour in 0..<hours {
            try await home.service.observe(
                (0..<perHour).map { i in
                    home.prediction(at: Int64(hour * 3600 + i * 9), features: (0..<5).map { _ in Float(random.normal()) })
                })
        }
        let all = try await home.windows(.drift).flatMap(\.columns)
        #expect(all.count == (hours - 1) * 5)
        #expect(all.count { $0.psi > 0.02 } > 20)
        // One of 1000 is expected of 195; more than 3 has a chance below 1 in 10,000.
        #expect(all.count(where: \.drifted) <= 3)
        // A real shift of half a standard deviation is far above it.
        try await home.service.observe(
            (0..<perHour).map { i in
                home.prediction(
                    at: Int64(hours * 3600 + i * 9), features: [Float(random.normal() + 0.5)] + (0..<4).map { _ in Float(random.normal()) })
            })
        try await home.service.observe([home.prediction(at: 1_000_000, features: [0, 0, 0, 0, 0])])
        #expect(try await home.windows(.drift).last?.columns.first?.drifted == true)
    }
}

extension Seeded {
    mutating func uniform() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }
    mutating func normal() -> Double { (-2 * log(1 - uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}
