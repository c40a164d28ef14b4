import Contracts
import Foundation
import Testing
import Workers

func temporaryFolder() throws -> String {
    let path = NSTemporaryDirectory() + "keel-test-" + Identifier.hex32()
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return ProgramIsolation.Folders.resolved(path)
}

func write(_ text: String, to path: String) throws {
    try FileManager.default.createDirectory(
        atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
}

/// A folder from texts, as it comes out of the registry.
func model(_ files: [String: String], in root: String) throws -> MaterialisedFolder {
    let contents = Dictionary(files.values.map { (Digest(of: $0), Array($0.utf8)) }) { first, _ in first }
    return try MaterialisedFolder.make(files.mapValues { Digest(of: $0) }, in: root) { digest, part in try part(contents[digest] ?? []) }
}

/// The Python of the conformance tests, which has MLflow, and a small one whose `mlflow` loads `model.py` of a folder.
enum TestPython {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .path
    static let path = root + "/.keel/venv/bin/python"
    static let isThere = access(path, X_OK) == 0

    static let real = Task { try await PythonEnvironments.existing(path) }

    /// MLflow takes seconds to import. What is tested of workers here does not depend on it.
    static let quick = Task { () throws -> PythonEnvironment in
        let real = try await TestPython.real.value
        let folder = try temporaryFolder()
        let packages = "\(folder)/lib/python\(real.version.split(separator: ".").prefix(2).joined(separator: "."))/site-packages"
        try write("home = \((Folders.base(real.python) as NSString).deletingLastPathComponent)\n", to: folder + "/pyvenv.cfg")
        try FileManager.default.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
        symlink(Folders.base(real.python), folder + "/bin/python")
        let others = "\(root)/.keel/venv/lib/python\(real.version.split(separator: ".").prefix(2).joined(separator: "."))/site-packages"
        try write("\(others)\n", to: packages + "/others.pth")
        try write("", to: packages + "/mlflow/__init__.py")
        try write(
            """
            import importlib.util, os

            def load_model(path):
                spec = importlib.util.spec_from_file_location("model", os.path.join(path, "model.py"))
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                module.metadata = None
                return module
            """, to: packages + "/mlflow/pyfunc.py")
        return PythonEnvironment(python: folder + "/bin/python", version: real.version, folders: real.folders + [folder])
    }

    private enum Folders {
        static func base(_ python: String) -> String { ProgramIsolation.Folders.resolved(python) }
    }
}

/// Whether bubblewrap can do anything here: it cannot in a changed root, nor where namespaces are forbidden.
let hasSandbox: Bool = {
    let probe = Process()
    probe.executableURL = URL(fileURLWithPath: "/usr/bin/bwrap")
    probe.arguments = ["--ro-bind", "/", "/", "true"]
    probe.standardError = FileHandle.nullDevice
    do { try probe.run() } catch { return false }
    probe.waitUntilExit()
    return probe.terminationStatus == 0
}()

/// A pool of workers that load `model.py`, in a home of its own.
func pool(
    _ code: String, isolation: ProgramIsolation = .none.seeing(.only), home: String? = nil, secrets: [String] = [],
    _ change: (inout WorkerSpec) -> Void = { _ in }
) async throws -> WorkerPool {
    let home = try home ?? temporaryFolder()
    var spec = WorkerSpec(
        .pyfunc, folder: try model(["model.py": code], in: home + "/models"), environment: try await TestPython.quick.value)
    spec.startTime = .seconds(60)
    change(&spec)
    return try WorkerPool(spec, folder: home + "/workers/" + Identifier.hex32(), isolation: isolation, secrets: secrets)
}

func table(_ pairs: KeyValuePairs<String, Column>) throws -> Table { try Table(pairs.map { (name: $0.key, column: $0.value) }) }

/// Far enough away for a machine that is busy with all other tests.
func soon(_ seconds: Double = 600) -> ContinuousClock.Instant { ContinuousClock.now + .seconds(seconds) }

extension WorkerPool {
    /// A call from a thread of its own, as callers make them: one that blocked here would keep a thread from all other tests.
    func ask(_ table: Table, params: JSON = .object([]), seconds: Double = 600) async throws -> Table {
        try await Blocking.runAlone { try self.call(table, params: params, until: soon(seconds)) }
    }
}

/// Runs a program on a thread of its own, and gives what it wrote.
@discardableResult func answer(of path: String, _ arguments: [String], in folder: String? = nil) async throws -> String {
    try await Blocking.runAlone {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
