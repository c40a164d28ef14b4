import Contracts
import Foundation

/// Objects in a folder: `content/ab/abcd…`, `uploads/{upload}/{number}-{digest}`, and `tmp/` for what is still being written.
/// Files are written to a temporary name, synced, then renamed.
public struct FolderObjectStore: ObjectStore {
    public let root: String
    let holds = Holds()
    package let verified = VerifiedFiles()
    private let report: @Sendable (KeelError) -> Void

    /// - Parameter report: told of content that is not what was stored.
    public init(root: String, report: @escaping @Sendable (KeelError) -> Void = { _ in }) throws {
        self.root = root
        self.report = report
        for folder in ["/tmp", "/content", "/uploads"] {
            try Folder.make(root + folder)
        }
        // What a crash left half-written has no name that anyone knows.
        for name in try Folder.names(root + "/tmp") {
            try? FileManager.default.removeItem(atPath: root + "/tmp/" + name)
        }
    }

    /// Where content lies, for engines that open files.
    public func path(of digest: Digest) -> String { "\(root)/content/\(digest.hex.prefix(2))/\(digest.hex)" }

    public func put(_ bytes: [UInt8]) async throws -> Digest {
        try await Blocking.run {
            let intake = try Intake(folder: root + "/tmp")
            try intake.take([bytes])
            return try keep(intake).digest
        }
    }

    public func put<Part: Collection<UInt8> & Sendable>(
        parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws -> StoredObject {
        let intake = try await receive(parts, size: size)
        return try await Blocking.run { try keep(intake) }
    }

    public func get(_ digest: Digest) async throws -> [UInt8] {
        try await Blocking.run {
            let bytes = try contents(of: digest)
            guard Digest(of: bytes) == digest else {
                let error = KeelError(
                    .corrupted, "object \(digest) is not what was stored", hint: "put it back from a backup, or store it again")
                report(error)
                throw error
            }
            return bytes
        }
    }

    public func open(_ digest: Digest) async throws -> ObjectReader {
        do {
            let reader = try await Blocking.run { try ObjectReader(path: path(of: digest), name: "object \(digest)") }
            try await verified.check(reader, is: digest)
            return reader
        } catch { throw reported(error) }
    }

    /// The bytes of an object as its file's size says, without reading them; nil when there is no such object.
    public func size(of digest: Digest) -> Int64? {
        var status = stat()
        return lstat(path(of: digest), &status) == 0 ? Int64(status.st_size) : nil
    }

    private func contents(of digest: Digest) throws -> [UInt8] {
        do { return try StoredFile.contents(path(of: digest), name: "object \(digest)") } catch { throw reported(error) }
    }

    /// The error; damage is reported first.
    private func reported(_ error: any Error) -> KeelError {
        let problem = KeelError.wrapping(error)
        if problem.code == .corrupted { report(problem) }
        return problem
    }

    public func settle(_ digest: Digest) { holds.settle(digest) }

    /// Takes all parts into a temporary file; the memory in use is that of one batch.
    func receive<Part: Collection<UInt8> & Sendable>(
        _ parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws -> Intake {
        let intake = try Intake(folder: root + "/tmp")
        do {
            try await fill(intake, with: parts, size: size)
            return intake
        } catch {
            // Not when the last who holds it lets go, which may be a thread that has yet to notice that its work is done.
            intake.file.discard()
            throw error
        }
    }

    private func fill<Part: Collection<UInt8> & Sendable>(
        _ intake: Intake, with parts: some AsyncSequence<Part, any Error> & Sendable, size: ContentSize
    ) async throws {
        var (batch, batchBytes, total): ([Part], Int, Int64) = ([], 0, 0)
        for try await part in parts {
            batch.append(part)
            batchBytes += part.count
            total += Int64(part.count)
            try size.check(atMost: total)
            if batchBytes >= Intake.batchBytes || batch.count >= Intake.batchPartsMax {
                let full = batch
                (batch, batchBytes) = ([], 0)
                try await Blocking.run { try intake.take(full) }
            }
        }
        // A server that stops ends the sequence early.
        try Task.checkCancellation()
        try size.check(whole: total)
        let rest = batch
        try await Blocking.run { try intake.take(rest) }
    }

    /// Gives what was taken its name, unless the same content is there already.
    func keep(_ intake: Intake) throws -> StoredObject {
        let object = intake.finish()
        // Held before it is looked for: from here on a collection does not remove it.
        holds.hold(object.digest)
        do {
            let path = path(of: object.digest)
            // What is there and damaged makes way for what just arrived.
            if (try? verified.checkInPlace(path, is: object.digest, name: "object \(object.digest)")) != nil {
                intake.file.discard()
                // Whoever stored it first may still be about to sync the folder that names it.
                try Folder.sync(Folder.parent(of: path))
            } else {
                try clearWay(to: path)
                try intake.file.commit(as: path)
            }
            return object
        } catch {
            holds.settle(object.digest)
            throw error
        }
    }
}

extension FolderObjectStore {
    /// Moves what is no file under an object's name, and what is no folder under its folder's, to the folder `damaged`.
    private func clearWay(to path: String) throws {
        let folder = Folder.parent(of: path)
        for (place, isFolder) in [(folder, true), (path, false)] {
            var status = stat()
            guard lstat(place, &status) == 0, isFolder ? !Folder.exists(place) : status.st_mode & S_IFMT != S_IFREG else { continue }
            let aside = try StoredFile.setAside(place, into: root + "/damaged")
            report(
                KeelError(
                    .corrupted, "\(place) was \(StoredFile.kind(status.st_mode)): it was moved to objects/damaged/\(aside)",
                    hint: "put objects that are missing back from a backup"))
        }
    }
}

/// A new file and the digest of what is in it.
///
/// `@unchecked Sendable`: one writer at a time uses it, each call after the one before has returned.
final class Intake: @unchecked Sendable {
    /// Bytes, and parts, that are gathered before they are digested and written in one go.
    static let batchBytes = 1 << 20
    static let batchPartsMax = 64
    /// Bytes after which the disk is told to begin writing, so that the sync at the end has little left to wait for.
    private static let flushBytes: Int64 = 16 << 20

    let file: AtomicFile
    private var hasher = Digest.Hasher()
    private var flushed: Int64 = 0

    init(folder: String) throws { file = try AtomicFile(temporaryFolder: folder) }

    func take(_ parts: [some Collection<UInt8>]) throws {
        for part in parts {
            let done: Void? = try part.withContiguousStorageIfAvailable { try take(UnsafeRawBufferPointer($0)) }
            if done == nil { try Array(part).withUnsafeBytes { try take($0) } }
        }
    }

    func take(_ bytes: UnsafeRawBufferPointer) throws {
        hasher.update(bytes)
        try file.write(bytes)
        if file.size - flushed >= Intake.flushBytes {
            file.startFlush(from: flushed)
            flushed = file.size
        }
    }

    func finish() -> StoredObject { StoredObject(digest: hasher.finish(), bytes: file.size) }
}
