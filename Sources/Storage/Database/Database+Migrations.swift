import Contracts
import Foundation
import GRDB

/// A migration that a home has run, as the home itself keeps it.
private struct AppliedMigration {
    let module: String
    let version: Int
    let isBackwardCompatible: Bool
    /// The version of Keel that ran it, and the copy of the database that it made before, in the folder of backups; empty for what was not noted yet.
    let keelVersion: String
    let backup: String

    var name: String { "\(module)/\(version)" }

    init(_ row: GRDB.Row) {
        module = row[0]
        version = row[1]
        isBackwardCompatible = row[2]
        keelVersion = row[3]
        backup = row[4]
    }
}

extension Database {
    /// Applies every migration that is not yet applied, all in one transaction, after a backup of the file beside it.
    ///
    /// Foreign keys are not enforced meanwhile, so that a table that others refer to can be rebuilt. They are checked before the commit.
    ///
    /// Each is noted with whether a version of Keel that does not know it may open the home, so that the home itself says which versions may
    /// (decision 0046).
    /// - Throws: `failedPrecondition` when the home has run a migration that is not among `migrations` and not backward compatible.
    public func migrate(_ migrations: [Migration], backupFolder: String) async throws {
        for migration in migrations { if let problem = migration.problem(for: .sqlite) { throw KeelError(.internal, problem) } }
        try await pool.write { try Database.makeList($0) }
        let applied = try await appliedMigrations()
        try Database.refuseNewer(applied, than: migrations, backupFolder)
        let names = Set(applied.map(\.name))
        let pending = migrations.filter { !names.contains("\($0.module)/\($0.version)") }
        guard !pending.isEmpty else { return }
        var copy = ""
        if !applied.isEmpty {
            copy = "keel-\(clock.now().milliseconds).sqlite"
            try Folder.make(backupFolder)
            try await backup(to: "\(backupFolder)/\(copy)")
            try Folder.sync(backupFolder)
        }
        let (now, made) = (clock.now().microseconds, copy)
        do {
            try await pool.writeWithoutTransaction { db in
                // SQLite takes this setting only between transactions.
                try db.execute(sql: "PRAGMA foreign_keys = OFF")
                let outcome = Result { try db.inTransaction(.immediate) { try Database.apply(pending, at: now, after: made, to: db) } }
                try db.execute(sql: "PRAGMA foreign_keys = ON")
                try outcome.get()
            }
        } catch { throw KeelError(.internal, "a migration failed, nothing was changed: \(error)") }
    }

    /// Whether a version of Keel that has these migrations opens the database as it is: all were run, and what else was run is backward compatible.
    func isOpened(by migrations: [Migration]) async throws -> Bool {
        guard try await pool.read({ try $0.tableExists("keel_migrations") }) else { return false }
        try await pool.write { try Database.makeList($0) }
        let applied = try await appliedMigrations()
        let names = Set(applied.map(\.name))
        return migrations.allSatisfy { names.contains("\($0.module)/\($0.version)") } && Database.unreadable(applied, to: migrations).isEmpty
    }

    private func appliedMigrations() async throws -> [AppliedMigration] {
        try await pool.read { db in
            let sql = "SELECT module, version, backward_compatible, keel_version, backup FROM keel_migrations ORDER BY module, version"
            return try GRDB.Row.fetchAll(db, sql: sql).map(AppliedMigration.init)
        }
    }

    /// What was run, is not among `migrations`, and must be known to read the tables.
    private static func unreadable(_ applied: [AppliedMigration], to migrations: [Migration]) -> [AppliedMigration] {
        let known = Dictionary(migrations.map { ($0.module, $0.version) }, uniquingKeysWith: max)
        // Tables of a module that this version does not have are not read by it.
        return applied.filter { migration in known[migration.module].map { migration.version > $0 } ?? false && !migration.isBackwardCompatible }
    }

    private static func makeList(_ db: GRDB.Database) throws {
        // Its name until Keel 0.2.
        if try db.tableExists("keel_migrations"), try db.columns(in: "keel_migrations").contains(where: { $0.name == "room" }) {
            try db.execute(sql: "ALTER TABLE keel_migrations RENAME COLUMN room TO module")
        }
        try db.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS keel_migrations (
                    module TEXT NOT NULL, version INTEGER NOT NULL, applied_at BIGINT NOT NULL, PRIMARY KEY (module, version))
                """)
        let columns = Set(try db.columns(in: "keel_migrations").map(\.name))
        for (name, definition) in [
            ("backward_compatible", "INTEGER NOT NULL DEFAULT 0"), ("keel_version", "TEXT NOT NULL DEFAULT ''"),
            ("backup", "TEXT NOT NULL DEFAULT ''"),
        ] where !columns.contains(name) {
            try db.execute(sql: "ALTER TABLE keel_migrations ADD COLUMN \(name) \(definition)")
        }
    }

    /// A newer version of Keel has changed these tables so that this one would misread them.
    private static func refuseNewer(_ applied: [AppliedMigration], than migrations: [Migration], _ backupFolder: String) throws(KeelError) {
        let unknown = unreadable(applied, to: migrations)
        guard let last = unknown.last else { return }
        let known = migrations.filter { $0.module == last.module }.map(\.version).max() ?? 0
        let newest = unknown.map(\.keelVersion).filter { !$0.isEmpty }.max { $0.compare($1, options: .numeric) == .orderedAscending }
        // The copy that was made before the first of them is the newest that this version can open.
        let copies = unknown.map(\.backup).filter { !$0.isEmpty && FileManager.default.fileExists(atPath: "\(backupFolder)/\($0)") }
        var hint = "start \(newest.map { "Keel \($0)" } ?? "the newer version")"
        if let copy = copies.min(by: { $0.compare($1, options: .numeric) == .orderedAscending }) {
            hint += ", or go back to what was there before the upgrade, without all that came since: keel restore \(backupFolder)/\(copy) --home "
                + Folder.parent(of: backupFolder)
        } else {
            hint += ", or 'keel restore' a backup that was made before"
        }
        throw KeelError(
            .failedPrecondition,
            "the home was used by a newer version of Keel\(newest.map { ", \($0)" } ?? ""): its tables of '\(last.module)' are at step "
                + "\(last.version), and this one, \(KeelVersion.text), knows \(known)", hint: hint)
    }

    private static func apply(_ migrations: [Migration], at now: Int64, after backup: String, to db: GRDB.Database) throws
        -> GRDB.Database.TransactionCompletion
    {
        for migration in migrations {
            for statement in migration.statements(for: .sqlite) { try db.execute(sql: statement) }
            try db.execute(
                sql: """
                    INSERT INTO keel_migrations (module, version, applied_at, backward_compatible, keel_version, backup) VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [migration.module, migration.version, now, migration.isBackwardCompatible, KeelVersion.text, backup])
        }
        if let row = try GRDB.Row.fetchOne(db, sql: "PRAGMA foreign_key_check") {
            throw KeelError(.internal, "a row of \(row["table"] as String) refers to a row of \(row["parent"] as String) that is not there")
        }
        return .commit
    }
}
