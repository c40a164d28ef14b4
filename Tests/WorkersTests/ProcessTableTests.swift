import Foundation
import Testing
import Workers

@Suite("What processes take")
struct ProcessTableTests {
    @Test("what descends from a process counts for it, and the process itself does not")
    func below() async throws {
        let parent = Process()
        parent.executableURL = URL(fileURLWithPath: "/bin/sh")
        parent.arguments = ["-c", "sleep 3 & sleep 3 & (sleep 3; true) & wait"]
        try parent.run()
        defer { parent.terminate() }
        let id = parent.processIdentifier
        var usage = ProcessTable.Usage()
        for _ in 0..<200 where usage.processes < 4 {
            usage = ProcessTable.read().usage(below: [id])[id] ?? usage
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(usage.processes == 4 && usage.threads == 4)
        #expect(usage.memoryBytes > 4 * 100_000 && usage.memoryBytes < 100 << 20)
    }
}
