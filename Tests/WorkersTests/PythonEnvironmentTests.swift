import Contracts
import Foundation
import Synchronization
import Testing
import Workers

@Suite("Environments of models", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct PythonEnvironmentTests {
    /// A folder with one small wheel, `tiny_flower`, as a cache of wheels without a network.
    private static let wheels = Task { () throws -> String in
        let folder = try temporaryFolder()
        let script = """
            import base64, hashlib, sys, zipfile
            files = {
                "tiny_flower/__init__.py": b"petals = 5\\n",
                "tiny_flower-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\\nName: tiny-flower\\nVersion: 1.2\\n",
                "tiny_flower-1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
                "tiny_flower-1.2.dist-info/entry_points.txt": b"[console_scripts]\\nflower = tiny_flower:petals\\n",
            }
            record = ""
            for name, data in files.items():
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                record += f"{name},sha256={digest},{len(data)}\\n"
            record += "tiny_flower-1.2.dist-info/RECORD,,\\n"
            files["tiny_flower-1.2.dist-info/RECORD"] = record.encode()
            with zipfile.ZipFile(sys.argv[1] + "/tiny_flower-1.2-py3-none-any.whl", "w") as wheel:
                for name, data in files.items(): wheel.writestr(name, data)
            """
        try await answer(of: TestPython.path, ["-c", script, folder])
        return folder
    }

    private func environments(
        _ folder: String, _ isolation: ProgramIsolation = .none.seeing(.only),
        _ change: (inout PythonEnvironments.Settings) -> Void = { _ in }
    ) async throws -> PythonEnvironments {
        var settings = PythonEnvironments.Settings()
        settings.python = TestPython.path
        settings.wheels = try await Self.wheels.value
        change(&settings)
        return PythonEnvironments(folder: folder, isolation: IsolationChoice { isolation }, settings: settings)
    }

    private func requirements(_ text: String, python: String? = nil) throws -> ModelRequirements {
        let folder = try temporaryFolder()
        try write(text, to: folder + "/requirements.txt")
        if let python { try write("python: \(python)\ndependencies:\n- -r requirements.txt\n", to: folder + "/python_env.yaml") }
        return try ModelRequirements(folder: folder)
    }

    private func output(_ environment: PythonEnvironment, _ code: String) async throws -> String {
        try await answer(of: environment.python, ["-I", "-c", code])
    }

    private final class Recorder: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private static let hasUV = access(TestPython.root + "/.keel/native/uv/uv", X_OK) == 0

    @Test(
        "an environment is made from wheels without a network, read-only, and once",
        arguments: [PythonEnvironments.Settings.Tool.venv, .uv])
    func offline(tool: PythonEnvironments.Settings.Tool) async throws {
        if tool == .uv, !Self.hasUV { return }
        let folder = try temporaryFolder() + "/environments"
        let environments = try await environments(folder) {
            $0.tool = tool
            $0.uv = TestPython.root + "/.keel/native/uv/uv"
        }
        let lines = Recorder()
        let wanted = try requirements("tiny-flower>=1", python: "3.11.2")
        let made = try await environments.environment(wanted) { line in lines.add(line) }
        #expect(
            try await output(made, "import tiny_flower, sys; print(tiny_flower.petals, sys.prefix == '\(made.folders.last ?? "")')")
                == "5 True")
        #expect(lines.all.contains { $0.contains("flower") }, "\(lines.all)")
        #expect(made.version.hasPrefix("3.11.") && made.warnings == [])
        let script = try String(contentsOfFile: (made.folders.last ?? "") + "/bin/flower", encoding: .utf8)
        #expect(script.contains(made.python) && !script.contains(".tmp"))
        #expect(try FileManager.default.attributesOfItem(atPath: made.folders.last ?? "")[.posixPermissions] as? Int == 0o555)
        // Found again, without the tool saying anything.
        let count = lines.all.count
        #expect(try await environments.environment(wanted) { line in lines.add(line) } == made)
        #expect(lines.all.count == count)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2, "the environment and its lock")
        let name = try #require(environments.name(of: made))
        let after = Timestamp(microseconds: .max)
        #expect(environments.sweep(keeping: [name], before: after) == 0)
        #expect(environments.sweep(keeping: [], before: Timestamp(microseconds: 0)) == 0)
        #expect(environments.sweep(keeping: [], before: after) == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [name + ".lock"])
    }

    @Test("a sweep leaves alone what is being made, and takes what was never finished")
    func sweeps() throws {
        let folder = try temporaryFolder()
        let environments = PythonEnvironments(folder: folder, isolation: IsolationChoice { ProgramIsolation.none.seeing(.only) })
        for name in ["free", "held", "0123.tmp"] { try write("", to: "\(folder)/\(name)/bin/python") }
        let lock = open(folder + "/held.lock", O_RDWR | O_CREAT, 0o600)
        #expect(flock(lock, LOCK_EX) == 0)
        #expect(environments.sweep(keeping: [], before: Timestamp(microseconds: .max)) == 2)
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == ["held", "held.lock", "free.lock"])
        close(lock)
        #expect(environments.sweep(keeping: [], before: Timestamp(microseconds: .max)) == 1)
    }

    @Test("two that need the same environment at one time make one")
    func together() async throws {
        let folder = try temporaryFolder()
        let wanted = try requirements("tiny-flower")
        let installs = Recorder()
        let made = try await withThrowingTaskGroup(of: PythonEnvironment.self) { group in
            for _ in 0..<3 {
                let environments = try await environments(folder) { $0.tool = .venv }
                group.addTask {
                    try await environments.environment(wanted) { line in if line.contains("Successfully installed") { installs.add(line) } }
                }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(made.count == 1 && installs.all.count == 1)
    }

    @Test("what cannot be made says why, with the tool's last lines, and leaves nothing behind")
    func fails() async throws {
        let folder = try temporaryFolder()
        let environments = try await environments(folder) { $0.tool = .venv }
        let error = try await #require(throws: KeelError.self) {
            try await environments.environment(try requirements("no-such-flower==1.0"))
        }
        #expect(error.code == .failedPrecondition && error.hint?.contains("no-such-flower") == true, "\(error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { $0.hasSuffix(".lock") })
        let late = try await self.environments(folder) {
            $0.tool = .venv
            $0.timeMax = .milliseconds(200)
        }
        #expect(
            try await #require(throws: KeelError.self) { try await late.environment(try requirements("tiny-flower")) }.code
                == .deadlineExceeded)
    }

    @Test("a model of another Python is an error, or a warning where that is allowed")
    func otherPython() async throws {
        let folder = try temporaryFolder()
        let wanted = try requirements("tiny-flower", python: "3.99.1")
        let environments = try await environments(folder)
        let error = try await #require(throws: KeelError.self) { try await environments.environment(wanted) }
        #expect(error.code == .failedPrecondition && error.message.contains("3.99.1"))
        let lenient = try await self.environments(folder) {
            $0.allowsOtherPython = true
            $0.tool = .venv
        }
        #expect(try await lenient.environment(wanted).warnings.first?.contains("logged with Python 3.99.1") == true)
    }

    @Test(
        "in the sandbox an environment is made, and its model served, without the home",
        .enabled(if: hasSandbox, "bubblewrap has to work on the machine"))
    func sandbox() async throws {
        let home = try temporaryFolder() + "/home"
        try write("key", to: home + "/secrets.key")
        let isolation = try await ProgramIsolation.choose(
            .auto, user: nil, folders: .init(home: home, project: home, work: home + "/workers"), view: .only)
        let environments = try await environments(home + "/environments", isolation) { $0.uv = TestPython.root + "/.keel/native/uv/uv" }
        let made = try await environments.environment(try requirements("tiny-flower"))
        #expect(try await output(made, "import tiny_flower; print(tiny_flower.petals)") == "5")
        let attributes = try FileManager.default.attributesOfItem(atPath: made.folders.last ?? "")
        #expect((attributes[.ownerAccountID] as? NSNumber)?.uint32Value == geteuid())
    }
}
