import Contracts
import Serving

/// How the latest scores of an endpoint are spread, by release: the numbers of a histogram.
package struct ScoreChart: Sendable {
    static let predictionsMax = 1000
    private static let bins = 20

    /// The lower bounds of the bins, all of one width.
    package let bounds: [Double]
    /// For each release, how many of its scores are in each bin.
    package let counts: [(release: Int, counts: [Int])]

    /// - Parameter scores: of releases; what is no finite number is passed over.
    package init(_ scores: [(release: Int, score: Double)]) {
        let finite = scores.filter { $0.score.isFinite }
        guard let low = finite.map(\.score).min(), let greatest = finite.map(\.score).max() else {
            bounds = []
            counts = []
            return
        }
        let high = greatest > low ? greatest : low + 1
        let bins = Double(ScoreChart.bins)
        // Weighted and not added up, so that the bounds of the widest range are still numbers.
        bounds = (0..<ScoreChart.bins).map { low * (1 - Double($0) / bins) + high * (Double($0) / bins) }
        let width = high / bins - low / bins
        counts = Set(finite.map(\.release)).sorted().map { release in
            var counts = [Int](repeating: 0, count: ScoreChart.bins)
            for each in finite where each.release == release {
                counts[min(ScoreChart.bins - 1, max(0, Int(saturating: ((each.score - low) / width).rounded(.down))))] += 1
            }
            return (release, counts)
        }
    }

    var json: JSON {
        [
            "x": "score",
            "series": .array(
                counts.map { release, counts in
                    [
                        "name": .string("release \(release)"),
                        "data": .array(zip(bounds, counts).map { [.double($0), .int(Int64($1))] }),
                    ]
                }),
        ]
    }

    static func latest(_ ref: ResourceRef, _ asked: PageRequest, _ grant: Grant) async throws -> ScoreChart {
        let stored = try await PredictionQueries(database: asked.platform.database).latest(endpoint: ref, limit: predictionsMax, grant)
        return ScoreChart(stored.compactMap { stored in stored.score.map { (stored.release, $0) } })
    }
}

func addScoreChart(to pages: ConsoleRoutes) {
    pages.data("/endpoints/:name/scores.json", .predictionsRead, on: .placed(EndpointSpec.kind)) { asked in
        try await ScoreChart.latest(try asked.thing(EndpointSpec.kind), asked, asked.grant).json
    }
}
