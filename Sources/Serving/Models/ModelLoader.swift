import Contracts
import Storage

/// Stores models, and makes stored ones ready to answer.
public struct ModelLoader: Sendable {
    public let objects: any ObjectStore

    public init(objects: any ObjectStore) { self.objects = objects }

    /// Reads a bundle's files and loads the model off the cooperative threads.
    public func load(_ digest: Digest) async throws -> LoadedModel {
        try await load(try await ModelBundle.read(digest, from: objects))
    }

    /// The file that holds the model itself.
    public func mainFile(of bundle: ModelBundle) async throws -> [UInt8] {
        guard let main = bundle.files.first(where: { $0.path == bundle.main }) else {
            throw KeelError(.corrupted, "the bundle names no file '\(bundle.main)'")
        }
        return try await objects.get(main.digest)
    }

    func load(_ bundle: ModelBundle) async throws -> LoadedModel {
        let bytes = try await mainFile(of: bundle)
        return try await Blocking.run { try LoadedModel.native(bundle, model: bytes) }
    }

    /// Stores a model of one file with its manifest; returns the manifest's digest, by which a release names the bundle.
    ///
    /// The model is loaded and tried first: one that cannot predict is refused and nothing is stored.
    public func store(_ bundle: ModelBundle, model bytes: [UInt8]) async throws -> Digest {
        _ = try await Blocking.run { try LoadedModel.native(bundle, model: bytes) }
        _ = try await objects.put(bytes)
        return try await objects.put(bundle.json.canonical)
    }
}
