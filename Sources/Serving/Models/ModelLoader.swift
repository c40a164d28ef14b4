import Contracts
import Engines
import Storage
import Workers

/// Stores models, and makes stored ones ready to answer.
public struct ModelLoader: Sendable {
    public let objects: any ObjectStore
    private let python: (any CodeModels)?
    private let remote: (any RemoteModels)?
    let signatures: (any ModelSignatures)?
    /// Which models each workspace takes.
    public let policies = ModelPolicies()
    private let threads: Int

    /// - Parameters:
    ///   - python: runs models that bring code; without it they are refused.
    ///   - remote: asks models of other servers; without it they are refused.
    ///   - signatures: those of models that bring code; without it none counts as signed.
    ///   - threads: that one ONNX model runs on at a time.
    public init(
        objects: any ObjectStore, python: (any CodeModels)? = nil, remote: (any RemoteModels)? = nil, signatures: (any ModelSignatures)? = nil,
        threads: Int = 2
    ) {
        self.objects = objects
        self.python = python
        self.remote = remote
        self.signatures = signatures
        self.threads = threads
    }

    /// Reads a bundle's files and loads the model off the cooperative threads.
    /// - Parameters:
    ///   - workspace: whose model it is.
    ///   - isRestart: whether it served before the server was started anew: a remote one may then be loaded while its server is away.
    /// - Throws: what kept it from answering as it did when it was stored.
    public func load(_ digest: Digest, in workspace: WorkspaceID, isRestart: Bool = false) async throws -> LoadedModel {
        try await load(try await ModelBundle.read(digest, from: objects), in: workspace, isRestart: isRestart)
    }

    /// Asks the server of a remote model what it takes and gives.
    public func describe(_ model: RemoteModel, in workspace: WorkspaceID) async throws -> RemoteDescription {
        guard let remote else { throw ModelLoader.noRemote }
        return try await remote.describe(model, in: workspace)
    }

    private static let noRemote = KeelError(.unavailable, "models of other servers cannot be asked here")

    /// The file that holds the model itself.
    public func mainFile(of bundle: ModelBundle) async throws -> [UInt8] {
        guard let main = bundle.files.first(where: { $0.path == bundle.main }) else {
            throw KeelError(.corrupted, "the bundle names no file '\(bundle.main)'")
        }
        return try await objects.get(main.digest)
    }

    /// The files in which the graph of an ONNX bundle keeps tensors, by their paths relative to the folder of the graph.
    /// - Throws: `invalidArgument` for one outside that folder; `corrupted`.
    public func tensorFiles(of bundle: ModelBundle) async throws -> [String] {
        let bytes = try await mainFile(of: bundle)
        return try await Blocking.run { try ONNXModel.externalFiles(of: bytes) }
    }

    /// Stores a model of one file with its manifest; returns the manifest's digest, by which a release names the bundle.
    ///
    /// The model is loaded and tried first: one that cannot predict is refused and nothing is stored.
    public func store(_ bundle: ModelBundle, model bytes: [UInt8]) async throws -> Digest {
        let threads = threads
        _ = try await Blocking.run { try LoadedModel(bundle, try ModelLoader.native(bundle, bytes, [:], threads)) }
        _ = try await objects.put(bytes)
        return try await objects.put(bundle.json.canonical)
    }

    /// Tries a model whose files are stored already, and stores its manifest with its answer to its example.
    public func store(_ bundle: ModelBundle, in workspace: WorkspaceID) async throws -> (digest: Digest, model: LoadedModel) {
        let model = try await load(bundle, in: workspace)
        let isRepeatable = bundle.isRepeatable
        let answered = bundle.with(
            example: bundle.example.map { ModelExample(inputs: $0.inputs, outputs: isRepeatable ? model.exampleOutputs : nil) })
        return (try await objects.put(answered.json.canonical), model)
    }

