import Contracts
import Governance
import Testing

@Suite("Refused logins")
struct LoginLimiterTests {
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    /// Which of `count` refusals in a row are over the limit.
    private func over(_ limiter: inout LoginLimiter, _ client: String, _ seconds: Int64, count: Int = 1) -> [Bool] {
        var found: [Bool] = []
        for _ in 0..<count { found.append(limiter.isOver(client, at: at(seconds))) }
        return found
    }

    @Test("A7: a client is over its limit after the burst, and gains one a second")
    func burst() {
        var limiter = LoginLimiter(burst: 10)
        let flood = over(&limiter, "a", 100, count: 60)
        let other = over(&limiter, "b", 100)
        let second = over(&limiter, "a", 101, count: 2)
        let later = over(&limiter, "a", 1000, count: 11)
        let back = over(&limiter, "a", 500)
        #expect(flood == [Bool](repeating: false, count: 10) + [Bool](repeating: true, count: 50))
        #expect(other == [false])
        #expect(second == [false, true])
        #expect(later == [Bool](repeating: false, count: 10) + [true])
        // A clock that goes back gives nothing.
        #expect(back == [true])
    }

    @Test("A7: more addresses than are told apart share one bucket, and are forgotten when theirs is full again")
    func addresses() {
        var limiter = LoginLimiter(burst: 2)
        let known = (0..<LoginLimiter.clientsMax).flatMap { over(&limiter, "client \($0)", 10) }
        let shared = ["x", "y", "z"].flatMap { over(&limiter, $0, 10) }
        let later = over(&limiter, "z", 20)
        #expect(!known.contains(true))
        #expect(shared == [false, false, true])
        #expect(later == [false])
    }
}
