import Console
import Contracts
import Synchronization
import Testing
import Tracking

@Suite("A page that follows a run")
struct RunStreamTests {
    /// A run that is stored, and how often it was read.
    private final class Stored: Sendable {
        private struct State {
            var run = RunStreamTests.run(metrics: 0)
            var reads = 0
            var written: [String] = []
        }
        private let state = Mutex(State())

        var reads: Int { state.withLock { $0.reads } }
        var written: [String] { state.withLock { $0.written } }
        func set(_ run: Run) { state.withLock { $0.run = run } }
        func read() -> Run {
            state.withLock { state in
                state.reads += 1
                return state.run
            }
        }
        func write(_ text: String) { state.withLock { $0.written.append(text) } }
    }

    private static func run(metrics: Int, status: RunStatus = .running) -> Run {
        Run(
            id: "r", name: "r", experimentID: "1", userID: "ada", status: status, startedAt: Timestamp(seconds: 1), endedAt: nil,
            artifactURI: "",
            lifecycle: .active, metrics: (0..<metrics).map { Metric("m\($0)", 1, at: Timestamp(seconds: 2)) })
    }

    private typealias Following = Task<Void, any Error>

    private func follow(_ follower: RunFollower, _ stored: Stored, isSameReader: @escaping @Sendable () -> Bool = { true }) -> Following {
        Task {
            try await RunStream.follow(
                follower, pause: .zero, read: { stored.read() }, isSameReader: isSameReader, write: { stored.write($0) })
        }
    }

    /// Waits until something is so; a minute is for machines that are busy.
    private func until(_ isSo: () -> Bool) async throws {
        for _ in 0..<6000 {
            if isSo() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(isSo())
    }

    @Test("while nothing happens nothing is read, however long it is open")
    func idle() async throws {
        let follower = RunFollower(run: "r")
        let stored = Stored()
        let task = follow(follower, stored)
        try await until { stored.written.count == 1 }
        // Signs of life, one at a time.
        for i in 0..<100 {
            follower.wake(isChange: false)
            try await until { stored.written.count == i + 2 }
        }
        #expect(stored.reads == 1 && stored.written.dropFirst().allSatisfy { $0 == ": still here\n\n" })
        follower.end()
        try await task.value
    }

    @Test("a change is told, many at once are one, and the end of the run ends it")
    func changes() async throws {
        let follower = RunFollower(run: "r")
        let stored = Stored()
        stored.set(Self.run(metrics: 1))
        for _ in 0..<1000 { follower.wake(isChange: true) }
        let task = follow(follower, stored)
        // It was read when it was opened, and once for a thousand changes of before, which changed nothing since.
        try await until { stored.reads == 2 }
        stored.set(Self.run(metrics: 3))
        follower.wake(isChange: true)
        try await until { stored.written.contains("event: changed\ndata: 3\n\n") }
        stored.set(Self.run(metrics: 3, status: .finished))
        follower.wake(isChange: true)
        try await task.value
        #expect(stored.written.last == "event: ended\ndata: FINISHED\n\n" && stored.reads == 4)
    }

    @Test("a change beside a sign of life is not lost")
    func both() async throws {
        let follower = RunFollower(run: "r")
        let stored = Stored()
        let task = follow(follower, stored)
        try await until { stored.written.count == 1 }
        stored.set(Self.run(metrics: 2))
        follower.wake(isChange: true)
        follower.wake(isChange: false)
        try await until { stored.written.contains("event: changed\ndata: 2\n\n") }
        follower.end()
        try await task.value
    }

    @Test("a reader who is another by now hears nothing more")
    func reader() async throws {
        let follower = RunFollower(run: "r")
        let stored = Stored()
        let task = follow(follower, stored, isSameReader: { false })
        try await until { stored.written.count == 1 }
        stored.set(Self.run(metrics: 2))
        follower.wake(isChange: true)
        try await task.value
        #expect(stored.reads == 1 && stored.written.count == 1)
    }

    @Test("a run that has ended is told at once")
    func ended() async throws {
        let stored = Stored()
        stored.set(Self.run(metrics: 0, status: .killed))
        try await follow(RunFollower(run: "r"), stored).value
        #expect(stored.written.last == "event: ended\ndata: KILLED\n\n" && stored.reads == 1)
    }
}
