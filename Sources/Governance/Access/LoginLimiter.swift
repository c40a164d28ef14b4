import Contracts

/// Decides which clients are refused too often, without I/O: a bucket of tokens for each address, refilled once a second.
///
/// At most `clientsMax` addresses are told apart; beyond, those whose bucket is full again are forgotten, and the rest share one bucket.
package struct LoginLimiter: Sendable {
    package static let clientsMax = 4096

    private struct Bucket {
        var left: Double
        var at: Timestamp
    }
    /// How many refusals a client may have at once; it gains one a second.
    package let burst: Int
    private var buckets: [String: Bucket] = [:]
    private var swept = Timestamp.distantPast

    package init(burst: Int) { self.burst = burst }

    /// Counts a refusal of `client`.
    /// - Returns: whether the client is over its limit.
    package mutating func isOver(_ client: String, at now: Timestamp) -> Bool {
        var key = client
        if buckets[key] == nil, buckets.count >= LoginLimiter.clientsMax {
            if now >= swept + .seconds(1) || now < swept {
                swept = now
                buckets = buckets.filter { refilled($0.value, now) < Double(burst) }
            }
            if buckets.count >= LoginLimiter.clientsMax { key = "*" }
        }
        let left = buckets[key].map { refilled($0, now) } ?? Double(burst)
        buckets[key] = Bucket(left: max(left - 1, 0), at: now)
        return left < 1
    }

    private func refilled(_ bucket: Bucket, _ now: Timestamp) -> Double {
        let seconds = max(0, Double((now - bucket.at).microseconds) / 1e6)
        return min(Double(burst), bucket.left + seconds)
    }
}
