import Contracts
import Foundation
import GRDB

/// Another program's SQLite file. Each read is a transaction of its own, so that a program that uses the file is never kept waiting.
public final class SQLiteForeignDatabase: ForeignDatabase {
    public let name: String
    private let queue: DatabaseQueue

    /// - Throws: an error that says what the file is instead, when it is no readable SQLite database.
    public init(path: String) throws(KeelError) {
        let path = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        name = "sqlite:///" + path
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue else {
            throw .notFound("there is no file '\(path)'", hint: "sqlite:/// is followed by a relative path, sqlite://// by an absolute one")
        }
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(30)
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            _ = try queue.read { db in try GRDB.Row.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") }
        } catch { throw SQLiteForeignDatabase.unreadable(error, path) }
    }

    public func columns() throws -> [String: Set<String>] {
        try reading { db in
            var out: [String: Set<String>] = [:]
            for table in try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table'") {
                out[table] = Set(try String.fetchAll(db, sql: "SELECT name FROM pragma_table_info(?)", arguments: [table]))
            }
            return out
        }
    }

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [ForeignRow] {
        try reading { db in
            let rows = try fetch(db, sql, parameters, isForeign: true)
            let places = Dictionary((rows.first?.columns ?? []).enumerated().map { ($1, $0) }, uniquingKeysWith: { $1 })
            return rows.map { ForeignRow(places: places, values: $0.cells) }
        }
    }

    public func cursor(_ query: ForeignQuery, batch: Int) throws -> any ForeignCursor {
        RowCursor(database: self, query: query, batch: batch)
    }

    /// By row id, which every index of SQLite ends with: each batch continues where the last ended, without a sort.
    ///
    /// `@unchecked Sendable`: as the protocol says, one call at a time.
    private final class RowCursor: ForeignCursor, @unchecked Sendable {
        private let database: SQLiteForeignDatabase
        private let query: ForeignQuery
        private let batch: Int
        private var last: Int64?
        private var isAtEnd = false

        init(database: SQLiteForeignDatabase, query: ForeignQuery, batch: Int) {
            (self.database, self.query, self.batch) = (database, query, batch)
        }

        func next() throws -> [ForeignRow] {
            guard !isAtEnd else { return [] }
            let rows = try database.rows(
                """
                SELECT rowid AS foreign_rowid, \(query.columns.joined(separator: ", ")) FROM \(query.table)
                WHERE (\(query.condition)) \(last == nil ? "" : "AND rowid > ?") ORDER BY rowid LIMIT ?
                """, query.parameters + (last.map { [.int($0)] } ?? []) + [.int(Int64(batch))])
            last = rows.last?.int("foreign_rowid")
            isAtEnd = rows.count < batch
            return rows
        }
    }

    private func reading<T>(_ body: (GRDB.Database) throws -> T) throws -> T {
        do { return try queue.read(body) } catch { throw SQLiteForeignDatabase.unreadable(error, name) }
    }

    private static func unreadable(_ error: any Error, _ path: String) -> KeelError {
        guard let error = error as? DatabaseError else { return .wrapping(error) }
        switch error.resultCode {
        case .SQLITE_NOTADB: return KeelError(.corrupted, "'\(path)' is not a SQLite database")
        case .SQLITE_CORRUPT:
            return KeelError(
                .corrupted, "'\(path)' is damaged: \(error.message ?? "")", hint: "restore it from a backup, or try sqlite3's .recover")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return KeelError(.unavailable, "'\(path)' is locked by another program", hint: "try again when it rests")
        case .SQLITE_CANTOPEN, .SQLITE_IOERR, .SQLITE_READONLY:
            return KeelError(
                .unavailable, "'\(path)' cannot be read: \(error.message ?? "")",
                hint: "copy the file and its -wal into a folder of your own")
        default: return KeelError(.internal, "reading '\(path)' failed: \(error.message ?? "\(error.resultCode)")")
        }
    }
}
