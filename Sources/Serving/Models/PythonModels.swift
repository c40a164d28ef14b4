import Contracts
import Foundation
import Storage
import Synchronization
import Workers

/// Makes runners of models that need Python: their files in a folder of their own, their environment, their workers.
public final class PythonModels: CodeModels {
    public struct Settings: Sendable {
        /// Whether code of models runs at all.
        public var isAllowed = true
        /// Processes of one model.
        public var workers = 2
        /// Of one process with all that it starts.
        public var memoryBytes: Int64 = 2 << 30
        /// Whether models may reach the network.
        public var hasNetwork = false
        /// The interpreter of an environment that all models run in; nil: each has one that is made of what it asks for.
        public var environment: String?
        public var environments = PythonEnvironments.Settings()

        public init() {}
    }

    private let folder: String
    private let isolation: IsolationChoice
    private let settings: Settings
    private let environments: PythonEnvironments
    private let uses = PythonModelUse.Register()
    /// What was made or taken up so lately is not swept: a release of it may be on its way.
    private static let idleMin = TimeSpan.hours(1)
    private let secrets: [String]
    private let report: @Sendable (String) -> Void

    /// - Parameters:
    ///   - folder: an absolute path below the home that is the server's alone.
    ///   - isolation: that of the workers.
    ///   - secrets: texts that logs of models never hold.
    ///   - report: told what a deployment does, line by line.
    public init(
        folder: String, isolation: IsolationChoice, settings: Settings, secrets: [String] = [], report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.folder = folder
        self.isolation = isolation
        self.settings = settings
        self.secrets = secrets
        self.report = report
        // What a server before left: its workers ended with it.
        try? FileManager.default.removeItem(atPath: folder + "/pools")
        environments = PythonEnvironments(folder: folder + "/environments", isolation: isolation, settings: settings.environments)
    }

    /// Starts the workers of a model; it is ready when each has loaded it.
    /// - Throws: `permissionDenied` where models may not bring code; what the environment and the workers throw, with their last lines.
    public func runner(_ bundle: ModelBundle, _ objects: any ObjectStore) async throws -> any ModelRunner {
        guard settings.isAllowed else {
            throw KeelError(
                .permissionDenied, "this server runs no code of models (serving.python.code: refused)",
                hint: "log the model as ONNX, XGBoost or LightGBM, which Keel runs itself")
        }
        let model = try await materialised(bundle, objects)
        let environment = try await environment(of: model)
        let name = Identifier.hex32()
        let names = [(model.path as NSString).lastPathComponent, environments.name(of: environment), name]
        let use = PythonModelUse(names.compactMap { $0 }, in: uses)
        var spec = WorkerSpec(.pyfunc, folder: model, environment: environment)
        spec.workers = settings.workers
        spec.memoryBytes = settings.memoryBytes
        spec.hasNetwork = settings.hasNetwork
        let pool = try WorkerPool(
            spec, folder: "\(folder)/pools/\(name)", isolation: try await isolation.value(), secrets: secrets)
        for warning in environment.warnings + pool.warnings { report(warning) }
        try await pool.start()
        return PythonRunner(pool, use: use, workers: settings.workers)
    }

    /// What keeps code of models apart here; nothing where none runs.
    public func protections() async throws -> [ProgramProtection] {
        settings.isAllowed ? try await isolation.value().protections(hasNetwork: settings.hasNetwork) : []
    }

    /// Removes unpacked models, environments and logs of workers that no running model and none of these bundles needs, and that were not taken up in the
    /// last hour.
    /// - Returns: how many folders are gone, or would be.
    public func sweep(keeping bundles: [ModelBundle], at now: Timestamp, dryRun: Bool) async throws -> Int {
        let root = folder + "/models"
        var kept: Set<String> = []
        var isEveryEnvironmentKnown = settings.environment == nil
        for bundle in bundles where bundle.flavor == .python {
            let name = MaterialisedFolder.name(of: PythonModels.digests(bundle))
            guard kept.insert(name).inserted, isEveryEnvironmentKnown, FileManager.default.fileExists(atPath: "\(root)/\(name)") else { continue }
            // Without its Python, or with files that cannot be read, nobody can tell which environment it had.
            do { kept.insert(try await environments.name(ofModel: "\(root)/\(name)")) } catch { isEveryEnvironmentKnown = false }
        }
        let limit = Timestamp(microseconds: now.microseconds - PythonModels.idleMin.microseconds)
        let names = kept
        let sweepsEnvironments = isEveryEnvironmentKnown
        return try await Blocking.run { [self] in
            // Asked last: what began to run meanwhile is among them, or was taken up within the hour.
            let needed = names.union(uses.names)
            let models = MaterialisedFolder.sweep(root, keeping: needed, before: limit, dryRun: dryRun)
            let logs = WorkerPool.sweep(folder + "/pools", keeping: needed, before: limit, dryRun: dryRun)
            return models + logs + (sweepsEnvironments ? environments.sweep(keeping: needed, before: limit, dryRun: dryRun) : 0)
        }
    }

    private static func digests(_ bundle: ModelBundle) -> [String: Digest] {
        Dictionary(bundle.files.map { ($0.path, $0.digest) }) { $1 }
    }

    private func environment(of model: MaterialisedFolder) async throws -> PythonEnvironment {
        if let given = settings.environment { return try await PythonEnvironments.existing(given) }
        return try await environments.environment(ofModel: model.path) { [report] line in report(line) }
    }

    /// The model's files, each checked by its digest before anything reads it.
    private func materialised(_ bundle: ModelBundle, _ objects: any ObjectStore) async throws -> MaterialisedFolder {
        var readers: [Digest: ObjectReader] = [:]
        for file in bundle.files { readers[file.digest] = try await objects.open(file.digest) }
        let root = folder + "/models"
        let paths = PythonModels.digests(bundle)
        let sources = readers
        return try await Blocking.run {
            try MaterialisedFolder.make(paths, in: root) { digest, part in
                guard let reader = sources[digest] else { throw KeelError(.corrupted, "the bundle names no file \(digest.short)") }
                var offset: Int64 = 0
                var buffer = [UInt8](repeating: 0, count: 1 << 20)
                while true {
                    let count = try buffer.withUnsafeMutableBytes { try reader.read(at: offset, into: $0) }
                    guard count > 0 else { return }
                    try part(Array(buffer[..<count]))
                    offset += Int64(count)
                }
            }
        }
    }
}
