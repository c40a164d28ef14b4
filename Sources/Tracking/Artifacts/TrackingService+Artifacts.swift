import Contracts
import Storage

/// A file or folder among artifacts.
public struct Artifact: Sendable, Hashable {
    /// Relative to what was listed from.
    public let path: String
    public let bytes: Int64
    public let isFolder: Bool

    package init(path: String, bytes: Int64, isFolder: Bool) { (self.path, self.bytes, self.isFolder) = (path, bytes, isFolder) }
}

/// An artifact's content, ready to be read.
public struct ArtifactContent: Sendable {
    /// The last part of its path.
    public let name: String
    public let digest: Digest
    public let reader: ObjectReader
    public var bytes: Int64 { reader.bytes }
}

/// An artifact is a path that refers to content by its digest; the path is what follows `mlflow-artifacts:/` in a URI. Both ways stream. Content is
/// stored first, durably; then one transaction makes the path refer to it, so an upload that is cut off at any point is not there at all.
extension TrackingService {
    /// The path behind an artifact URI that Keel itself keeps; nil for one that lies elsewhere.
    public static func artifactPath(of uri: String) -> String? {
        // An experiment's location may have a query, which is no part of the path.
        guard let rest = uri.wholeSuffix(after: "mlflow-artifacts:/")?.prefix(while: { $0 != "?" }) else { return nil }
        // `mlflow-artifacts://host/path` names the server too.
        if rest.hasPrefix("/") {
            let parts = rest.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count == 2 ? String(parts[1]) : nil
        }
        return String(rest)
    }

    /// The path of an artifact below a URI.
    /// - Throws: `failedPrecondition` when the URI is not kept here; `invalidArgument` for a path that would leave it.
    public static func artifactPath(of uri: String, below path: String?) throws(KeelError) -> String {
        guard let root = artifactPath(of: uri) else {
            throw KeelError(
                .failedPrecondition, "the artifacts are kept at \(uri), which this server does not reach",
                hint: "use a client that reaches that place")
        }
        let below = try ArtifactPath(path ?? "")
        return below.text.isEmpty ? root : "\(root)/\(below)"
    }

    /// Where a run's artifacts lie.
    public func artifactURI(runID: String, _ grant: Grant) async throws -> String {
        try grant.require(.trackingRead, .trackingWrite)
        return try await database.read(in: grant.workspace) { try RunStore.find($0, id: runID) }.artifactURI
    }

    /// Where a logged model's artifacts lie.
    public func artifactURI(loggedModelID: String, _ grant: Grant) async throws -> String {
        try grant.require(.trackingRead, .trackingWrite)
        return try await database.read(in: grant.workspace) { try LoggedModelStore.find($0, id: loggedModelID) }.artifactURI
    }

    // MARK: Lists

    /// What lies directly below `path` of a run's artifacts, with paths relative to the run's artifact root.
    public func listArtifacts(runID: String, path: String? = nil, _ grant: Grant) async throws -> (rootURI: String, files: [Artifact]) {
        let uri = try await artifactURI(runID: runID, grant)
        return (uri, try await list(uri: uri, path: path, grant))
    }

    /// The same for a logged model.
    public func listArtifacts(loggedModelID: String, path: String? = nil, _ grant: Grant) async throws -> (
        rootURI: String, files: [Artifact]
    ) {
        let uri = try await artifactURI(loggedModelID: loggedModelID, grant)
        return (uri, try await list(uri: uri, path: path, grant))
    }

    private func list(uri: String, path: String?, _ grant: Grant) async throws -> [Artifact] {
        let below = try ArtifactPath(path ?? "")
        let folder = try ArtifactPath(TrackingService.artifactPath(of: uri, below: path), in: grant.workspace)
        return try await list(folder, as: below.text.isEmpty ? "" : below.text + "/", grant)
    }

    /// What lies directly below an artifact path, with paths relative to it.
    public func listArtifacts(path: String, _ grant: Grant) async throws -> [Artifact] {
        try grant.require(.trackingRead)
        return try await list(try ArtifactPath(path, in: grant.workspace), as: "", grant)
    }

    private func list(_ folder: ArtifactPath, as prefix: String, _ grant: Grant) async throws -> [Artifact] {
        try await database.read(in: grant.workspace) { db in
            // At the root lie those of other workspaces too.
            try ArtifactStore.list(db, folder).filter { !folder.text.isEmpty || $0.name != ArtifactPath.workspaces }.map {
                Artifact(path: prefix + $0.name, bytes: $0.object?.bytes ?? 0, isFolder: $0.object == nil)
            }
        }
    }

