import Contracts
import Foundation
import Storage
import Workers

#if canImport(Glibc)
    import Glibc
#endif

/// How a program reaches the server while it runs.
public struct ProgramAccess: Sendable {
    let variables: [String: String]
    let end: @Sendable () -> Void

    /// - Parameter end: called when the program has ended, however it did.
    public init(variables: [String: String], end: @escaping @Sendable () -> Void = {}) {
        self.variables = variables
        self.end = end
    }
}

/// What the user's own programs find in their environment, and how they are run: docs/steps.md is the contract.
///
/// Nothing of the server's environment is inherited but `PATH` and `LANG`. `HOME` is the step's working directory and `TMPDIR` a folder in it. They get
/// `KEEL_RUN_ID`, `KEEL_PIPELINE`, `KEEL_STEP`, `KEEL_ATTEMPT`, `KEEL_NOW` (event time), `KEEL_PROJECT` (the project's folder), one
/// `KEEL_PARAM_NAME` for each parameter, and `KEEL_OUTPUT`: a file into which they may write one JSON object, the outputs of the step. What
/// `connection` gives (`KEEL_URL`, `MLFLOW_TRACKING_URI`, a token) comes too, and last what the step's own `env` says.
public struct ProgramEnvironment: Sendable {
    public static let outputBytesMax = 1 << 20

    let projectFolder: String
    let isolation: IsolationChoice
    let secrets: [String]
    let connection: @Sendable (Caller, _ actor: String) -> ProgramAccess

    /// - Parameters:
    ///   - projectFolder: where relative script paths begin; an absolute path.
    ///   - secrets: texts that logs of steps never hold, besides the token that a program is lent and the secrets in its own variables.
    ///   - connection: how a program reaches the server in the name of this caller; asked at every start of one. The actor is what the ledger is to call
    ///     the program: `Pipeline/training`.
    public init(
        projectFolder: String, isolation: IsolationChoice, secrets: [String] = [], 
        connection: @escaping @Sendable (Caller, _ actor: String) -> ProgramAccess
    ) {
        self.projectFolder = projectFolder
        self.isolation = isolation
        self.secrets = secrets
        self.connection = connection
    }

    /// The values of variables of this process whose names say that they are secrets.
    public static func secretsOfThisProcess() -> [String] {
        ProcessInfo.processInfo.environment.filter { SecretMask.isSecret($0.key) }.map(\.value)
    }