    /// What keeps code of models apart from the server on this machine.
    /// - Parameter digest: of the bundle that it is asked for; nil: of any.
    /// - Returns: empty for models without code of their own, and where none runs.
    public func protections(of digest: Digest? = nil) async throws -> [ProgramProtection] {
        guard let python else { return [] }
        if let digest {
            let bundle = try await ModelBundle.read(digest, from: objects)
            guard ModelLoader.all(of: bundle).contains(where: { $0.flavor == .python }) else { return [] }
        }
        return try await python.protections()
    }

    /// Removes what models that bring code were unpacked to and ran in, when no running model and none of these bundles needs it any more.
    /// - Returns: how many folders are gone, or would be.
    public func sweep(keeping bundles: Set<Digest>, at now: Timestamp, dryRun: Bool) async throws -> Int {
        guard let python else { return 0 }
        var read: [ModelBundle] = []
        for digest in bundles { read += ModelLoader.all(of: try await ModelBundle.read(digest, from: objects)) }
        return try await python.sweep(keeping: read, at: now, dryRun: dryRun)
    }

    /// A bundle, and the models that it is made of.
    static func all(of bundle: ModelBundle) -> [ModelBundle] { [bundle] + bundle.parts.flatMap { all(of: $0.bundle) } }

    private func load(_ bundle: ModelBundle, in workspace: WorkspaceID, isRestart: Bool = false) async throws -> LoadedModel {
        guard !bundle.signature.inputs.isEmpty else { throw KeelError(.contractViolation, "the signature has no inputs") }
        if bundle.flavor == .python {
            try await requireAccepted(bundle, in: workspace)
            guard let python else { throw KeelError(.unavailable, "models that bring code cannot run here") }
            let runner = try await python.runner(bundle, objects)
            return try await Blocking.run { try LoadedModel(bundle, runner) }
        }
        if !bundle.parts.isEmpty {
            var models: [(name: String, model: LoadedModel)] = []
            for part in bundle.parts {
                do { models.append((part.name, try await load(part.bundle, in: workspace, isRestart: isRestart))) } catch {
                    let error = KeelError.wrapping(error)
                    throw KeelError(error.code, "\(part.name): \(error.message)", hint: error.hint, path: error.path)
                }
            }
            let loaded = models
            return try await Blocking.run { try LoadedModel(bundle, try PartsRunner(loaded), isRestart: isRestart) }
        }
        if let description = bundle.remote {
            guard let remote else { throw ModelLoader.noRemote }
            let runner = try remote.runner(description, in: workspace)
            return try await Blocking.run { try LoadedModel(bundle, runner, isRestart: isRestart) }
        }
        let bytes = try await mainFile(of: bundle)
        var others: [String: [UInt8]] = [:]
        let folder = bundle.folder
        for file in bundle.files where file.path != bundle.main && file.path.hasPrefix(folder) {
            others[String(file.path.dropFirst(folder.count))] = try await objects.get(file.digest)
        }
        let (files, threads) = (others, threads)
        return try await Blocking.run { try LoadedModel(bundle, try ModelLoader.native(bundle, bytes, files, threads)) }
    }

    private static func native(
        _ bundle: ModelBundle, _ bytes: [UInt8], _ others: [String: [UInt8]], _ threads: Int
    ) throws(KeelError) -> any ModelRunner {
        let announced = bundle.files.first { $0.path == bundle.main }?.bytes
        guard bytes.count == announced else {
            throw KeelError(
                .corrupted, "the model file has \(bytes.count) bytes instead of \(announced ?? 0)", hint: "register and release the model again")
        }
        switch bundle.flavor {
        case .xgboost:
            let trees = try TreeEnsemble(xgboost: bytes, iterations: bundle.answersLabels || bundle.usesBestIteration ? .best : .all)
            return try TreesRunner(trees, bundle.signature, answersLabels: bundle.answersLabels)
        case .lightgbm: return try TreesRunner(try TreeEnsemble(lightgbm: bytes), bundle.signature, answersLabels: bundle.answersLabels)
        case .onnx: return try ONNXRunner(bytes, files: others, bundle.signature, threads: threads)
        case .python, .remote, .parts: throw .invalid("a model of the flavor \(bundle.flavor.rawValue) is not one file")
        }
    }
}
