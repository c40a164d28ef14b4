import Contracts
import Foundation

/// Where bytes live: content under its digest, and artifacts under keys. A folder now; S3 by configuration.
public protocol ObjectStore: Sendable {
    /// Stores bytes under their digest; the same bytes are stored once.
    func put(_ bytes: [UInt8]) async throws -> Digest
    func get(_ digest: Digest) async throws -> [UInt8]
    /// Stores under a key such as `artifacts/1/abc/model.bin`, replacing what is there only when all parts have arrived.
    func put(key: String, parts: some AsyncSequence<[UInt8], any Error> & Sendable) async throws -> ObjectInfo
    /// Calls `body` with consecutive parts of at most 256 KiB.
    func read(key: String, _ body: (_ part: [UInt8]) async throws -> Void) async throws
    func info(key: String) async throws -> ObjectInfo?
    /// The objects and folders directly below a folder key, in order of their names.
    func list(folder: String) async throws -> [ObjectInfo]
    /// Removes an object, or everything below a folder. Removing what is not there is no error.
    func remove(key: String) async throws
    /// A path that engines can open for reading, for stores that have one.
    func localPath(key: String) throws -> String
}

public struct ObjectInfo: Sendable, Hashable {
    public let key: String
    public let bytes: Int64
    public let isFolder: Bool
    public init(key: String, bytes: Int64, isFolder: Bool) { (self.key, self.bytes, self.isFolder) = (key, bytes, isFolder) }
}

/// Objects in a folder. Files are written to a temporary name, synced, then renamed.
public struct FolderObjectStore: ObjectStore {
    public let root: String

    public init(root: String) throws {
        self.root = root
        try FileManager.default.createDirectory(atPath: root + "/tmp", withIntermediateDirectories: true)
        // What a crash left half-written has no name that anyone knows.
        for name in try FileManager.default.contentsOfDirectory(atPath: root + "/tmp") { try? FileManager.default.removeItem(atPath: root + "/tmp/" + name) }
    }

    public func put(_ bytes: [UInt8]) async throws -> Digest {
        try await Blocking.run {
            let digest = Digest(of: bytes)
            let path = root + "/" + FolderObjectStore.key(digest)
            if !FileManager.default.fileExists(atPath: path) {
                let file = try AtomicFile(path: path, temporaryFolder: root + "/tmp")
                try file.write(bytes)
                try file.commit()
            }
            return digest
        }
    }

    public func get(_ digest: Digest) async throws -> [UInt8] {
        try await Blocking.run {
            guard let data = FileManager.default.contents(atPath: root + "/" + FolderObjectStore.key(digest)) else {
                throw KeelError.notFound("there is no object \(digest)")
            }
            let bytes = Array(data)
            guard Digest(of: bytes) == digest else { throw KeelError(.corrupted, "object \(digest) is not what was stored") }
            return bytes
        }
    }

    public func put(key: String, parts: some AsyncSequence<[UInt8], any Error> & Sendable) async throws -> ObjectInfo {
        let path = try path(key)
        let file = try AtomicFile(path: path, temporaryFolder: root + "/tmp")
        do {
            for try await part in parts { try await Blocking.run { try file.write(part) } }
            return try await Blocking.run {
                try file.commit()
                return ObjectInfo(key: key, bytes: file.size, isFolder: false)
            }
        } catch {
            file.discard()
            throw error
        }
    }

    public func read(key: String, _ body: (_ part: [UInt8]) async throws -> Void) async throws {
        let path = try path(key)
        guard try await info(key: key)?.isFolder == false, let handle = FileHandle(forReadingAtPath: path) else {
            throw KeelError.notFound("there is no object '\(key)'")
        }
        defer { try? handle.close() }
        while let data = try handle.read(upToCount: 262_144), !data.isEmpty { try await body(Array(data)) }
    }

    public func info(key: String) async throws -> ObjectInfo? {
        var isFolder: ObjCBool = false
        let path = try path(key)
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
        let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64 ?? 0
        return ObjectInfo(key: key, bytes: isFolder.boolValue ? 0 : size, isFolder: isFolder.boolValue)
    }

    public func list(folder: String) async throws -> [ObjectInfo] {
        let path = try path(folder)
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else { return [] }
        var out: [ObjectInfo] = []
        for name in names.sorted() { if let info = try await info(key: folder + "/" + name) { out.append(info) } }
        return out
    }

    public func remove(key: String) async throws {
        let path = try path(key)
        if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
    }

    public func localPath(key: String) throws -> String { try path(key) }

    /// The key of content.
    public static func key(_ digest: Digest) -> String { "content/\(digest.hex.prefix(2))/\(digest.hex)" }

    /// A key from outside must not leave the folder.
    private func path(_ key: String) throws -> String {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) && $0.utf8.count <= 255 }), key.utf8.count <= 2048,
            parts[0] != "tmp"
        else { throw KeelError.invalid("'\(key.prefix(200))' is not a valid object key", hint: "a key is a relative path without '.', '..' or empty parts") }
        return root + "/" + key
    }
}
