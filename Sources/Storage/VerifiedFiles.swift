import Contracts
import Synchronization

/// Which stored files are what their digests say. A file is read through once in a process, and again only when it has changed since.
public final class VerifiedFiles: Sendable {
    private struct Place: Hashable {
        var device: UInt64
        var inode: UInt64
    }
    private struct State: Equatable {
        var bytes: Int64
        var seconds: Int
        var nanoseconds: Int
        var digest: Digest
    }
    private let known = Mutex<[Place: State]>([:])
    private static let countMax = 1_000_000

    public init() {}

    /// Reads the file unless it is known; blocks for that long, so call it inside `Blocking.run`.
    /// - Parameter name: what errors call it.
    /// - Throws: `corrupted` when the content is another; `notFound`.
    public func check(_ path: String, is digest: Digest, name: String) throws {
        try check(try ObjectReader(path: path, name: name), is: digest)
    }

    func check(_ reader: ObjectReader, is digest: Digest) throws {
        let status = try reader.status()
        let place = Place(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        let state = State(
            bytes: Int64(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec, digest: digest)
        if known.withLock({ $0[place] }) == state { return }
        guard try reader.digest() == digest else {
            throw KeelError(
                .corrupted, "\(reader.name) is damaged: its bytes are not the ones that were stored", hint: "restore it from a backup")
        }
        known.withLock { known in
            if known.count >= VerifiedFiles.countMax { known.removeAll() }
            known[place] = state
        }
    }
}
