import Contracts
import Dispatch
import Synchronization
import Testing

@Suite("Work that blocks")
struct BlockingTests {
    /// What holds threads until it is opened.
    private final class Gate: Sendable {
        private let semaphore = DispatchSemaphore(value: 0)
        let inside = Atomic(0)

        func pass() {
            inside.add(1, ordering: .relaxed)
            semaphore.wait()
            semaphore.signal()
        }
        func open() { semaphore.signal() }
        func isReached(by count: Int) async {
            while inside.load(ordering: .relaxed) < count { await Task.yield() }
        }
    }

    @Test("more of it than there are threads waits for its turn, and what waits for long takes none of them")
    func bound() async throws {
        let gate = Gate()
        let long = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<3 { group.addTask { try await Blocking.runAlone { long.pass() } } }
            await long.isReached(by: 3)
            for _ in 0..<(Blocking.threadsMax * 2) { group.addTask { try await Blocking.run { gate.pass() } } }
            await gate.isReached(by: Blocking.threadsMax)
            // Dispatch's threads, which Swift's executor shares, are as free as ever.
            await withCheckedContinuation { continuation in DispatchQueue.global().async { continuation.resume() } }
            #expect(gate.inside.load(ordering: .relaxed) == Blocking.threadsMax)
            gate.open()
            await gate.isReached(by: Blocking.threadsMax * 2)
            long.open()
            try await group.waitForAll()
        }
    }

    @Test("what it throws comes to the caller")
    func errors() async {
        let failure = KeelError.invalid("no")
        await #expect(throws: KeelError.self) { try await Blocking.run { throw failure } }
        await #expect(throws: KeelError.self) { try await Blocking.runAlone { throw failure } }
    }
}
