import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// How well scores rank and predict a yes-or-no label: the same arithmetic for evaluation, gates, rollouts and monitors.
///
/// Scores are probabilities of the label 1, in 0…1 (ROC AUC takes any finite score); labels are exactly 0 or 1; both arrays have one element per row.
/// Everything throws `invalidArgument`, naming the row, for arrays of different lengths, a NaN or infinite score, or another label.
public struct BinaryMetrics: Sendable, Hashable {
    public let count: Int
    public let positives: Int
    /// Nil when only one class is present.
    public let auc: Double?
    public let logLoss: Double
    public let brier: Double
    /// The share of rows that `score >= 0.5` calls right.
    public let accuracy: Double
    public let calibration: Calibration

    /// All metrics at once. At least one row is needed.
    public init<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(scores: [S], labels: [L]) throws(KeelError) {
        let rows = try Rows(scores, labels, probabilities: true)
        try rows.requireSome()
        count = rows.scores.count
        positives = rows.positives
        auc = rows.auc
        logLoss = rows.logLoss
        brier = rows.brier
        accuracy = rows.accuracy(threshold: 0.5)
        calibration = Calibration(rows)
    }

    /// By the names gates and reports use: `auc`, `logloss`, `brier`, `accuracy`, `calibration` (the expected calibration error), `rows`, `positives`.
    public var json: JSON {
        [
            "auc": auc.map(JSON.double) ?? .null, "logloss": .double(logLoss), "brier": .double(brier), "accuracy": .double(accuracy),
            "calibration": .double(calibration.expectedError), "rows": .int(Int64(count)), "positives": .int(Int64(positives)),
        ]
    }

    /// The area under the ROC curve: the chance that a random positive scores above a random negative, a tie counting half. Nil when one class is missing.
    ///
    /// Exact, from midranks (Hanley and McNeil, 1982), in O(n log n).
    public static func rocAUC<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(scores: [S], labels: [L]) throws(KeelError) -> Double? {
        try Rows(scores, labels, probabilities: false).auc
    }

    /// The mean negative log likelihood in nats, of scores clipped to `1e-15 … 1 − 1e-15`.
    public static func logLoss<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(scores: [S], labels: [L]) throws(KeelError) -> Double {
        let rows = try Rows(scores, labels, probabilities: true)
        try rows.requireSome()
        return rows.logLoss
    }

    /// The mean squared difference of score and label.
    public static func brier<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(scores: [S], labels: [L]) throws(KeelError) -> Double {
        let rows = try Rows(scores, labels, probabilities: true)
        try rows.requireSome()
        return rows.brier
    }

    /// The share of rows that `score >= threshold` calls right.
    public static func accuracy<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(
        scores: [S], labels: [L], threshold: Double = 0.5
    ) throws(KeelError) -> Double {
        let rows = try Rows(scores, labels, probabilities: true)
        try rows.requireSome()
        return rows.accuracy(threshold: threshold)
    }

    public static func calibration<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(scores: [S], labels: [L]) throws(KeelError)
        -> Calibration
    {
        let rows = try Rows(scores, labels, probabilities: true)
        try rows.requireSome()
        return Calibration(rows)
    }
}

/// Whether scores mean what they say: mean score against observed rate in ten bins of equal width.
public struct Calibration: Sendable, Hashable {
    /// The scores in `lower ..< upper` (the last bin holds 1 too).
    public struct Bin: Sendable, Hashable {
        public let lower: Double
        public let upper: Double
        public let count: Int
        /// The mean score; nil in an empty bin.
        public let predicted: Double?
        /// The share of label 1; nil in an empty bin.
        public let observed: Double?
    }

    public static let binCount = 10
    public let bins: [Bin]
    /// ECE: |mean score − observed rate| of each bin, weighted by its rows (Naeini, Cooper and Hauskrecht, 2015).
    public let expectedError: Double

    fileprivate init(_ rows: Rows) {
        let width = Calibration.binCount
        var (counts, scores, ones) = (
            [Int](repeating: 0, count: width), [Double](repeating: 0, count: width), [Double](repeating: 0, count: width)
        )
        for (score, label) in zip(rows.scores, rows.labels) {
            let bin = min(max(0, Int(saturating: score * Double(width))), width - 1)
            counts[bin] += 1
            scores[bin] += score
            ones[bin] += label
        }
        bins = (0..<width).map { i in
            let n = Double(counts[i])
            return Bin(
                lower: Double(i) / Double(width), upper: Double(i + 1) / Double(width), count: counts[i],
                predicted: n > 0 ? scores[i] / n : nil, observed: n > 0 ? ones[i] / n : nil)
        }
        expectedError = (0..<width).reduce(0) { $0 + abs(scores[$1] - ones[$1]) } / Double(max(1, rows.scores.count))
    }