    /// All files at and below a location, by their paths in it; empty when it is not kept here.
    public func artifactFiles(at location: String, _ grant: Grant) async throws -> [(path: String, object: StoredObject)] {
        try grant.require(.trackingRead)
        guard let folder = TrackingService.artifactPath(of: location) else { return [] }
        let root = try ArtifactPath(folder, in: grant.workspace)
        return try await database.read(in: grant.workspace) { db in
            try ArtifactStore.files(db, below: root).map { (String($0.path.text.dropFirst(root.text.utf8.count + 1)), $0.object) }
        }
    }

    // MARK: Content

    /// Stores an artifact from parts as they arrive.
    /// - Parameter declaredBytes: how much is announced; another amount is refused.
    /// - Throws: `payloadTooLarge`, `unavailable` when the disk is full, `invalidArgument` for a bad path or amount; nothing is kept then.
    @discardableResult
    public func putArtifact<Part: Collection<UInt8> & Sendable>(
        path: String, declaredBytes: Int64? = nil, parts: some AsyncSequence<Part, any Error> & Sendable, _ grant: Grant
    ) async throws -> StoredObject {
        try grant.require(.trackingWrite)
        let path = try ArtifactPath(file: path, in: grant.workspace)
        let size = try ContentSize(declared: declaredBytes, max: artifactBytesMax)
        // Asked again when it is set: here it spares the upload.
        try await database.read(in: grant.workspace) { try ArtifactStore.check($0, path) }
        let object = try await objects.put(parts: parts, size: size)
        defer { objects.settle(object.digest) }
        try await refer(path, to: object, grant)
        return object
    }

    /// Makes a path refer to content that is in the store.
    public func referArtifact(path: String, to object: StoredObject, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await refer(try ArtifactPath(file: path, in: grant.workspace), to: object, grant)
    }

    private func refer(_ path: ArtifactPath, to object: StoredObject, _ grant: Grant) async throws {
        try await database.write(in: grant.workspace) { tx in
            try replace(tx, path, with: object)
            try tx.record(
                "artifact.stored", on: "Artifact/\(path)", ["digest": .string(object.digest.hex), "bytes": .int(object.bytes)], by: grant)
        }
    }

    /// Files of what is pinned are not replaced by others.
    func replace(_ tx: Transaction, _ path: ArtifactPath, with object: StoredObject) throws {
        if let old = try ArtifactStore.find(tx, path), old.digest != object.digest {
            try PurgeStore.checkUnpinned(tx, path, artifactUsage)
        }
        try ArtifactStore.set(tx, path, object)
    }

    /// Makes paths of the transaction's workspace refer to the content that lies under a URI of another one.
    /// - Parameter offer: names the folder; it goes with the last model version that needs it, at the next collection.
    /// - Returns: the URI of the copy; nil for a place that is not kept here. Whoever calls has the other workspace's consent.
    public static func copyArtifacts(_ tx: Transaction, at uri: String, of source: WorkspaceID, offer: String) throws -> String? {
        guard let root = ArtifactPath(behind: uri, in: source), !root.isRoot else { return nil }
        let target = try ArtifactPath("\(ArtifactPath.offers)/\(offer)", in: tx.requiredWorkspace)
        // Whatever somebody put there before is not among what is copied.
        _ = try ArtifactStore.remove(tx, target)
        for (path, object) in try ArtifactStore.files(tx, below: root) {
            try ArtifactStore.set(tx, try ArtifactPath("\(target)\(path.text.dropFirst(root.text.count))"), object)
        }
        return "mlflow-artifacts:/\(target)"
    }

    /// An artifact's content, to be read in any order.
    /// - Throws: `notFound` when there is none, `invalidArgument` for a folder.
    public func openArtifact(path: String, _ grant: Grant) async throws -> ArtifactContent {
        try grant.require(.trackingRead)
        let path = try ArtifactPath(path, in: grant.workspace)
        let object = try await database.read(in: grant.workspace) { try ArtifactStore.file($0, path) }
        return ArtifactContent(name: path.name, digest: object.digest, reader: try await objects.open(object.digest))
    }

    /// Removes an artifact, or all below a folder; its content goes with the next collection, unless another path refers to it.
    public func deleteArtifact(path: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        let path = try ArtifactPath(path, in: grant.workspace)
        guard !path.text.isEmpty else { throw KeelError.invalid("Invalid path", hint: "name what is to be removed") }
        try await database.write(in: grant.workspace) { [artifactUsage] tx in
            try PurgeStore.checkUnpinned(tx, path, artifactUsage)
            let removed = try ArtifactStore.remove(tx, path)
            try tx.record(
                "artifact.deleted", on: "Artifact/\(path)", ["files": .int(Int64(removed.objects)), "bytes": .int(removed.bytes)], by: grant
            )
        }
    }
}

extension String {
    fileprivate func wholeSuffix(after prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count) : nil }
}
