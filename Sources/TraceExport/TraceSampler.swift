import Contracts
import Serving
import Synchronization

/// Decides which requests are recorded: those whose caller records them, and a share of those that begin a trace here.
package final class TraceSampler: Sendable {
    private let ratio: Double
    private let seed: UInt64
    private let counter = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - ratio: 0…1.
    ///   - seed: ids follow from it; another one in every process.
    package init(ratio: Double, seed: UInt64) {
        self.ratio = ratio
        // Seeds that lie close together would give the same ids, one after another.
        self.seed = StableHash.mix(seed)
    }

    /// The trace that a request's spans go to; nil when it is not recorded.
    package func trace(of parent: TraceParent?) -> TraceID? {
        if let parent { return parent.isSampled ? parent.trace : nil }
        let next = counter.add(1, ordering: .relaxed).oldValue
        let low = StableHash.mix(~seed ^ next)
        // The share is taken of the id, as OpenTelemetry's TraceIdRatioBased does.
        guard Double(low >> 11) / Double(1 << 53) < ratio else { return nil }
        return TraceID(high: StableHash.mix(seed &+ next), low: low)
    }
}
