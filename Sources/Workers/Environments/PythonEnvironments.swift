import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The Python environments of models: made when a model is deployed, each once for the same packages, and kept.
///
/// Making one runs a package tool over texts that a user wrote: the texts are read by `Requirements` first, and the tool runs in the isolation of workers, with
/// the network only where the settings allow it. Packages are taken as wheels, so that none of their code runs, unless the settings say otherwise.
public final class PythonEnvironments: Sendable {
    public struct Settings: Sendable {
        public enum Tool: String, Sendable, CaseIterable {
            /// uv where there is one, else venv.
            case auto
            case uv
            /// The modules venv and pip of the interpreter itself.
            case venv
        }

        public var tool = Tool.auto
        /// The interpreter's path; nil: the server's own, or another one of the machine that is of the version a model asks for.
        public var python: String?
        /// uv's path; nil: the first in the server's PATH, or the one that `scripts/bootstrap` installed.
        public var uv: String?
        /// A folder of wheels: they are the only packages that are used, and the network is not.
        public var wheels: String?
        /// The index that packages come from; nil: the tool's own choice.
        public var index: String?
        /// Whether packages may be built from their sources, which runs their code.
        public var buildsFromSource = false
        /// Whether a model may run on another minor version of Python than it was logged with; there is then a warning.
        public var allowsOtherPython = false
        public var timeMax = Duration.seconds(1800)

        public init() {}
    }

    /// Changes with what an environment of the same requirements holds.
    private static let format = 1

    private let folder: String
    private let isolation: IsolationChoice
    private let settings: Settings

    /// - Parameters:
    ///   - folder: of all environments, an absolute path below the server's home.
    ///   - isolation: that of the workers (`ProgramIsolation.View.only`).
    public init(folder: String, isolation: IsolationChoice, settings: Settings = Settings()) {
        self.folder = ProgramIsolation.Folders.resolved(folder)
        self.isolation = isolation
        self.settings = settings
    }

    /// A Python that is there already, with the packages it has; nothing is installed.
    public static func existing(_ python: String) async throws -> PythonEnvironment {
        let interpreter = try await BaseInterpreter(at: python)
        return PythonEnvironment(python: interpreter.path, version: interpreter.version, folders: interpreter.folders, warnings: [])
    }

    /// Finds or makes the environment of a model.
    /// - Parameters:
    ///   - folder: the model's, with `requirements.txt`, `python_env.yaml` or `conda.yaml`.
    ///   - progress: told what the tool says, line by line.
    /// - Throws: what `ModelRequirements` throws; `failedPrecondition` when the Python is of another version, and when the tool fails, with its last lines as
    ///   hint; `engineMissing` without a Python or a tool; `deadlineExceeded`.
    public func environment(ofModel folder: String, progress: @escaping @Sendable (String) -> Void = { _ in }) async throws
        -> PythonEnvironment
    {
        try await environment(try ModelRequirements(folder: folder), progress: progress)
    }

