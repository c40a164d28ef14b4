import Contracts
import Statistics

/// The scores and labels of a window, bounded.
///
/// A label of 0 or 1 whose score is a probability is a pair, of which all metrics are made. Of a model that answers with classes, how many are right is
/// counted too, whatever the classes are.
///
/// Up to `limit` pairs all are kept and metrics are exact. Beyond, a pair stays when its prediction's id hashes below a bound that is halved as
/// often as needed: a uniform sample that depends on which pairs came, not on their order, so a restart finds the same one.
struct LabelSample {
    static let limit = 200_000

    private struct Pair {
        let hash: UInt64
        let score: Float
        let positive: Bool
    }
    private var pairs: [Pair] = []
    private var bound = UInt64.max
    /// How many labels came that could be used, those not kept included.
    private(set) var count = 0
    /// Neither pairs nor labels of a class.
    private(set) var invalid = 0
    private var classes = 0
    private var right = 0

    /// The share of classes that are right; nil when the model answers with none.
    var accuracyOfClasses: Double? { classes > 0 ? Double(right) / Double(classes) : nil }

    /// - Parameter isRight: whether the class that was answered is the label; nil when the model answers with none, or the two cannot be compared.
    mutating func add(id: String, score: Float, label: Double?, isRight: Bool?) {
        if let isRight {
            classes += 1
            if isRight { right += 1 }
        }
        guard score >= 0, score <= 1, label == 0 || label == 1 else {
            if isRight == nil { invalid += 1 } else { count += 1 }
            return
        }
        count += 1
        let hash = LabelSample.hash(id)
        guard hash <= bound else { return }
        pairs.append(Pair(hash: hash, score: score, positive: label == 1))
        while pairs.count > LabelSample.limit {
            bound /= 2
            pairs.removeAll { $0.hash > bound }
        }
    }

    /// Nil without labels.
    func metrics() throws(KeelError) -> BinaryMetrics? {
        guard !pairs.isEmpty else { return nil }
        // Sums of floating point depend on the order: one that is always the same.
        let ordered = pairs.sorted { ($0.hash, $0.score) < ($1.hash, $1.score) }
        return try BinaryMetrics(scores: ordered.map(\.score), labels: ordered.map { $0.positive ? Float(1) : 0 })
    }

    /// FNV-1a, finished as SplitMix64 does, for even bits.
    private static func hash(_ id: String) -> UInt64 {
        var h: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in id.utf8 { h = (h ^ UInt64(byte)) &* 0x100_0000_01b3 }
        h = (h ^ (h >> 30)) &* 0xbf58_476d_1ce4_e5b9
        h = (h ^ (h >> 27)) &* 0x94d0_49bb_1331_11eb
        return h ^ (h >> 31)
    }
}
