import Contracts

/// Makes the ids of spans: different mixes of a counter with one seed.
package struct SpanIDs: Sendable {
    private let seed: UInt64
    private var counter: UInt64 = 0

    /// - Parameters:
    ///   - seed: another one in every process.
    ///   - stream: from 1. Ids of two streams are different, and none is a half of what a `TraceSampler` of this seed gives, whose stream is 0.
    package init(seed: UInt64, stream: UInt64) { self.seed = StableHash.mix(seed &+ stream) }

    package mutating func next() -> UInt64 {
        counter += 1
        let id = StableHash.mix(seed &+ counter)
        return id == 0 ? next() : id
    }
}