    public func environment(
        _ requirements: ModelRequirements, progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> PythonEnvironment {
        let (place, interpreter) = try await self.place(of: requirements)
        var warnings: [String] = []
        if let wanted = requirements.python, BaseInterpreter.minor(of: wanted) != interpreter.minor {
            let what = "the model was logged with Python \(wanted), and runs on \(interpreter.version)"
            guard settings.allowsOtherPython else {
                throw KeelError(
                    .failedPrecondition, "the model asks for Python \(wanted); the server has \(interpreter.version)",
                    hint: "install python\(BaseInterpreter.minor(of: wanted)), or allow another version")
            }
            warnings.append(what)
        }
        try Folder.make(folder)
        // Nobody removes it between the look and the touch.
        let lock = try await EnvironmentLock(place + PythonEnvironments.lockSuffix)
        defer { lock.release() }
        if !isWhole(place) { try await build(place, interpreter, requirements.packages, progress) }
        ClosedFolder.touch(place)
        return PythonEnvironment(
            python: place + "/bin/python", version: interpreter.version, folders: interpreter.folders + [place], warnings: warnings)
    }

    /// What the environment of a model is called, whether it is there or not.
    /// - Throws: what `ModelRequirements` throws; `engineMissing` without a Python.
    public func name(ofModel folder: String) async throws -> String {
        (try await place(of: try ModelRequirements(folder: folder)).path as NSString).lastPathComponent
    }

    /// What an environment is called; nil for one that was not made here.
    public func name(of environment: PythonEnvironment) -> String? {
        let bin = Folder.parent(of: environment.python)
        let place = Folder.parent(of: bin)
        return Folder.parent(of: place) == folder ? (place as NSString).lastPathComponent : nil
    }

    /// Removes environments that are in use no more, and those that were never finished, unless they were made or taken up since an instant. One that is
    /// being made or looked for is left alone.
    /// - Parameters:
    ///   - names: of the environments to keep.
    ///   - dryRun: removes nothing.
    /// - Returns: how many are gone, or would be.
    @discardableResult
    public func sweep(keeping names: Set<String>, before limit: Timestamp, dryRun: Bool = false) -> Int {
        let suffix = PythonEnvironments.lockSuffix
        var held: [EnvironmentLock] = []
        // Locks are kept until the end, as are their files: whoever waits for one waits for this name.
        defer { for lock in held { lock.release() } }
        return ClosedFolder.sweep(folder, before: limit, dryRun: dryRun) { name in
            if name.hasSuffix(suffix) || names.contains(name) { return true }
            if name.hasSuffix(AtomicFile.temporarySuffix) { return false }
            guard let lock = EnvironmentLock(ifFree: "\(folder)/\(name)\(suffix)") else { return true }
            held.append(lock)
            return false
        }.count
    }

    private static let lockSuffix = ".lock"

    private func place(of requirements: ModelRequirements) async throws -> (path: String, interpreter: BaseInterpreter) {
        let interpreter = try await BaseInterpreter.find(settings.python, wanted: requirements.python)
        return ("\(folder)/\(digest(interpreter, requirements.packages).hex)", interpreter)
    }

    private func digest(_ interpreter: BaseInterpreter, _ packages: Requirements) -> Digest {
        var parts = [
            "keel-python-environment \(PythonEnvironments.format)", interpreter.version, interpreter.path,
            String(settings.buildsFromSource),
        ]
        parts += packages.lines
        return Digest(of: parts.joined(separator: "\n"))
    }

    private func isWhole(_ place: String) -> Bool { access(place + "/bin/python", X_OK) == 0 }

    // MARK: Making one

    private func build(
        _ place: String, _ interpreter: BaseInterpreter, _ packages: Requirements, _ progress: @escaping @Sendable (String) -> Void
    ) async throws {
        let isolation = try await isolation.value().forOneProgram()
        let uv = try uv()
        // Its name is what it is built under, since scripts in it hold their own path.
        let work = "\(folder)/\(Identifier.hex32())\(AtomicFile.temporarySuffix)"
        defer { ClosedFolder.remove(work) }
        try Folder.make(work)
        let requirements = work + "/requirements.txt"
        try Data((packages.lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: requirements))
        chmod(requirements, 0o444)
        let wheels = settings.wheels.map(ProgramIsolation.Folders.resolved)
        var access = ProgramIsolation.Access(hasNetwork: wheels == nil, temporaryBytes: 4 << 30)
        access.readable = interpreter.folders + (wheels.map { [$0] } ?? []) + (uv.map { [$0] } ?? [])
        access.writable = [work]
        try isolation.prepare(folder: work, access: access)
        let environment = work + "/environment"
        for command in commands(environment, requirements, interpreter, uv: uv, wheels: wheels, packages) {
            try await run(command, isolation, access, work, progress)
        }
        try ClosedFolder.close(environment)
        try rewriteScripts(environment, to: place)
        ClosedFolder.remove(place)
        guard rename(environment, place) == 0 else { throw AtomicFile.failure("rename an environment") }
        try Folder.sync(folder)
    }

    private func uv() throws(KeelError) -> String? {
        if settings.tool == .venv { return nil }
        if let given = settings.uv { return ProgramIsolation.Folders.resolved(given) }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        let places: [String] = path.split(separator: ":").map { "\($0)/uv" }
        let found = places.first { (place: String) in place.hasPrefix("/") && access(place, X_OK) == 0 }
        let installed = found ?? PythonEnvironments.installedUV()
        if installed == nil, settings.tool == .uv {
            throw KeelError(.engineMissing, "uv is not installed", hint: "pip install uv, or set the tool to venv")
        }
        return installed.map(ProgramIsolation.Folders.resolved)
    }

    /// Where `scripts/bootstrap` puts it: below `.keel/native` of the working directory or the executable's folder, or a folder above one of them.
    private static func installedUV() -> String? {
        let executable = ProgramIsolation.Folders.resolved("/proc/self/exe")
        for start in [FileManager.default.currentDirectoryPath, Folder.parent(of: executable)] {
            var folder = start
            while true {
                let place = (folder == "/" ? "" : folder) + "/.keel/native/uv/uv"
                if access(place, X_OK) == 0 { return place }
                if folder == "/" || !folder.hasPrefix("/") { break }
                folder = Folder.parent(of: folder)
            }
        }
        return nil
    }

    private func commands(
        _ environment: String, _ requirements: String, _ interpreter: BaseInterpreter, uv: String?, wheels: String?,
        _ packages: Requirements
    ) -> [[String]] {
        let python = environment + "/bin/python"
        var options = ["-r", requirements]
        if !settings.buildsFromSource { options += ["--only-binary", ":all:"] }
        if let wheels {
            options += ["--no-index", "--find-links", wheels]
        } else if let index = settings.index {
            options += ["--index-url", index]
        }
        guard let uv else {
            let pip = [python, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "install", "--no-cache-dir"]
            return [[interpreter.path, "-I", "-m", "venv", environment]] + (packages.lines.isEmpty ? [] : [pip + options])
        }
        let plain = ["--no-config", "--no-progress", "--no-python-downloads"] + (wheels == nil ? [] : ["--offline"])
        let make = [uv, "venv", "--python", interpreter.path] + plain + [environment]
        let install = [uv, "pip", "install", "--python", python, "--link-mode", "copy"] + plain + options
        return [make] + (packages.lines.isEmpty ? [] : [install])
    }

    private func run(
        _ command: [String], _ isolation: ProgramIsolation, _ access: ProgramIsolation.Access, _ work: String,
        _ progress: @escaping @Sendable (String) -> Void
    ) async throws {
        var variables = ProgramIsolation.variables(workingDirectory: isolation.home(in: work))
        variables["UV_CACHE_DIR"] = work + "/cache"
        variables["PIP_CONFIG_FILE"] = "/dev/null"
        var limits = ProgramLimits()
        limits.processes = 4096
        limits.fileBytes = 16 << 30
        let last = Mutexed<[String]>([])
        let lines = Lines(masking: SecretMask(settings.index.map { [$0] } ?? [])) { line in
            last.change { $0 = $0.suffix(29) + [line] }
            progress(line)
        }
        let child = try isolation.process(command, environment: variables, workingDirectory: work, limits: limits, access: access)
        let program = Task { try await child.run { lines.add($0) } }
        let isLate = Mutexed(false)
        let limit = Task { [settings] in
            try await Task.sleep(for: settings.timeMax)
            isLate.change { $0 = true }
            program.cancel()
        }
        defer { limit.cancel() }
        let end: ChildProcess.End
        do {
            end = try await withTaskCancellationHandler {
                try await program.value
            } onCancel: {
                program.cancel()
            }
        } catch {
            lines.finish()
            guard isLate.value else { throw error }
            throw KeelError(
                .deadlineExceeded, "the model's environment was not made in \(settings.timeMax)", hint: PythonEnvironments.shown(last.value)
            )
        }
        lines.finish()
        guard end == .exited(0) else {
            throw KeelError(
                .failedPrecondition, "the model's environment cannot be made: \((command[0] as NSString).lastPathComponent) \(end)",
                hint: PythonEnvironments.shown(last.value))
        }
    }

    private static func shown(_ lines: [String]) -> String {
        "its last lines:\n" + lines.suffix(20).joined(separator: "\n").visible(keepingLines: true)
    }

    /// The first lines of its programs name the interpreter where it was when they were installed.
    private func rewriteScripts(_ environment: String, to place: String) throws {
        let folder = environment + "/bin"
        for name in try Folder.names(folder) {
            let path = "\(folder)/\(name)"
            guard ClosedFolder.isPlainFile(path), let bytes = FileManager.default.contents(atPath: path),
                bytes.starts(with: Array("#!".utf8)),
                let text = String(validating: bytes, as: UTF8.self), text.contains(environment)
            else { continue }
            chmod(path, 0o755)
            try Data(text.replacing(environment, with: place).utf8).write(to: URL(fileURLWithPath: path))
            chmod(path, 0o555)
        }
    }
}

/// A value that several threads change.
final class Mutexed<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    init(_ value: Value) { state = Mutex(value) }

    var value: Value { state.withLock { $0 } }
    func change(_ body: (inout Value) -> Void) { state.withLock { body(&$0) } }
}
