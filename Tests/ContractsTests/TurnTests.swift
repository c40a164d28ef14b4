import Contracts
import Synchronization
import Testing

@Suite("Turns")
struct TurnTests {
    private final class Count: Sendable {
        let inside = Mutex((now: 0, most: 0, done: 0))
    }

    @Test("as many tasks as the turn is wide go through at a time, and all of them at last", arguments: [1, 3])
    func width(_ width: Int) async throws {
        let turn = Turn(width: width)
        let count = Count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await turn.run {
                        count.inside.withLock {
                            $0.now += 1
                            $0.most = max($0.most, $0.now)
                        }
                        for _ in 0..<20 { await Task.yield() }
                        count.inside.withLock {
                            $0.now -= 1
                            $0.done += 1
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let (now, most, done) = count.inside.withLock { $0 }
        #expect(now == 0 && most == width && done == 50)
    }
}
