import Contracts
import Foundation

/// What a restore brought back.
public struct RestoreReport: Sendable, Hashable {
    public var files = 0
    public var bytes: Int64 = 0
    public var ledgerEvents: Int64 = 0
    /// Files that the database refers to and that were gone when the backup was made.
    public var missing: [String] = []
}

/// Brings an archive of `HomeBackup` back into an empty home folder, and checks it: every file against its digest, the database and the ledger whole.
public struct HomeRestore: Sendable {
    private let archive: String
    private let home: String
    private let references: StoredReferences.Finder

    /// - Parameter references: what the database refers to: each of these files must be in the archive.
    public init(archive: String, home: String, references: @escaping StoredReferences.Finder = { _, _ in StoredReferences() }) {
        self.archive = archive
        self.home = home
        self.references = references
    }

    /// - Throws: `failedPrecondition` when the home holds anything, `corrupted` when the archive is not whole; then the folder is left empty.
    public func run() async throws -> RestoreReport {
        let home = try Home(home, user: "keel restore")
        guard home.isNew else {
            throw KeelError(
                .failedPrecondition, "'\(home.path)' is not empty", hint: "restore into a new folder, then serve it with --home")
        }
        do {
            var report = try await Blocking.run { [self] in try unpack() }
            report.ledgerEvents = try await check(known: Set(report.missing))
            return report
        } catch {
            for name in try FileManager.default.contentsOfDirectory(atPath: home.path) {
                try? FileManager.default.removeItem(atPath: "\(home.path)/\(name)")
            }
            throw error
        }
    }

    /// - Parameter known: files that the backup says were gone when it was made.
    private func check(known: Set<String>) async throws -> Int64 {
        let database = try Database(path: "\(home)/\(HomeBackup.databaseName)")
        try await database.check()
        let ledger = try await database.read { try $0.verifyLedger() }
        if let broken = ledger.broken {
            throw KeelError(.corrupted, "the ledger of the backup is broken at event \(broken.seq): \(broken.problem)")
        }
        let missing = try await references(database, home).files.filter { !known.contains($0) && !HomeBackup.isFile("\(home)/\($0)") }
            .sorted()
        try await database.close()
        if let first = missing.first {
            throw KeelError(
                .corrupted, "the backup lacks \(missing.count) files that its database refers to, the first is '\(first)'",
                hint: "use another backup; 'tar -xf' still unpacks what is in this one")
        }
        return ledger.events
    }

    private func unpack() throws -> RestoreReport {
        let reader = try ArchiveReader(archive)
        var digests: [String: Digest] = [:]
        var report = RestoreReport()
        while let entry = try Tar.entry(try reader.take(Tar.block)) {
            if entry.path == HomeBackup.manifestName {
                report.missing = try HomeRestore.compare(try reader.take(Int(entry.bytes)), digests)
                return report
            }
            digests[entry.path] = try unpack(entry, reader)
            report.files += 1
            report.bytes += entry.bytes
        }
        throw HomeRestore.incomplete
    }

    private func unpack(_ entry: Tar.Entry, _ reader: ArchiveReader) throws -> Digest {
        let parts = entry.path.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
            throw KeelError(.corrupted, "the archive holds a file outside of the home folder: '\(entry.path)'")
        }
        let path = "\(home)/\(entry.path)"
        try Folder.make(Folder.parent(of: path))
        let file = try AtomicFile(path: path, temporaryFolder: home)
        var hasher = Digest.Hasher()
        var left = entry.bytes
        while left > 0 {
            let part = try reader.take(Int(min(left, 1 << 20)))
            hasher.update(part)
            try file.write(part)
            left -= Int64(part.count)
        }
        _ = try reader.take(entry.padding)
        try file.commit()
        return hasher.finish()
    }

    private static func compare(_ manifest: [UInt8], _ digests: [String: Digest]) throws -> [String] {
        var missing = Set(digests.keys)
        var gone: [String] = []
        for line in manifest.split(separator: 10) {
            let file = try JSON.parse(Array(line))
            if let path = file["missing"]?.string {
                gone.append(path)
                continue
            }
            let path = file["path"]?.string ?? ""
            guard let digest = digests[path], digest.hex == file["digest"]?.string else {
                throw KeelError(
                    .corrupted, "the file '\(path)' of the backup is damaged or missing", hint: "use another copy of the backup")
            }
            missing.remove(path)
        }
        guard missing.isEmpty else { throw KeelError(.corrupted, "the backup holds files that its manifest does not name") }
        return gone
    }

    fileprivate static let incomplete = KeelError(
        .corrupted, "the backup is not complete: its end is missing", hint: "use another copy, or make the backup again")
}

/// Reads a file from its beginning in pieces of a given size.
private final class ArchiveReader {
    private let reader: ObjectReader
    private var offset: Int64 = 0

    init(_ path: String) throws { reader = try ObjectReader(path: path, name: "backup '\(path)'", followsLinks: true) }

    func take(_ count: Int) throws -> [UInt8] {
        guard Int64(count) <= reader.bytes - offset else { throw HomeRestore.incomplete }
        var out = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let more = try out.withUnsafeMutableBytes {
                try reader.read(at: offset + Int64(filled), into: UnsafeMutableRawBufferPointer(rebasing: $0[filled...]))
            }
            guard more > 0 else { throw HomeRestore.incomplete }
            filled += more
        }
        offset += Int64(count)
        return out
    }
}
