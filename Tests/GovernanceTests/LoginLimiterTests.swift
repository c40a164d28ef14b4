import Contracts
import Testing

@testable import Governance

@Suite("Refused logins")
struct LoginLimiterTests {
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    @Test("A7: a client is over its limit after the burst, and gains one a second")
    func burst() {
        var limiter = LoginLimiter(burst: 10)
        for _ in 0..<10 { #expect(!limiter.isOver("a", at: at(100))) }
        for _ in 0..<50 { #expect(limiter.isOver("a", at: at(100))) }
        #expect(!limiter.isOver("b", at: at(100)))
        #expect(!limiter.isOver("a", at: at(101)))
        #expect(limiter.isOver("a", at: at(101)))
        for _ in 0..<10 { #expect(!limiter.isOver("a", at: at(1000))) }
        #expect(limiter.isOver("a", at: at(1000)))
        // A clock that goes back gives nothing.
        #expect(limiter.isOver("a", at: at(500)))
    }

    @Test("A7: more addresses than are told apart share one bucket, and are forgotten when theirs is full again")
    func addresses() {
        var limiter = LoginLimiter(burst: 2)
        for i in 0..<LoginLimiter.clientsMax { #expect(!limiter.isOver("client \(i)", at: at(10))) }
        #expect(!limiter.isOver("x", at: at(10)))
        #expect(!limiter.isOver("y", at: at(10)))
        #expect(limiter.isOver("z", at: at(10)))
        #expect(!limiter.isOver("z", at: at(20)))
    }
}
