import Contracts
import Storage

/// A file or folder among artifacts.
public struct Artifact: Sendable, Hashable {
    /// Relative to what was listed from.
    public let path: String
    public let bytes: Int64
    public let isFolder: Bool
}

/// Artifacts are objects under `artifacts/{path}`, where `path` is what follows `mlflow-artifacts:/` in a URI. They stream both ways;
/// an upload appears under its name only when all of it has arrived.
extension TrackingService {
    /// The path behind an artifact URI that Keel itself keeps; nil for one that lies elsewhere.
    public static func artifactPath(of uri: String) -> String? {
        guard let rest = uri.wholeSuffix(after: "mlflow-artifacts:/") else { return nil }
        // `mlflow-artifacts://host/path` names the server too.
        if rest.hasPrefix("/") {
            let parts = rest.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count == 2 ? String(parts[1]) : nil
        }
        return String(rest)
    }

    /// What lies directly below `path` of a run's artifacts, with paths relative to the run's artifact root.
    public func listArtifacts(runID: String, path: String? = nil, _ grant: Grant) async throws -> (rootURI: String, files: [Artifact]) {
        try grant.require(.trackingRead)
        let run = try await database.read { try RunStore.find($0, id: runID) }
        return (run.artifactURI, try await list(uri: run.artifactURI, path: path))
    }

    /// The same for a logged model.
    public func listArtifacts(loggedModelID: String, path: String? = nil, _ grant: Grant) async throws -> (
        rootURI: String, files: [Artifact]
    ) {
        try grant.require(.trackingRead)
        let model = try await database.read { try LoggedModelStore.find($0, id: loggedModelID) }
        return (model.artifactURI, try await list(uri: model.artifactURI, path: path))
    }

    private func list(uri: String, path: String?) async throws -> [Artifact] {
        guard let root = TrackingService.artifactPath(of: uri) else {
            throw KeelError(
                .failedPrecondition, "the artifacts are kept at \(uri), which this server does not list",
                hint: "list them with a client that reaches that place")
        }
        let prefix = path.flatMap { $0.isEmpty ? nil : $0 }
        let folder = try TrackingService.key(prefix.map { "\(root)/\($0)" } ?? root)
        return try await objects.list(folder: folder).map { info in
            let name = String(info.key.dropFirst(folder.count + 1))
            return Artifact(path: prefix.map { "\($0)/\(name)" } ?? name, bytes: info.bytes, isFolder: info.isFolder)
        }
    }

    /// What lies directly below an artifact path, with paths relative to it.
    public func listArtifacts(path: String, _ grant: Grant) async throws -> [Artifact] {
        try grant.require(.trackingRead)
        let folder = path.isEmpty ? "artifacts" : try TrackingService.key(path)
        return try await objects.list(folder: folder).map {
            Artifact(path: String($0.key.dropFirst(folder.count + 1)), bytes: $0.bytes, isFolder: $0.isFolder)
        }
    }

    /// Stores an artifact from parts as they arrive.
    /// - Returns: its size in bytes.
    @discardableResult
    public func putArtifact(path: String, parts: some AsyncSequence<[UInt8], any Error> & Sendable, _ grant: Grant) async throws -> Int64 {
        try grant.require(.trackingWrite)
        return try await objects.put(key: try TrackingService.key(path), parts: parts).bytes
    }

    /// The size of an artifact.
    /// - Throws: `notFound` when there is none, or it is a folder.
    public func artifactSize(path: String, _ grant: Grant) async throws -> Int64 {
        try grant.require(.trackingRead)
        guard let info = try await objects.info(key: try TrackingService.key(path)), !info.isFolder else {
            throw KeelError.notFound("No such artifact: '\(path)'")
        }
        return info.bytes
    }

    /// Calls `body` with consecutive parts of at most 256 KiB.
    public func readArtifact(path: String, _ grant: Grant, _ body: (_ part: [UInt8]) async throws -> Void) async throws {
        try grant.require(.trackingRead)
        try await objects.read(key: try TrackingService.key(path), body)
    }

    /// Removes an artifact, or all below a folder.
    public func deleteArtifact(path: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await objects.remove(key: try TrackingService.key(path))
        _ = try await database.write { tx in try tx.record("artifact.deleted", on: "Artifact/\(path)", by: grant) }
    }

    private static func key(_ path: String) throws(KeelError) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) && !$0.utf8.contains(UInt8(ascii: "\\")) })
        else {
            throw .invalid("Invalid path: '\(path.prefix(300))'", hint: "an artifact path is relative, without '.', '..' or empty parts")
        }
        return "artifacts/" + path
    }
}

extension String {
    fileprivate func wholeSuffix(after prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count) : nil }
}