    private func variables(_ context: StepContext, _ access: ProgramAccess, output: String) -> [String: String] {
        var out = ProgramIsolation.variables(workingDirectory: context.workingDirectory)
        out.merge(access.variables) { $1 }
        out["KEEL_RUN_ID"] = context.runID
        out["KEEL_PIPELINE"] = context.pipeline
        out["KEEL_STEP"] = context.step
        out["KEEL_ATTEMPT"] = String(context.attempt)
        out["KEEL_NOW"] = context.now.description
        out["KEEL_PROJECT"] = projectFolder
        out["KEEL_OUTPUT"] = output
        for member in context.parameters.members ?? [] {
            let name = String(member.key.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
            out["KEEL_PARAM_" + name] = member.value.string ?? member.value.text
        }
        for member in context.with["env"]?.members ?? [] { out[member.key] = member.value.string ?? member.value.text }
        return out
    }

    /// Runs a program to its end and reads the outputs it wrote.
    /// - Throws: `failedPrecondition` when it ends badly, `invalidArgument` when its outputs are no JSON object. What it wrote is in the step's log
    ///   alone: errors go to the ledger, which keeps them for ever.
    func run(_ command: [String], _ context: StepContext) async throws -> JSON {
        let isolation = try await isolation.value()
        try isolation.prepare(folder: context.workingDirectory)
        let output = context.workingDirectory + "/outputs.json"
        // What an earlier attempt left is not this one's result.
        unlink(output)
        let access = connection(context.caller, "Pipeline/\(context.pipeline)")
        defer {
            access.end()
            try? FileManager.default.removeItem(atPath: context.workingDirectory + "/tmp")
        }
        let variables = variables(context, access, output: output)
        if let name = variables.keys.first(where: { !ProgramEnvironment.isName($0) }) {
            throw KeelError.invalid("'\(name)' is no name of a variable", hint: "letters, digits and _, no digit first", path: "with.env")
        }
        let limits = ProgramLimits(
            memoryBytes: context.with["memoryMiB"]?.integer.map { $0 << 20 },
            cpuSeconds: context.with["cpu"]?.string.flatMap { TimeSpan($0) }.map { max(1, $0.microseconds / 1_000_000) })
        let lines = Lines(masking: SecretMask(secrets + variables.filter { SecretMask.isSecret($0.key) }.map(\.value)), to: context.log)
        let child = try isolation.process(command, environment: variables, workingDirectory: context.workingDirectory, limits: limits)
        defer { lines.finish() }
        let end = try await child.run { lines.add($0) }
        guard end == .exited(0) else {
            throw KeelError(.failedPrecondition, "the program \(end)", hint: "its log: keel logs \(context.runID) \(context.step)")
        }
        return try read(output)
    }

    /// The program may have put anything at this path: only a plain file is read, and no more of it than outputs may hold.
    private func read(_ path: String) throws -> JSON {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        if file < 0, errno == ENOENT { return .object([]) }
        var status = stat()
        guard file >= 0, fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            if file >= 0 { close(file) }
            throw KeelError.invalid("the outputs must be a plain file", path: "KEEL_OUTPUT")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        let data = try handle.read(upToCount: ProgramEnvironment.outputBytesMax + 1) ?? Data()
        guard data.count <= ProgramEnvironment.outputBytesMax else {
            throw KeelError(
                .payloadTooLarge, "the outputs file holds more than \(ProgramEnvironment.outputBytesMax) bytes",
                hint: "write big data to files of their own, and their paths to KEEL_OUTPUT")
        }
        let json: JSON
        do throws(KeelError) { json = try JSON.parse(Array(data)) } catch { throw error.at("KEEL_OUTPUT") }
        guard case .object = json else {
            throw KeelError.invalid("the outputs must be one JSON object, not \(json.kind)", path: "KEEL_OUTPUT")
        }
        return json
    }

    /// What both kinds of programs take besides what they run: `env`, `memoryMiB`, `cpu`.
    static func check(_ reader: FieldReader) throws(KeelError) {
        try checkEnvironment(reader)
        if let memory = try reader.optionalInt("memoryMiB"), !(1...(1 << 30)).contains(memory) {
            throw reader.failure("memoryMiB", "must be 1 to \(1 << 30)")
        }
        _ = try reader.optionalSpan("cpu")
    }

    /// Whether every program, a shell among them, can be given a variable of this name.
    private static func isName(_ text: String) -> Bool {
        text.first?.isNumber == false && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }

    private static func checkEnvironment(_ reader: FieldReader) throws(KeelError) {
        guard let env = try reader.optionalObject("env") else { return }
        for key in env.keys {
            let value = env.optional(key) ?? .null
            guard !key.isEmpty, !key.utf8.contains(UInt8(ascii: "=")), !key.utf8.contains(0) else {
                throw env.failure(key, "is no name of a variable")
            }
            if value.string?.utf8.contains(0) == true { throw env.failure(key, "holds a zero byte") }
        }
    }
}

/// `uses: shell`: `with: { run: "command", env: {NAME: value}, memoryMiB: 4096, cpu: 10m }`, by `/bin/sh -eu` in the step's working directory.
///
/// `run` is shell text, where `$name` is the shell's: parameters come as `KEEL_PARAM_NAME`, anything else through `env`. So no value can become a command.
public struct ShellStep: StepKind {
    public let name = "shell"
    public let version = 1
    public let cachedByDefault = false
    public let readsParameters = true
    public let runsPrograms = true
    public let literalFields: Set<String> = ["run"]
    private let environment: ProgramEnvironment

