import Contracts
import Governance

/// Tokens that were found good, by their SHA-256, so that a signature is checked once in a few minutes and not with every request.
struct VerifiedTokens {
    private struct Entry {
        let principal: Principal
        let issuer: String
        let since: Timestamp
        let until: Timestamp
        let bytes: Int
    }
    static let keptFor = TimeSpan.seconds(300)
    static let tokensMax = 8192
    /// A principal takes about as much memory as its token.
    static let bytesMax = 32 << 20

    private var entries: [Digest: Entry] = [:]
    private var bytes = 0

    func principal(_ digest: Digest, at now: Timestamp) -> Principal? {
        guard let entry = entries[digest], now >= entry.since, now < entry.until else { return nil }
        return entry.principal
    }

    mutating func add(_ digest: Digest, _ principal: Principal, of issuer: String, bytes size: Int, until end: Timestamp, at now: Timestamp)
    {
        if entries.count >= VerifiedTokens.tokensMax || bytes + size > VerifiedTokens.bytesMax { keep { now < $0.until } }
        if entries.count >= VerifiedTokens.tokensMax || bytes + size > VerifiedTokens.bytesMax { keep { _ in false } }
        let before = entries[digest]?.bytes ?? 0
        entries[digest] = Entry(
            principal: principal, issuer: issuer, since: now, until: min(end, now + VerifiedTokens.keptFor), bytes: size)
        bytes += size - before
    }

    /// Forgets the tokens of an issuer: its keys have changed.
    mutating func removeAll(of issuer: String) { keep { $0.issuer != issuer } }

    private mutating func keep(_ isKept: (Entry) -> Bool) {
        entries = entries.filter { isKept($0.value) }
        bytes = entries.values.reduce(0) { $0 + $1.bytes }
    }
}
