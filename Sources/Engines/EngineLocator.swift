import Contracts
import Glibc

/// A native engine that Keel loads at run time.
public enum Engine: String, Sendable, CaseIterable {
    case duckdb, onnxruntime, xgboost

    /// As its makers write it.
    public var name: String {
        switch self {
        case .duckdb: "DuckDB"
        case .onnxruntime: "ONNX Runtime"
        case .xgboost: "XGBoost"
        }
    }

    /// The environment variable that names the library's file, before all other places.
    public var environmentVariable: String {
        switch self {
        case .duckdb: "KEEL_DUCKDB_LIB"
        case .onnxruntime: "KEEL_ONNXRUNTIME_LIB"
        case .xgboost: "KEEL_XGBOOST_LIB"
        }
    }

    /// What the system's loader knows an installed library by.
    var libraryName: String { "lib\(rawValue).so" }

    /// Where `scripts/bootstrap` puts it below `.keel/native`, and an installation below `native`.
    var nativePath: String {
        switch self {
        case .duckdb: "duckdb/libduckdb.so"
        case .onnxruntime: "onnxruntime/libonnxruntime.so"
        case .xgboost: "xgboost/xgboost/lib/libxgboost.so"
        }
    }
}

/// Where native engines are looked for: the environment variable; what came with the installation that the executable is of; the system's library path;
/// `.keel/native` of the working directory or a folder above it, then of the executable's folder or one above.
public struct EngineLocator: Sendable {
    public var environment: [String: String]
    public var workingDirectory: String
    public var executable: String
    /// Whether libraries of the system's own path count.
    public var usesSystemPath: Bool

    public init(environment: [String: String], workingDirectory: String, executable: String, usesSystemPath: Bool = true) {
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.executable = executable
        self.usesSystemPath = usesSystemPath
    }

    /// The locator of this process, read from its environment now.
    public static var process: EngineLocator {
        var environment: [String: String] = [:]
        for name in Engine.allCases.map(\.environmentVariable) + ["LD_BIND_NOW"] {
            if let value = getenv(name) { environment[name] = String(cString: value) }
        }
        return EngineLocator(
            environment: environment, workingDirectory: absolutePath(".") ?? "/", executable: absolutePath("/proc/self/exe") ?? "/")
    }

    /// What `dlopen` is to try for `engine`, in order. A path that the environment names is the only candidate then, and so is
    /// the engine that an installation brought: it is the one that this version was tested with.
    public func candidates(for engine: Engine) -> [String] {
        if let named = environment[engine.environmentVariable], !named.isEmpty { return [named] }
        if let own = Installation(executable: executable)?.path("native/" + engine.nativePath) { return [own] }
        var found = usesSystemPath ? [engine.libraryName] : []
        for start in [workingDirectory, EngineLocator.parent(executable)] {
            var folder: String? = start
            while let current = folder {
                let path = (current == "/" ? "" : current) + "/.keel/native/" + engine.nativePath
                if access(path, R_OK) == 0, !found.contains(path) { found.append(path) }
                folder = current == "/" ? nil : EngineLocator.parent(current)
            }
        }
        return found
    }

    /// Tries the candidates with `open` (which returns nil, or why it failed) and returns the one that loaded.
    ///
    /// - Throws: `engineMissing` with what was tried and the install step.
    func load(_ engine: Engine, open: (String) -> String?) throws(KeelError) -> String {
        var reasons: [String] = []
        for candidate in candidates(for: engine) {
            guard let reason = open(candidate) else { return candidate }
            // That the system has no such library is the usual case and explains nothing.
            if candidate != engine.libraryName { reasons.append(reason.contains(candidate) ? reason : "\(candidate): \(reason)") }
        }
        var hint = "\(installing), or name the library's file in \(engine.environmentVariable)"
        if let named = environment[engine.environmentVariable], !named.isEmpty {
            hint = "\(engine.environmentVariable) names '\(named)': correct or unset it"
        } else if engine == .duckdb, environment["LD_BIND_NOW"] != nil, !reasons.isEmpty {
            hint = "unset LD_BIND_NOW: this build of DuckDB needs lazy binding"
        }
        let detail = reasons.isEmpty ? "is not installed" : "cannot be loaded: \(reasons.joined(separator: "; "))"
        throw KeelError(.engineMissing, "the engine \(engine.name) \(detail)", hint: hint)
    }

    /// What brings an engine: a checkout installs it, an installation came with all of them.
    var installing: String {
        guard let installation = Installation(executable: executable) else { return "install it with scripts/bootstrap" }
        return "the installation in \(installation.folder) lacks it or has it damaged: \(installation.reinstalling)"
    }

    private static func parent(_ path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    private static func absolutePath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// Whether an engine can be used here, for `keel doctor`.
public struct EngineReport: Sendable {
    /// As its makers write it: `DuckDB`.
    public let name: String
    /// Nil when the engine cannot be loaded.
    public let version: String?
    /// The library that was loaded: a path, or a name on the system's own library path.
    public let path: String?
    /// What to do, when it cannot be loaded.
    public let mend: String?

    /// One report for each engine. Loads the engines that are not loaded yet; never fails.
    public static func all() -> [EngineReport] {
        Engine.allCases.map { engine in
            do throws(KeelError) {
                let (version, path) = try engine.loaded()
                return EngineReport(name: engine.name, version: version, path: path, mend: nil)
            } catch {
                return EngineReport(name: engine.name, version: nil, path: nil, mend: error.description)
            }
        }
    }
}

extension Engine {
    fileprivate func loaded() throws(KeelError) -> (version: String, path: String) {
        switch self {
        case .duckdb:
            let library = try DuckDBLibrary.shared.get()
            return (library.version, library.path)
        case .onnxruntime:
            let library = try ONNXRuntimeLibrary.shared.get()
            return (library.version, library.path)
        case .xgboost:
            let library = try XGBoostLibrary.shared.get()
            return (library.version, library.path)
        }
    }
}

extension EngineLocator {
    /// Loads the engine that this locator finds and asks for its version.
    ///
    /// - Throws: `engineMissing` with what was tried and the install step.
    public func version(of engine: Engine) throws(KeelError) -> String {
        switch engine {
        case .duckdb: try DuckDBLibrary(locator: self).version
        case .onnxruntime: try ONNXRuntimeLibrary(locator: self).version
        case .xgboost: try XGBoostLibrary(locator: self).version
        }
    }
}
