import Contracts
import Registry
import Serving
import Tracking

/// What is signed of a registered version, and the signatures that it has.
public struct ModelSigning: Sendable {
    private let registry: RegistryService
    private let tracking: TrackingService
    private let models: ModelLoader

    package init(registry: RegistryService, tracking: TrackingService, models: ModelLoader) {
        self.registry = registry
        self.tracking = tracking
        self.models = models
    }

    /// The files of a version: those that it was bound to when it was first deployed, else those that it has now.
    /// - Throws: `failedPrecondition` for a version whose files are not kept here.
    public func manifest(model name: String, version number: Int, _ grant: Grant) async throws -> ModelManifest {
        let version = try await registry.version(model: name, version: number, grant)
        if let bound = try await registry.bundle(of: version, grant) {
            let bundle = try await ModelBundle.read(bound.subject, from: models.objects)
            if bundle.runsCode { return ModelManifest(bundle.files) }
        }
        let reading = try Grant.check(.system("sign", in: grant.workspace), may: .trackingRead)
        let files = try await tracking.artifactFiles(at: version.storageLocation, reading)
        guard !files.isEmpty else {
            throw KeelError(
                .failedPrecondition, "the files of \(version.uri) are not kept here",
                hint: "they are at \(version.storageLocation): log the model to this server")
        }
        return ModelManifest(files.map { ModelBundle.File(path: $0.path, digest: $0.object.digest, bytes: Int($0.object.bytes)) })
    }

    /// Keeps a signature of a version's files.
    /// - Parameters:
    ///   - key: the public key, as a `ModelPolicy` takes it.
    ///   - signature: of the manifest's text, in base64.
    public func sign(model name: String, version number: Int, key: String, signature: String, _ grant: Grant) async throws -> Evidence {
        guard let key = SignerKey(key) else {
            throw KeelError.invalid("is no public key of Ed25519", hint: "openssl pkey -in key.pem -pubout", path: "key")
        }
        let reading = try Grant.check(grant.caller, may: .registryRead, on: "Model/\(name)")
        let manifest = try await manifest(model: name, version: number, reading)
        return try await registry.sign(model: name, version: number, manifest: manifest.text, key: key.base64, signature: signature, grant)
    }
}
