import Contracts

/// Makes the ids of spans: different mixes of a counter with one seed.
struct SpanIDs: Sendable {
    private let seed: UInt64
    private var counter: UInt64 = 0

    init(seed: UInt64) { self.seed = seed }

    mutating func next() -> UInt64 {
        counter += 1
        let id = StableHash.mix(seed &+ counter)
        return id == 0 ? next() : id
    }
}
