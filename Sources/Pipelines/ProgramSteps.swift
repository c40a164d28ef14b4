import Contracts
import Foundation
import Synchronization

/// How a program reaches the server while it runs.
public struct ProgramAccess: Sendable {
    let variables: [String: String]
    let end: @Sendable () -> Void

    /// - Parameter end: called when the program has ended, however it did.
    public init(variables: [String: String], end: @escaping @Sendable () -> Void = {}) { (self.variables, self.end) = (variables, end) }
}

/// What the user's own programs find in their environment.
///
/// Nothing of the server's environment is inherited but `PATH, HOME, LANG, TMPDIR, PYTHONPATH, VIRTUAL_ENV`. They get `KEEL_RUN_ID`, `KEEL_PIPELINE`,
/// `KEEL_STEP`, `KEEL_NOW` (event time), `KEEL_PROJECT` (the project's folder), one `KEEL_PARAM_NAME` for each parameter, and `KEEL_OUTPUT`: a file
/// into which they may write one JSON object, the outputs of the step. What `connection` gives (`KEEL_URL`, `MLFLOW_TRACKING_URI`, a token) comes too,
/// and last what the step's own `env` says.
public struct ProgramEnvironment: Sendable {
    public static let inherited = ["PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"]
    public static let outputBytesMax = 1 << 20
    /// Lines of the log that an error repeats.
    static let lastLines = 12

    let projectFolder: String
    let connection: @Sendable (Caller) -> ProgramAccess

    /// - Parameters:
    ///   - projectFolder: where relative script paths begin.
    ///   - connection: how a program of this caller reaches the server; asked at every start of one.
    public init(projectFolder: String, connection: @escaping @Sendable (Caller) -> ProgramAccess) {
        self.projectFolder = projectFolder
        self.connection = connection
    }

    private func variables(_ context: StepContext, _ access: ProgramAccess, output: String) -> [String: String] {
        var out: [String: String] = [:]
        let server = ProcessInfo.processInfo.environment
        for name in ProgramEnvironment.inherited { out[name] = server[name] }
        out.merge(access.variables) { $1 }
        out["KEEL_RUN_ID"] = context.runID
        out["KEEL_PIPELINE"] = context.pipeline
        out["KEEL_STEP"] = context.step
        out["KEEL_NOW"] = context.now.description
        out["KEEL_PROJECT"] = projectFolder
        out["KEEL_OUTPUT"] = output
        for member in context.parameters.members ?? [] {
            let name = member.key.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
            out["KEEL_PARAM_" + name] = member.value.string ?? member.value.text
        }
        for member in context.with["env"]?.members ?? [] { out[member.key] = member.value.string ?? member.value.text }
        return out
    }

    /// Runs a program to its end and reads the outputs it wrote.
    /// - Throws: `failedPrecondition` with the last lines of its log when it ends badly, `invalidArgument` when its outputs are no JSON object.
    func run(_ executable: String, _ arguments: [String], _ context: StepContext) async throws -> JSON {
        let output = context.workingDirectory + "/outputs.json"
        // What an earlier attempt left is not this one's result.
        unlink(output)
        let access = connection(context.caller)
        defer { access.end() }
        let child = ChildProcess(
            executable: executable, arguments: arguments, environment: variables(context, access, output: output),
            workingDirectory: context.workingDirectory)
        let last = Mutex<[String]>([])
        let end = try await child.run { line in
            context.log(line)
            last.withLock { lines in
                lines.append(String(line.prefix(400)))
                if lines.count > ProgramEnvironment.lastLines { lines.removeFirst() }
            }
        }
        guard end == .exited(0) else {
            let how =
                switch end {
                case .exited(let code): "ended with exit code \(code)"
                case .signalled(let signal): "was ended by signal \(signal)"
                }
            let lines = last.withLock { $0 }
            throw KeelError(
                .failedPrecondition,
                "the program \(how)" + (lines.isEmpty ? " and wrote nothing" : "; it wrote last:\n  " + lines.joined(separator: "\n  ")),
                hint: "its whole log: \(context.workingDirectory)/log.txt")
        }
        return try read(output)
    }