    public init(environment: ProgramEnvironment) { self.environment = environment }

    public func validate(_ with: JSON) throws(KeelError) {
        let reader = try FieldReader(with, path: "")
        let run = try reader.string("run")
        guard !run.isEmpty, !run.utf8.contains(0) else { throw reader.failure("run", "must be a command") }
        try ProgramEnvironment.check(reader)
        try reader.finish()
    }

    public func run(_ context: StepContext) async throws -> JSON {
        try await environment.run(["/bin/sh", "-eu", "-c", context.with["run"]?.string ?? ""], context)
    }
}

/// `uses: python`: `with: { script: path | code: text, args: [...], env: {...}, memoryMiB, cpu }`, by `python3` of the server's virtual environment
/// or PATH.
///
/// A script's path begins at the project's folder. `code` is Python text and takes no references; values come by `args`, `env` and `KEEL_PARAM_NAME`.
public struct PythonStep: StepKind {
    public let name = "python"
    public let version = 1
    public let cachedByDefault = false
    public let readsParameters = true
    public let runsPrograms = true
    public let literalFields: Set<String> = ["code"]
    private let environment: ProgramEnvironment

    public init(environment: ProgramEnvironment) { self.environment = environment }

    public func validate(_ with: JSON) throws(KeelError) {
        let reader = try FieldReader(with, path: "")
        let (script, code) = (try reader.optionalString("script"), try reader.optionalString("code"))
        guard (script == nil) != (code == nil) else {
            throw .invalid("a python step takes either 'script' or 'code'", hint: "script: path of a file; code: the program itself")
        }
        for text in (try reader.strings("args") ?? []) + [script ?? "", code ?? ""] where text.utf8.contains(0) {
            throw .invalid("a text of this step holds a zero byte")
        }
        try ProgramEnvironment.check(reader)
        try reader.finish()
    }

    /// The content of the script: an edited script is another step.
    public func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON {
        guard let script = with["script"]?.string else { return .object([]) }
        let path = try path(of: script)
        let digest = try await Blocking.run {
            // What lies in the project is not Keel's: it may be a FIFO or a device, of which there is no end.
            do { return try ObjectReader(path: path, name: "script '\(script)'", followsLinks: true).digest() } catch {
                throw KeelError.invalid("the script '\(script)' cannot be read", hint: "a script is a plain file", path: "with.script")
            }
        }
        return ["script": .string(digest.short)]
    }

    public func run(_ context: StepContext) async throws -> JSON {
        let path: String
        if let script = context.with["script"]?.string {
            path = try self.path(of: script)
        } else {
            path = context.workingDirectory + "/step.py"
            try PythonStep.write(context.with["code"]?.string ?? "", to: path)
        }
        let args = context.with["args"].map { $0.array ?? [$0] } ?? []
        return try await environment.run([Interpreter.found?.path ?? "python3", "-u", path] + args.map { $0.string ?? $0.text }, context)
    }

    /// A file of its own, whatever an earlier attempt may have put in its place.
    private static func write(_ code: String, to path: String) throws {
        unlink(path)
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw KeelError(.unavailable, "the step's program cannot be written: \(String(cString: strerror(errno)))") }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        // The program may run as another user, whatever this process's mask is.
        fchmod(file, 0o644)
        try handle.write(contentsOf: Data(code.utf8))
    }

    private func path(of script: String) throws(KeelError) -> String {
        let path = script.hasPrefix("/") ? script : environment.projectFolder + "/" + script
        guard FileManager.default.fileExists(atPath: path) else {
            throw .notFound("there is no script '\(script)'", hint: "its path begins at the folder in which the server was started")
        }
        return path
    }
}
