import Contracts
import Foundation
import Testing
import Workers

/// What a sandboxed program still needs of the system: names, certificates, time zones. Making an environment asks a package index by its name.
@Suite("The sandbox shows the system's files to its user", .enabled(if: TestPython.isThere && hasSandbox, "a sandbox and the Python of the tests"))
struct WorkerSystemFilesTests {
    @Test("the folders on the way to a file of /etc may be passed through, as may those of certificates")
    func etc() async throws {
        let home = try temporaryFolder()
        let isolation = try await ProgramIsolation.choose(
            .bwrap, user: nil, folders: .init(home: home, project: home, work: home + "/workers"), view: .only)
        let pool = try await pool(
            """
            import os
            def predict(data, params=None):
                names = [name for name in ("passwd", "nsswitch.conf", "hosts") if os.access("/etc/" + name, os.R_OK)]
                there = [folder for folder in ("/etc", "/etc/ssl") if os.path.isdir(folder)]
                closed = [folder for folder in there if not os.access(folder, os.R_OK | os.X_OK)]
                return [repr((len(names) > 0, there[:1], closed))]
            """, isolation: isolation, home: home)
        try await pool.start()
        let answer = try await pool.ask(try table(["x": Column(.int64, .int64([1]))]))
        #expect(answer["predictions"]?[0].text == "(True, ['/etc'], [])")
        await pool.stop()
    }
}
