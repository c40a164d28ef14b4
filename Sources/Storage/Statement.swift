import Contracts
import GRDB
import GRDBSQLite

/// Runs one prepared statement and shows `body` each row where SQLite has it. Statements are kept prepared, by their text.
///
/// GRDB opens the connections, schedules their use and keeps the statements; values pass between Keel and SQLite here without a type between,
/// which costs less than half: a page of runs has some fifty thousand cells.
func run(_ db: GRDB.Database, _ sql: String, _ parameters: [Value], _ body: (SQLCells) throws -> Void = { _ in }) throws {
    var statement = try db.cachedStatement(sql: sql)
    // One that is read further up the stack needs a second.
    if sqlite3_stmt_busy(statement.sqliteStatement) != 0 { statement = try db.makeStatement(sql: sql) }
    let handle = statement.sqliteStatement
    guard Int(sqlite3_bind_parameter_count(handle)) == parameters.count else {
        throw KeelError(.internal, "\(parameters.count) values for the \(sqlite3_bind_parameter_count(handle)) marks of: \(sql)")
    }
    defer { sqlite3_reset(handle) }
    for (i, value) in parameters.enumerated() {
        let code = bind(value, to: handle, at: Int32(i + 1))
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage, sql: sql) }
    }
    let cells = SQLCells(statement)
    while true {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: try body(cells)
        case SQLITE_DONE: return
        case let code: throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage, sql: sql)
        }
    }
}

func fetch(_ db: GRDB.Database, _ sql: String, _ parameters: [Value]) throws -> [SQLRow] {
    var rows: [SQLRow] = []
    try run(db, sql, parameters) { rows.append($0.row) }
    return rows
}

private func bind(_ value: Value, to handle: OpaquePointer, at place: Int32) -> Int32 {
    switch value {
    case .null: sqlite3_bind_null(handle, place)
    case .bool(let v): sqlite3_bind_int64(handle, place, v ? 1 : 0)
    case .int(let v): sqlite3_bind_int64(handle, place, v)
    case .double(let v): sqlite3_bind_double(handle, place, v)
    case .string(let v): bind(v, to: handle, at: place)
    // An empty array has no address, and SQLite would take that for null.
    case .bytes(let v) where v.isEmpty: sqlite3_bind_zeroblob(handle, place, 0)
    case .bytes(let v): v.withUnsafeBytes { sqlite3_bind_blob64(handle, place, $0.baseAddress, UInt64($0.count), isCopied) }
    case .date(let v): sqlite3_bind_int64(handle, place, Int64(v))
    case .timestamp(let v): sqlite3_bind_int64(handle, place, v.microseconds)
    case .list: bind(JSON(value).text, to: handle, at: place)
    }
}

private func bind(_ text: String, to handle: OpaquePointer, at place: Int32) -> Int32 {
    text.withCString { sqlite3_bind_text64(handle, place, $0, UInt64(text.utf8.count), isCopied, UInt8(SQLITE_UTF8)) }
}

/// SQLite's mark for a value that it is to copy.
nonisolated(unsafe) private let isCopied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
