import Contracts
import Synchronization

/// Which stored files are what their digests say. A file is read through once in a process, and again only when it has changed since.
public final class VerifiedFiles: Sendable {
    private struct Place: Hashable {
        var device: UInt64
        var inode: UInt64
    }
    private struct State: Hashable {
        var bytes: Int64
        var seconds: Int
        var nanoseconds: Int
        var digest: Digest
    }
    private let known = Mutex<[Place: State]>([:])
    /// A file as it is now: what one reading of it tells holds for nobody who sees it otherwise.
    private struct Reading: Hashable {
        var place: Place
        var state: State
    }
    /// The readings under way.
    private let readings = Mutex<[Reading: Task<Void, any Error>]>([:])
    /// Reading is mostly hashing: as many at a time as leave the threads that answer requests their share of the cores.
    private let turns = Turn(width: 8)
    private static let countMax = 1_000_000
    /// How many times a file was read through.
    package let readCount = Atomic(0)

    public init() {}

    /// Reads the file unless it is known, away from Swift's threads. Many who ask for one file at the same time wait for one reading of it.
    /// - Parameters:
    ///   - name: what errors call it.
    ///   - again: whether to read it even when it is known: disks forget, too.
    /// - Throws: `corrupted` when the content is another; `notFound`.
    public func check(_ path: String, is digest: Digest, name: String, again: Bool = false) async throws {
        let reader = try await Blocking.run { try ObjectReader(path: path, name: name) }
        guard again else { return try await check(reader, is: digest) }
        try await turns.run { try await Blocking.run { try self.check(reader, is: digest, again: true) } }
    }

    /// The same for callers that cannot wait for a turn: it reads the file in place unless it is known, and blocks for that long.
    public func checkInPlace(_ path: String, is digest: Digest, name: String) throws {
        try check(try ObjectReader(path: path, name: name), is: digest, again: false)
    }

    /// Reads the file away from Swift's threads unless it is known. Many who open one file at the same time wait for one reading of it.
    func check(_ reader: ObjectReader, is digest: Digest) async throws {
        let (place, state) = try identity(of: reader, digest)
        if isKnown(place, state) { return }
        let key = Reading(place: place, state: state)
        let reading = readings.withLock { readings in
            if let reading = readings[key] { return reading }
            let reading = Task { [self] in
                defer { _ = self.readings.withLock { $0.removeValue(forKey: key) } }
                try await turns.run { try await Blocking.run { try self.check(reader, is: digest, again: false) } }
            }
            readings[key] = reading
            return reading
        }
        try await reading.value
        // It may have changed while it was read.
        try await Blocking.run { try self.check(reader, is: digest, again: false) }
    }

    private func check(_ reader: ObjectReader, is digest: Digest, again: Bool) throws {
        let (place, state) = try identity(of: reader, digest)
        if !again, isKnown(place, state) { return }
        readCount.add(1, ordering: .relaxed)
        guard try reader.digest() == digest else {
            throw KeelError(
                .corrupted, "\(reader.name) is damaged: its bytes are not the ones that were stored", hint: "restore it from a backup")
        }
        known.withLock { known in
            if known.count >= VerifiedFiles.countMax { known.removeAll() }
            known[place] = state
        }
    }

    private func isKnown(_ place: Place, _ state: State) -> Bool { known.withLock { $0[place] } == state }

    private func identity(of reader: ObjectReader, _ digest: Digest) throws -> (Place, State) {
        let status = try reader.status()
        return (
            Place(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)),
            State(bytes: Int64(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec, digest: digest)
        )
    }
}
