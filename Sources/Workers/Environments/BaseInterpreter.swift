import Contracts
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// A Python of the machine that environments are made from.
struct BaseInterpreter: Sendable, Hashable {
    /// Its own path, not that of a script or link which finds it.
    let path: String
    /// `3.11.7`
    let version: String
    /// Where its libraries lie, besides what every system has.
    let folders: [String]

    var minor: String { BaseInterpreter.minor(of: version) }

    /// `3.11` of `3.11.7`
    static func minor(of version: String) -> String { version.split(separator: ".").prefix(2).joined(separator: ".") }

    /// Asks the interpreter at a path who it is. It is one of the machine's own: what it runs is the text below.
    /// - Throws: `engineMissing` when it does not answer as a Python from 3.9 on.
    init(at given: String) async throws {
        let code =
            "import sys, platform; print(platform.python_version()); print(sys.executable); print(sys.base_prefix); print(sys.prefix)"
        let said = try await BaseInterpreter.run([given, "-I", "-c", code])
        guard said.count >= 4, said[1].hasPrefix("/"), let minor = Int(BaseInterpreter.minor(of: said[0]).dropFirst(2)), minor >= 9,
            said[0].hasPrefix("3.")
        else {
            throw KeelError(.engineMissing, "'\(given)' is no Python 3.9 or later", hint: said.last.map { String($0.prefix(200)) })
        }
        version = said[0]
        path = said[1]
        let prefixes = [said[2], said[3]].flatMap { [$0, ProgramIsolation.Folders.resolved($0)] }
        folders = Set(prefixes).subtracting(["/", "/usr", "/usr/local"]).sorted()
    }

    /// The best one for a model: that of the settings, else the server's own if it is of the wanted minor version, else the first of that version in the
    /// server's PATH, else the server's own.
    static func find(_ given: String?, wanted: String?) async throws -> BaseInterpreter {
        if let given { return try await BaseInterpreter(at: given) }
        let own: BaseInterpreter? = if let found = Interpreter.found { try? await BaseInterpreter(at: found.path) } else { nil }
        if let wanted, own?.minor != minor(of: wanted) {
            let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
            for folder in path.split(separator: ":") where folder.hasPrefix("/") {
                let candidate = "\(folder)/python\(minor(of: wanted))"
                guard access(candidate, X_OK) == 0 else { continue }
                if let found = try? await BaseInterpreter(at: candidate), found.minor == minor(of: wanted) { return found }
            }
        }
        guard let own else { throw KeelError(.engineMissing, "there is no Python", hint: "install python3 with its module venv") }
        return own
    }

    private static func run(_ command: [String]) async throws -> [String] {
        let lines = Mutexed<[String]>([])
        let output = Lines(masking: SecretMask([])) { line in lines.change { $0.append(line) } }
        var variables = ProgramIsolation.variables(workingDirectory: NSTemporaryDirectory())
        // A pyenv's scripts look for the version that the server's user chose.
        for name in ["PYENV_ROOT", "PYENV_VERSION"] { variables[name] = ProcessInfo.processInfo.environment[name] }
        let folder = NSTemporaryDirectory() + "/keel-python-" + Identifier.hex32()
        try Folder.make(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let child = ChildProcess(command: command, environment: variables, workingDirectory: folder)
        let trial = Task { try await child.run { output.add($0) } }
        let limit = Task {
            try await Task.sleep(for: .seconds(30))
            trial.cancel()
        }
        defer { limit.cancel() }
        let end = try await trial.value
        output.finish()
        let said = lines.value
        guard end == .exited(0) else {
            throw KeelError(.engineMissing, "'\(command[0])' cannot be used: it \(end)", hint: said.last.map { String($0.prefix(200)) })
        }
        return said
    }
}
