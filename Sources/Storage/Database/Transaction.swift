import Contracts
import GRDB

/// Reads rows. `?` marks a parameter; SQL is written to run on SQLite and PostgreSQL alike.
public protocol Querying {
    /// The workspace whose rows are read and written; nil for work on those of all.
    var workspace: WorkspaceID? { get }
    func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow]
    /// Calls `body` for each row without holding them all.
    func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws
    /// Calls `body` for each row, whose cells are read in place by their position: for answers of thousands of rows.
    func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws
}

extension Querying {
    public func rows(_ sql: String) throws -> [SQLRow] { try rows(sql, []) }
    /// The value for `workspace = ?`.
    /// - Throws: `internal` outside of a workspace, so that a verb that forgot to name one finds nothing instead of everything.
    public var inWorkspace: Value { get throws(KeelError) { .string(try requiredWorkspace.name) } }
    /// The workspace that the closure is in.
    /// - Throws: `internal` outside of one.
    public var requiredWorkspace: WorkspaceID {
        get throws(KeelError) {
            guard let workspace else { throw KeelError(.internal, "rows of a workspace were asked for without naming one") }
            return workspace
        }
    }
    /// The names of the tables that there are.
    public func tables() throws -> Set<String> { Set(try rows(SQLDialect.sqliteTables).map { $0.text("name") }) }
    /// The first row, or nil.
    public func row(_ sql: String, _ parameters: [Value] = []) throws -> SQLRow? { try rows(sql, parameters).first }
}

/// A consistent view of the database, valid inside the closure that received it.
public struct Reader: Querying {
    let db: GRDB.Database
    public let workspace: WorkspaceID?

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow] { try fetch(db, sql, parameters) }
    public func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws {
        try run(db, sql, parameters) { try body($0.row) }
    }
    public func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws { try run(db, sql, parameters, body) }
}

/// A transaction under way, valid inside the closure that received it.
public struct Transaction: Querying {
    let db: GRDB.Database
    let head: Ledger.Head
    public let workspace: WorkspaceID?
    /// The instant of this transaction's changes, its events included.
    public let now: Timestamp

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow] { try fetch(db, sql, parameters) }
    public func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws {
        try run(db, sql, parameters) { try body($0.row) }
    }
    public func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws { try run(db, sql, parameters, body) }

    /// Runs one statement; returns how many rows it changed.
    @discardableResult
    public func execute(_ sql: String, _ parameters: [Value] = []) throws -> Int {
        try run(db, sql, parameters)
        return db.changesCount
    }
}
