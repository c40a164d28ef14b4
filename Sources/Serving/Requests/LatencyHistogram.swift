import Atomics

/// Counts of durations in logarithmic buckets, eight to each doubling (9 % wide), from 1 µs to 17 s. Any number of threads may add; no lock.
package final class LatencyHistogram: Sendable {
    private static let perDoubling = 8
    private static let doublings = 24
    private let buckets: [ManagedAtomic<Int>] = (0..<perDoubling * doublings).map { _ in ManagedAtomic(0) }

    func add(nanoseconds: Int) { buckets[LatencyHistogram.bucket(nanoseconds)].wrappingIncrement(ordering: .relaxed) }

    var counts: [Int] { buckets.map { $0.load(ordering: .relaxed) } }

    /// The bucket of a duration: the doubling from the highest bit, the eighth from the three bits behind it.
    package static func bucket(_ nanoseconds: Int) -> Int {
        let units = UInt64(max(nanoseconds, 0)) >> 7  // 128 ns: the first eighth of the first doubling above 1 µs
        guard units >= 8 else { return 0 }
        let exponent = 63 - units.leadingZeroBitCount
        let eighth = Int(units >> UInt64(exponent - 3)) & 7
        return min((exponent - 3) * perDoubling + eighth, perDoubling * doublings - 1)
    }

    /// The upper bound of a bucket in seconds.
    static func seconds(upTo bucket: Int) -> Double {
        let (doubling, eighth) = (bucket / perDoubling, bucket % perDoubling)
        return Double(UInt64(8 + eighth + 1) << UInt64(doubling + 7)) / 1e9
    }

    /// The duration in seconds that a share of the counted ones does not exceed; nil when none was counted.
    package static func quantile(_ q: Double, of counts: [Int]) -> Double? {
        let total = counts.reduce(0, +)
        guard total > 0 else { return nil }
        let rank = max(1, Int(saturating: (q * Double(total)).rounded(.up)))
        var seen = 0
        for (i, count) in counts.enumerated() {
            seen += count
            if seen >= rank { return seconds(upTo: i) }
        }
        return seconds(upTo: counts.count - 1)
    }
}
