import Contracts
import Foundation

/// A file that appears under its name whole or not at all: written beside, synced, renamed, the folder synced.
///
/// `@unchecked Sendable`: one writer at a time uses it, each call after the one before has returned.
public final class AtomicFile: @unchecked Sendable {
    private let path: String
    private let temporary: String
    private var descriptor: Int32
    public private(set) var size: Int64 = 0

    /// - Parameter temporaryFolder: on the same file system as `path`.
    public init(path: String, temporaryFolder: String) throws {
        self.path = path
        temporary = temporaryFolder + "/" + Identifier.hex32()
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw AtomicFile.failure("create a file in \(temporaryFolder)") }
    }

    deinit { discard() }

    public func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try AtomicFile.writeAll(descriptor, $0) }
        size += Int64(bytes.count)
    }

    /// Syncs and renames; after it the file is durable under its name.
    public func commit() throws {
        guard fsync(descriptor) == 0 else { throw AtomicFile.failure("sync \(path)") }
        close(descriptor)
        descriptor = -1
        let folder = (path as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        guard rename(temporary, path) == 0 else { throw AtomicFile.failure("rename to \(path)") }
        let directory = open(folder, O_RDONLY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    /// Forgets the file; nothing of it stays.
    public func discard() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
        unlink(temporary)
    }

    static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws {
        var offset = 0
        while offset < bytes.count, let base = bytes.baseAddress {
            let written = Foundation.write(descriptor, base + offset, bytes.count - offset)
            if written < 0 {
                if errno == EINTR { continue }
                throw failure("write")
            }
            offset += written
        }
    }

    static func failure(_ what: String) -> KeelError {
        let reason = String(cString: strerror(errno))
        if errno == ENOSPC || errno == EDQUOT {
            return KeelError(.unavailable, "the disk is full: could not \(what)", hint: "free space on the disk that holds the home folder")
        }
        return KeelError(.internal, "could not \(what): \(reason)")
    }
}
