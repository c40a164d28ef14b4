import Synchronization

/// Counts of durations up to fixed bounds and their sum, as Prometheus has histograms. Any number of threads may add; no lock.
package final class DurationHistogram: Sendable {
    private let counts: InlineArray<23, Atomic<Int>>
    private let sum = Atomic<Int>(0)

    package init() { counts = InlineArray { _ in Atomic(0) } }

    package func add(nanoseconds: Int) {
        // Most durations are short: they are among the first bounds.
        var i = 0
        while i < DurationCounts.bounds.count, nanoseconds > DurationCounts.bounds[i] { i += 1 }
        counts[i].add(1, ordering: .relaxed)
        sum.add(max(nanoseconds, 0), ordering: .relaxed)
    }

    /// Nanoseconds.
    var total: Int { sum.load(ordering: .relaxed) }

    package var snapshot: DurationCounts {
        DurationCounts(counts: counts.indices.map { counts[$0].load(ordering: .relaxed) }, nanoseconds: total)
    }
}

/// What a histogram of durations has counted.
public struct DurationCounts: Sendable, Hashable {
    /// How many durations were up to each of `bounds` and above the one before; the last is of those above all bounds.
    public let counts: [Int]
    /// The sum of all durations.
    public let nanoseconds: Int

    public var count: Int { counts.reduce(0, +) }

    /// Nanoseconds: 1, 2.5 and 5 of each power of ten, from 1 µs to 10 s.
    public static let bounds: InlineArray<22, Int> = [
        1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
        100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]
}
