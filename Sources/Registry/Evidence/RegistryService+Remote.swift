import Contracts
import Storage

/// A model that another server runs, to be registered as a version.
public struct RemoteRegistration: Sendable {
    public let model: String
    /// Its address there.
    public let source: String
    /// Of the declaration: the same one is registered once.
    public let declaration: Digest
    public let bundle: Digest
    /// What is known of it besides, for the evidence.
    public let data: JSON

    public init(model: String, source: String, declaration: Digest, bundle: Digest, data: JSON) {
        self.model = model
        self.source = source
        self.declaration = declaration
        self.bundle = bundle
        self.data = data
    }
}

extension RegistryService {
    /// The newest version of a model that was registered with this declaration; nil when there is none.
    public func version(of model: String, declared declaration: Digest, _ grant: Grant) async throws -> ModelVersion? {
        try grant.require(.registryWrite, on: RegistryService.thing(model, grant))
        return try await database.read(in: grant.workspace) { try RegistryService.version($0, of: model, declared: declaration) }
    }

    /// Registers a model of another server as a version, bound to its bundle, in one transaction. A declaration that is registered already gives the version
    /// that it has. No gate judged it, and the evidence says so.
    public func register(_ request: RemoteRegistration, _ grant: Grant) async throws -> ModelVersion {
        try grant.require(.registryWrite, on: RegistryService.thing(request.model, grant))
        try RegistryRules.check(modelName: request.model)
        var data = request.data
        data["declaration"] = .string(request.declaration.hex)
        let evidence = data
        return try await database.write(in: grant.workspace) { tx in
            if let known = try RegistryService.version(tx, of: request.model, declared: request.declaration) { return known }
            try ensureModel(tx, request.model, grant)
            let origin = ModelSource(source: request.source, location: request.source, runID: nil, modelID: nil)
            let version = try insertVersion(tx, request.model, origin, grant)
            try EvidenceStore.insert(
                tx, .bundle, of: request.bundle, version: VersionKey(request.model, version.version), verdict: Evidence.ungated, data: evidence, grant)
            return try RegistryStore.version(tx, request.model, version.version)
        }
    }

    private static func version(_ db: some Querying, of model: String, declared declaration: Digest) throws -> ModelVersion? {
        for number in try EvidenceStore.boundVersions(db, of: model) {
            let bundle = try EvidenceStore.bundle(db, of: VersionKey(model, number))
            guard bundle?.data["declaration"]?.string == declaration.hex else { continue }
            do { return try RegistryStore.version(db, model, number) } catch let error as KeelError where error.code == .notFound { continue }
        }
        return nil
    }
}
