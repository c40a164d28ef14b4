import Contracts
import Foundation
import GRDB

/// Reads rows. `?` marks a parameter; SQL is written to run on SQLite and PostgreSQL alike.
public protocol Querying {
    func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow]
    /// Calls `body` for each row without holding them all.
    func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws
    /// Calls `body` for each row, whose cells are read in place by their position: for answers of thousands of rows.
    func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws
}

extension Querying {
    public func rows(_ sql: String) throws -> [SQLRow] { try rows(sql, []) }
    /// The first row, or nil.
    public func row(_ sql: String, _ parameters: [Value] = []) throws -> SQLRow? { try rows(sql, parameters).first }
}

/// A consistent view of the database, valid inside the closure that received it.
public struct Reader: Querying {
    let db: GRDB.Database

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow] { try fetch(db, sql, parameters) }
    public func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws { try iterate(db, sql, parameters, body) }
    public func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws { try readInPlace(db, sql, parameters, body) }
}

/// A transaction under way, valid inside the closure that received it.
public struct Transaction: Querying {
    let db: GRDB.Database
    let clock: any Clock
    let head: Ledger.Head

    /// The instant of this transaction's changes.
    public var now: Timestamp { clock.now() }

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [SQLRow] { try fetch(db, sql, parameters) }
    public func forEach(_ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws { try iterate(db, sql, parameters, body) }
    public func scan(_ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws { try readInPlace(db, sql, parameters, body) }

    /// Runs one statement; returns how many rows it changed.
    @discardableResult
    public func execute(_ sql: String, _ parameters: [Value] = []) throws -> Int {
        let statement = try db.cachedStatement(sql: sql)
        try statement.execute(arguments: StatementArguments(parameters.map(databaseValue)))
        return db.changesCount
    }
}

/// One row of a result, by column name.
public struct SQLRow {
    fileprivate let row: GRDB.Row

    public subscript(name: String) -> Value {
        guard let value: DatabaseValue = row[name] else { return .null }
        return Value(value)
    }

    /// The column at this place of the SELECT list: what reads many rows asks by place.
    public subscript(place: Int) -> Value {
        Value(row[place] as DatabaseValue)
    }

    /// The text of a column that is never null; a missing one is empty.
    public func text(_ name: String) -> String { self[name].text ?? "" }
    public func optionalText(_ name: String) -> String? { self[name].text }
    public func int(_ name: String) -> Int64 { self[name].integer ?? 0 }
    public func optionalInt(_ name: String) -> Int64? { self[name].integer }
    public func double(_ name: String) -> Double { self[name].number ?? .nan }
    public func optionalDouble(_ name: String) -> Double? { self[name].number }
    public func bool(_ name: String) -> Bool { int(name) != 0 }
    public func bytes(_ name: String) -> [UInt8] { if case .bytes(let v) = self[name] { v } else { [] } }
    /// An instant stored as µs.
    public func time(_ name: String) -> Timestamp { Timestamp(microseconds: int(name)) }
    public func optionalTime(_ name: String) -> Timestamp? { optionalInt(name).map { Timestamp(microseconds: $0) } }
    public func json(_ name: String) throws -> JSON { try JSON.parse(text(name)) }
}

/// The row a scan stands on, valid until the next one.
public struct SQLCells {
    fileprivate let row: GRDB.Row

    public func text(_ column: Int) -> String { row[column] }
    public func optionalText(_ column: Int) -> String? { row[column] }
    public func int(_ column: Int) -> Int64 { row[column] }
    public func optionalInt(_ column: Int) -> Int64? { row[column] }
    public func double(_ column: Int) -> Double { row[column] }
    public func value(_ column: Int) -> Value { Value(row[column] as DatabaseValue) }
}

extension Value {
    fileprivate init(_ value: DatabaseValue) {
        switch value.storage {
        case .null: self = .null
        case .int64(let v): self = .int(v)
        case .double(let v): self = .double(v)
        case .string(let v): self = .string(v)
        case .blob(let v): self = .bytes(Array(v))
        }
    }
}

func databaseValue(_ value: Value) -> (any DatabaseValueConvertible)? {
    switch value {
    case .null: nil
    case .bool(let v): v ? 1 : 0
    case .int(let v): v
    case .double(let v): v
    case .string(let v): v
    case .bytes(let v): Data(v)
    case .date(let v): Int64(v)
    case .timestamp(let v): v.microseconds
    case .list: JSON(value).text
    }
}

private func fetch(_ db: GRDB.Database, _ sql: String, _ parameters: [Value]) throws -> [SQLRow] {
    let statement = try db.cachedStatement(sql: sql)
    return try GRDB.Row.fetchAll(statement, arguments: StatementArguments(parameters.map(databaseValue))).map(SQLRow.init)
}

private func iterate(_ db: GRDB.Database, _ sql: String, _ parameters: [Value], _ body: (SQLRow) throws -> Void) throws {
    let statement = try db.cachedStatement(sql: sql)
    let cursor = try GRDB.Row.fetchCursor(statement, arguments: StatementArguments(parameters.map(databaseValue)))
    // The cursor reuses its row: each is copied so that a caller may keep it.
    while let row = try cursor.next() { try body(SQLRow(row: row.copy())) }
}

private func readInPlace(_ db: GRDB.Database, _ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void) throws {
    let statement = try db.cachedStatement(sql: sql)
    let cursor = try GRDB.Row.fetchCursor(statement, arguments: StatementArguments(parameters.map(databaseValue)))
    while let row = try cursor.next() { try body(SQLCells(row: row)) }
}