    private func read(_ path: String) throws -> JSON {
        guard FileManager.default.fileExists(atPath: path) else { return .object([]) }
        let size = (try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue ?? 0
        guard size <= ProgramEnvironment.outputBytesMax else {
            throw KeelError(
                .payloadTooLarge, "the outputs file holds \(size) bytes, more than \(ProgramEnvironment.outputBytesMax)",
                hint: "write big data to files of their own, and their paths to KEEL_OUTPUT")
        }
        let json: JSON
        do throws(KeelError) { json = try JSON.parse(Array(try contents(path))) } catch { throw error.at("KEEL_OUTPUT") }
        guard case .object = json else {
            throw KeelError.invalid("the outputs must be one JSON object, not \(json.kind)", path: "KEEL_OUTPUT")
        }
        return json
    }

    private func contents(_ path: String) throws(KeelError) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else { throw KeelError(.internal, "the outputs file cannot be read") }
        return Array(data)
    }

    static func checkEnvironment(_ reader: FieldReader) throws(KeelError) {
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

/// `uses: shell`: `with: { run: "command", env: {NAME: value} }`, by `/bin/sh -eu` in the step's working directory.
///
/// `run` is shell text, where `$name` is the shell's: parameters come as `KEEL_PARAM_NAME`, anything else through `env`. So no value can become a command.
public struct ShellStep: StepKind {
    public let name = "shell"
    public let version = 1
    public let cachedByDefault = false
    public let readsParameters = true
    public let literalFields: Set<String> = ["run"]
    private let environment: ProgramEnvironment

    public init(environment: ProgramEnvironment) { self.environment = environment }

    public func validate(_ with: JSON) throws(KeelError) {
        let reader = try FieldReader(with, path: "")
        let run = try reader.string("run")
        guard !run.isEmpty, !run.utf8.contains(0) else { throw reader.failure("run", "must be a command") }
        try ProgramEnvironment.checkEnvironment(reader)
        try reader.finish()
    }

    public func run(_ context: StepContext) async throws -> JSON {
        try await environment.run("/bin/sh", ["-eu", "-c", context.with["run"]?.string ?? ""], context)
    }
}

/// `uses: python`: `with: { script: path | code: text, args: [...], env: {...} }`, by `python3` of the virtual environment or the PATH.
///
/// A script's path begins at the project's folder. `code` is Python text and takes no references; values come by `args`, `env` and `KEEL_PARAM_NAME`.
public struct PythonStep: StepKind {
    public let name = "python"
    public let version = 1
    public let cachedByDefault = false
    public let readsParameters = true
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
        try ProgramEnvironment.checkEnvironment(reader)
        try reader.finish()
    }

    /// The content of the script: an edited script is another step.
    public func fingerprint(_ with: JSON, now: Timestamp) async throws -> JSON {
        guard let script = with["script"]?.string else { return .object([]) }
        let path = try path(of: script)
        let digest = try await Blocking.run {
            guard let data = FileManager.default.contents(atPath: path) else { throw KeelError.notFound("'\(path)' cannot be read") }
            return Digest(of: data)
        }
        return ["script": .string(digest.short)]
    }

    public func run(_ context: StepContext) async throws -> JSON {
        let path: String
        if let script = context.with["script"]?.string {
            path = try self.path(of: script)
        } else {
            path = context.workingDirectory + "/step.py"
            try Data((context.with["code"]?.string ?? "").utf8).write(to: URL(fileURLWithPath: path))
        }
        let args = context.with["args"].map { $0.array ?? [$0] } ?? []
        let python = ProcessInfo.processInfo.environment["VIRTUAL_ENV"].map { $0 + "/bin/python3" } ?? "python3"
        return try await environment.run(python, ["-u", path] + args.map { $0.string ?? $0.text }, context)
    }

    private func path(of script: String) throws(KeelError) -> String {
        let path = script.hasPrefix("/") ? script : environment.projectFolder + "/" + script
        guard FileManager.default.fileExists(atPath: path) else {
            throw .notFound("there is no script '\(script)'", hint: "its path begins at the project's folder, \(environment.projectFolder)")
        }
        return path
    }
}
