import Contracts
import Foundation

/// Puts the copy of the database that an upgrade made before its migrations back into the home that it was made in, so that the version of Keel
/// from before can serve it again. What came since is lost; the database that is replaced stays in `backups/`.
public struct DatabaseRestore: Sendable {
    /// What a restored copy brought back, and what it cost.
    public struct Report: Sendable, Hashable {
        /// Events of the ledger that the copy holds.
        public let ledgerEvents: Int64
        /// Events of the ledger that came after the copy, and are in the database that was replaced only.
        public let ledgerEventsLost: Int64
        /// Files that the copy refers to and that were removed since.
        public let missing: [String]
        /// Where the database that was replaced lies now.
        public let replaced: String
    }

    private let copy: String
    private let home: String
    private let migrations: [Migration]
    private let references: StoredReferences.Finder
    private let clock: any Clock

    /// - Parameters:
    ///   - migrations: those of this version of Keel. A copy with other tables is of another version, which must restore it itself.
    ///   - references: what the database refers to.
    public init(
        copy: String, home: String, migrations: [Migration], clock: any Clock = SystemClock(),
        references: @escaping StoredReferences.Finder = { _, _ in StoredReferences() }
    ) {
        self.copy = copy
        self.home = home
        self.migrations = migrations
        self.references = references
        self.clock = clock
    }

    /// Whether a file is a database and no archive.
    public static func isDatabase(_ path: String) throws -> Bool {
        let mark = Array("SQLite format 3\0".utf8)
        let reader = try ObjectReader(path: path, name: "backup '\(path)'", followsLinks: true)
        var found = [UInt8](repeating: 0, count: mark.count)
        let count = try found.withUnsafeMutableBytes { try reader.read(at: 0, into: $0) }
        return count == mark.count && found == mark
    }

    /// Everything is checked before anything of the home is changed; a process that is killed meanwhile leaves one database or the other.
    /// - Throws: `failedPrecondition` when the copy is of another home or another version of Keel, or a server runs there; `corrupted` when it is
    ///   damaged.
    public func run() async throws -> Report {
        guard Folder.exists(home), FileManager.default.fileExists(atPath: path) else {
            throw KeelError(
                .failedPrecondition, "'\(copy)' is a copy of a database and no whole backup, and '\(home)' is not the home that it was made in",
                hint: "name the home whose backups/ folder it comes from; for a new folder, restore a file that 'keel backup' wrote")
        }
        let lock = try Home(home, user: "keel restore")
        defer { withExtendedLifetime(lock) {} }
        try Folder.make("\(home)/work")
        let scratch = "\(home)/work/restore-\(Identifier.hex32()).sqlite"
        defer { DatabaseRestore.remove(scratch) }
        try FileManager.default.copyItem(atPath: copy, toPath: scratch)
        let found: (events: Int64, lost: Int64, missing: [String])
        do { found = try await check(scratch) } catch let error as KeelError { throw error } catch {
            throw KeelError(.corrupted, "'\(copy)' cannot be read: \(error)", hint: "use an earlier copy")
        }
        let replaced = "\(home)/backups/keel-\(clock.now().milliseconds)-replaced.sqlite"
        try Folder.make("\(home)/backups")
        guard link(path, replaced) == 0 else { throw AtomicFile.failure("keep the database that is replaced as \(replaced)") }
        try Folder.sync("\(home)/backups")
        // Both were folded into their files when they were closed. A log that stayed behind would be taken for the new database's.
        for file in [path, scratch] { for suffix in ["-wal", "-shm"] { unlink(file + suffix) } }
        guard rename(scratch, path) == 0 else { throw AtomicFile.failure("put the copy in place") }
        try Folder.sync(home)
        return Report(ledgerEvents: found.events, ledgerEventsLost: found.lost, missing: found.missing, replaced: replaced)
    }

    private var path: String { "\(home)/\(HomeBackup.databaseName)" }

    /// - Returns: how many events the ledger of the copy has, how many more the ledger of the home, and which files are gone.
    private func check(_ scratch: String) async throws -> (events: Int64, lost: Int64, missing: [String]) {
        let database = try Database(path: scratch)
        guard try await database.isOpened(by: migrations) else {
            throw KeelError(
                .failedPrecondition, "'\(copy)' was made by another version of Keel than this one, \(KeelVersion.text)",
                hint: "install the version that served the home when the copy was made, and restore with that one")
        }
        try await database.check()
        let ledger = try await database.read { try $0.verifyLedger() }
        if let broken = ledger.broken {
            throw KeelError(.corrupted, "the ledger of the copy is broken at event \(broken.seq): \(broken.problem)", hint: "use an earlier copy")
        }
        let missing = try await references(database, home).files.filter { !HomeBackup.isFile("\(home)/\($0)") }.sorted()
        try await database.close()
        let current = try Database(path: path)
        let (hash, head) = try await current.read { db in (try db.ledgerHash(ledger.events), try db.ledgerHead()) }
        guard hash == ledger.head else {
            throw KeelError(
                .failedPrecondition, "'\(copy)' is not a copy of this home's database: event \(ledger.events) of its ledger is another one",
                hint: "look into \(home)/backups")
        }
        try await current.close()
        return (ledger.events, head - ledger.events, missing)
    }

    private static func remove(_ path: String) { for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) } }
}
