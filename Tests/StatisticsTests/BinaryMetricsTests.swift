import Contracts
import Statistics
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Metrics of a yes-or-no prediction")
struct BinaryMetricsTests {
    /// Every pair of a positive and a negative, a tie counting half: the definition of ROC AUC.
    private func pairwiseAUC(_ scores: [Float], _ labels: [Float]) -> Double? {
        var (won, pairs) = (0.0, 0.0)
        for i in scores.indices where labels[i] == 1 {
            for j in scores.indices where labels[j] == 0 {
                won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0
                pairs += 1
            }
        }
        return pairs == 0 ? nil : won / pairs
    }

    @Test("AUC is the share of pairs ranked right, with any number of ties", arguments: [2, 5, 1000])
    func auc(levels: Int) throws {
        var random = Seeded(UInt64(levels))
        for _ in 0..<60 {
            let n = Int.random(in: 0...80, using: &random)
            let scores = (0..<n).map { _ in Float(Int.random(in: 0..<levels, using: &random)) / Float(levels) }
            let labels = (0..<n).map { _ in Float(Bool.random(using: &random) ? 1 : 0) }
            let (found, expected) = (try BinaryMetrics.rocAUC(scores: scores, labels: labels), pairwiseAUC(scores, labels))
            #expect((found == nil) == (expected == nil))
            if let found, let expected { #expect(abs(found - expected) < 1e-12) }
        }
    }

    @Test("known values, as scikit-learn gives them")
    func known() throws {
        let (labels, scores): ([Double], [Double]) = ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        let metrics = try BinaryMetrics(scores: scores, labels: labels)
        #expect(metrics.auc == 0.75)
        #expect(abs(metrics.logLoss - 0.4722879) < 1e-6)
        #expect(abs(metrics.brier - 0.158125) < 1e-12)
        #expect(metrics.accuracy == 0.75)
        #expect(metrics.positives == 2)
        #expect(metrics.json["auc"] == 0.75)
    }

    @Test("one class only has no AUC but all else")
    func oneClass() throws {
        let metrics = try BinaryMetrics(scores: [0.5, 1] as [Float], labels: [1, 1] as [Float])
        #expect(metrics.auc == nil)
        #expect(metrics.json["auc"] == .null)
        #expect(abs(metrics.logLoss - log(2) / 2) < 1e-12)
    }

    @Test("a certain and wrong score costs much, not infinitely much")
    func clipped() throws {
        let loss = try BinaryMetrics.logLoss(scores: [0.0, 1.0], labels: [1.0, 0.0])
        #expect(loss > 34 && loss < 35)
    }

    @Test("calibration compares mean score and observed rate in ten bins")
    func calibration() throws {
        let found = try BinaryMetrics.calibration(scores: [0.05, 0.05, 0.95, 1, 1, 1], labels: [0.0, 1, 1, 1, 1, 0])
        #expect(found.bins.count == 10)
        #expect(found.bins[0].count == 2 && found.bins[0].observed == 0.5)
        #expect(found.bins[9].count == 4 && found.bins[9].observed == 0.75)
        #expect(found.bins[5].predicted == nil)
        #expect(abs(found.expectedError - (0.9 + 0.95) / 6) < 1e-12)
        let honest = (0..<1000).map { Double($0) / 1000 }
        let labels = honest.map { _ in 0.0 }
        #expect(abs(try BinaryMetrics.calibration(scores: honest, labels: labels).expectedError - 0.4995) < 1e-9)
    }

    @Test("what is no score or no label is refused with its row")
    func refusals() {
        for scores: [Float] in [[0.1, .nan], [0.1, .infinity]] {
            let error = #expect(throws: KeelError.self) { try BinaryMetrics.rocAUC(scores: scores, labels: [0, 1] as [Float]) }
            #expect(error?.path == "scores[1]")
        }
        for label: Float in [.nan, 2, 0.5, -1] {
            let error = #expect(throws: KeelError.self) { try BinaryMetrics(scores: [0.1] as [Float], labels: [label]) }
            #expect(error?.path == "labels[0]")
        }
        #expect(throws: KeelError.self) { try BinaryMetrics.brier(scores: [1.5] as [Float], labels: [1] as [Float]) }
        #expect(throws: KeelError.self) { try BinaryMetrics.accuracy(scores: [0.5] as [Float], labels: [] as [Float]) }
        #expect(throws: KeelError.self) { try BinaryMetrics(scores: [] as [Float], labels: [] as [Float]) }
    }

    @Test("log loss in parts is the log loss of the whole")
    func streaming() throws {
        var random = Seeded(500)
        let scores = (0..<500).map { _ in Double.random(in: 0...1, using: &random) }
        let labels = scores.map { _ in Double(Int.random(in: 0...1, using: &random)) }
        var (left, right) = (LogLoss(), LogLoss())
        #expect(left.mean == nil)
        for i in scores.indices {
            if i < 200 {
                try left.add(score: scores[i], label: labels[i] == 1)
            } else {
                try right.add(score: scores[i], label: labels[i] == 1)
            }
        }
        #expect(throws: KeelError.self) { try left.add(score: .nan, label: true) }
        left.merge(right)
        let whole = try BinaryMetrics.logLoss(scores: scores, labels: labels)
        #expect(abs(try #require(left.mean) - whole) < 1e-9)
    }
}
