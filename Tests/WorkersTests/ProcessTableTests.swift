import Contracts
import Foundation
import Synchronization
import Testing
import Workers

@Suite("What processes take")
struct ProcessTableTests {
    @Test("what descends from a supervisor counts for it, and the supervisor itself does not; it ends when it is told to")
    func below() async throws {
        let folder = try temporaryFolder()
        let command = ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & (sleep 1000; true) & wait"]
        var child = try ProgramIsolation.none.process(command, environment: ["PATH": "/usr/bin:/bin"], workingDirectory: folder)
        child.graceSeconds = 0
        final class Seen: Sendable {
            let supervisor = Mutex<pid_t?>(nil)
            let end = Mutex<ChildProcess.End?>(nil)
        }
        let seen = Seen()
        child.started = { id in seen.supervisor.withLock { $0 = id } }
        let running = child.start(output: { _ in }) { result in seen.end.withLock { $0 = try? result.get() } }
        var usage = ProcessTable.Usage()
        // The shell, a shell within it, and three that sleep.
        for _ in 0..<3000 where usage.processes < 5 {
            if let id = seen.supervisor.withLock({ $0 }) { usage = ProcessTable.read().usage(below: [id])[id] ?? usage }
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(usage.processes == 5 && usage.threads == 5)
        #expect(usage.memoryBytes > 5 * 100_000 && usage.memoryBytes < 100 << 20)
        running.cancel()
        for _ in 0..<3000 where seen.end.withLock({ $0 }) == nil { try await Task.sleep(for: .milliseconds(10)) }
        let end = seen.end.withLock { $0 }
        #expect(end == .signalled(SIGTERM) || end == .signalled(SIGKILL))
        let id = try #require(seen.supervisor.withLock { $0 })
        #expect(ProcessTable.read().usage(below: [id])[id]?.processes == 0)
    }
}
