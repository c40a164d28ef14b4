import Foundation
import Synchronization

/// A file that appears under its name whole or not at all: written beside, synced, renamed, the folder synced.
///
/// One writer at a time uses it. Calls from several threads come one after another, in no certain order.
public final class AtomicFile: Sendable {
    private struct State {
        /// −1 once the file is committed or discarded.
        var descriptor: Int32
        var size: Int64 = 0
    }

    private let path: String
    /// Where the bytes lie until they are committed. An engine may write there itself, into this very file.
    public let temporary: String
    private let state: Mutex<State>
    /// How the names of files end that were never committed: nothing can refer to them.
    public static let temporarySuffix = ".tmp"

    /// - Parameters:
    ///   - path: its name; empty when that is known only at the end.
    ///   - temporaryFolder: on the same file system as `path`.
    public init(path: String = "", temporaryFolder: String) throws(KeelError) {
        self.path = path
        temporary = temporaryFolder + "/" + Identifier.hex32() + AtomicFile.temporarySuffix
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw AtomicFile.failure("create a file in \(temporaryFolder)") }
        state = Mutex(State(descriptor: descriptor))
    }

    deinit { discard() }

    /// Bytes written so far.
    public var size: Int64 { state.withLock { $0.size } }

    public func write(_ bytes: [UInt8]) throws(KeelError) {
        do { try bytes.withUnsafeBytes { try write($0) } } catch { throw KeelError.wrapping(error) }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(KeelError) {
        try state.withLock { (state) throws(KeelError) in
            try AtomicFile.writeAll(state.descriptor, bytes)
            state.size += Int64(bytes.count)
        }
    }

    /// Lets the disk begin with what was written from an offset on, without waiting for it. (Linux starts writing dirty pages when it is told that
    /// they are not needed; they stay cached.)
    package func startFlush(from offset: Int64) {
        state.withLock { state in _ = posix_fadvise(state.descriptor, off_t(offset), off_t(state.size - offset), POSIX_FADV_DONTNEED) }
    }

    /// Syncs and renames; after it the file is durable under its name.
    public func commit() throws(KeelError) { try commit(as: path) }

    public func commit(as path: String) throws(KeelError) {
        try state.withLock { (state) throws(KeelError) in
            guard fsync(state.descriptor) == 0 else { throw AtomicFile.failure("sync \(path)") }
            close(state.descriptor)
            state.descriptor = -1
            let folder = Folder.parent(of: path)
            do throws(KeelError) {
                try Folder.make(folder)
                guard rename(temporary, path) == 0 else { throw AtomicFile.failure("rename to \(path)") }
            } catch {
                unlink(temporary)
                throw error
            }
            try Folder.sync(folder)
        }
    }

    /// Forgets the file; nothing of it stays.
    public func discard() {
        state.withLock { state in
            guard state.descriptor >= 0 else { return }
            close(state.descriptor)
            state.descriptor = -1
            unlink(temporary)
        }
    }

    package static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(KeelError) {
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

    package static func failure(_ what: String) -> KeelError {
        let (number, reason) = (errno, String(cString: strerror(errno)))
        // A file that may not grow any more (EFBIG) is a full disk to whoever writes it.
        if number == ENOSPC || number == EDQUOT || number == EFBIG {
            return KeelError(.unavailable, "the disk is full: could not \(what)", hint: "free space on the disk that holds the home folder")
        }
        return KeelError(.internal, "could not \(what): \(reason)")
    }
}