    /// One object per bin: `lower, upper, count, predicted, observed`.
    public var json: JSON {
        .array(
            bins.map {
                [
                    "lower": .double($0.lower), "upper": .double($0.upper), "count": .int(Int64($0.count)),
                    "predicted": $0.predicted.map(JSON.double) ?? .null, "observed": $0.observed.map(JSON.double) ?? .null,
                ]
            })
    }
}

/// The log loss of rows that arrive one by one; parts merge.
public struct LogLoss: Sendable, Hashable {
    public private(set) var count: Int64 = 0
    /// In nats.
    public private(set) var sum: Double = 0

    public init() {}

    /// Nil before the first row.
    public var mean: Double? { count > 0 ? sum / Double(count) : nil }

    /// - Throws: `invalidArgument` when the score is not in 0…1; the accumulator is as before.
    public mutating func add(score: Double, label: Bool) throws(KeelError) {
        guard score >= 0, score <= 1 else { throw .invalid("a score of \(score) is no probability", hint: "scores lie between 0 and 1") }
        count += 1
        sum += LogLoss.of(score, label ? 1 : 0)
    }

    public mutating func merge(_ other: LogLoss) {
        count += other.count
        sum += other.sum
    }

    static func of(_ score: Double, _ label: Double) -> Double {
        let clipped = min(max(score, 1e-15), 1 - 1e-15)
        return -(label == 1 ? log(clipped) : log(1 - clipped))
    }
}

/// Rows that passed the checks, as float64.
private struct Rows {
    let scores: [Double]
    let labels: [Double]

    init<S: BinaryFloatingPoint, L: BinaryFloatingPoint>(_ scores: [S], _ labels: [L], probabilities: Bool) throws(KeelError) {
        guard scores.count == labels.count else {
            throw .invalid("\(scores.count) scores were given for \(labels.count) labels", hint: "give one label for each score")
        }
        (self.scores, self.labels) = (scores.map { Double($0) }, labels.map { Double($0) })
        for i in self.scores.indices {
            let (score, label) = (self.scores[i], self.labels[i])
            guard score.isFinite else {
                throw .invalid("score \(i) is \(score)", hint: "scores must be finite numbers", path: "scores[\(i)]")
            }
            guard !probabilities || (score >= 0 && score <= 1) else {
                throw .invalid("score \(i) is \(score), which is no probability", hint: "scores lie between 0 and 1", path: "scores[\(i)]")
            }
            guard label == 0 || label == 1 else {
                throw .invalid("label \(i) is \(label)", hint: "labels are 0 or 1", path: "labels[\(i)]")
            }
        }
    }

    func requireSome() throws(KeelError) {
        if scores.isEmpty { throw .invalid("there are no rows to measure") }
    }

    var positives: Int { labels.count { $0 == 1 } }
    var logLoss: Double { zip(scores, labels).reduce(0) { $0 + LogLoss.of($1.0, $1.1) } / Double(scores.count) }
    var brier: Double { zip(scores, labels).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Double(scores.count) }
    func accuracy(threshold: Double) -> Double {
        Double(zip(scores, labels).count { ($0 >= threshold) == ($1 == 1) }) / Double(scores.count)
    }

    var auc: Double? {
        let (positives, all) = (positives, scores.count)
        guard positives > 0, positives < all else { return nil }
        let order = scores.indices.sorted { scores[$0] < scores[$1] }
        // Twice the midrank is a whole number, so the sum is exact.
        var twiceRanks = 0
        var start = 0
        while start < all {
            var (end, ones) = (start, 0)
            while end < all, scores[order[end]] == scores[order[start]] {
                ones += labels[order[end]] == 1 ? 1 : 0
                end += 1
            }
            twiceRanks += ones * (start + end + 1)
            start = end
        }
        let won = Double(twiceRanks - positives * (positives + 1)) / 2
        return won / (Double(positives) * Double(all - positives))
    }
}
