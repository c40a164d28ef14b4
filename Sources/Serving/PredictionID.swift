import Atomics
import Contracts

/// Makes prediction ids: UUIDv7 (RFC 9562), whose random bits come from one random seed and a counter, so that no system call is on the
/// request path. They are unique, not secret.
final class PredictionIDs: Sendable {
    private let seed = UInt64.random(in: .min ... .max)
    private let counter = ManagedAtomic<UInt64>(0)

    func make(_ count: Int, at time: Timestamp) -> [String] {
        var next = counter.loadThenWrappingIncrement(by: UInt64(count), ordering: .relaxed)
        return (0..<count).map { _ in
            defer { next &+= 1 }
            // Two different mixes of one counter: 2^64 ids before a repetition within a millisecond.
            return text(time.milliseconds, mix(seed &+ next), mix(~seed ^ next))
        }
    }

    private func text(_ milliseconds: Int64, _ a: UInt64, _ b: UInt64) -> String {
        let high = UInt64(bitPattern: milliseconds) << 16 | 0x7000 | (a & 0x0fff)
        let low = (b & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000
        return String(unsafeUninitializedCapacity: 36) { out in
            var at = 0
            for i in 0..<32 {
                if i == 8 || i == 12 || i == 16 || i == 20 {
                    out[at] = 0x2d
                    at += 1
                }
                let word = i < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - (i & 15) * 4)) & 15
                out[at] = digit < 10 ? 48 + digit : 87 + digit
                at += 1
            }
            return 36
        }
    }
}
