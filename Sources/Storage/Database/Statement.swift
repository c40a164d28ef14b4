import Contracts
import GRDB
import GRDBSQLite

/// Runs one prepared statement and shows `body` each row where SQLite has it. Statements are kept prepared, by their text.
///
/// GRDB opens the connections, schedules their use and keeps the statements; values pass between Keel and SQLite here without a type between,
/// which costs less than half: a page of runs has some fifty thousand cells.
/// - Parameter isForeign: whether the text is for another program's tables, which is in no record.
func run(
    _ db: GRDB.Database, _ sql: String, _ parameters: [Value], isForeign: Bool = false, _ body: (SQLCells) throws -> Void = { _ in }
) throws {
    var statement = try db.cachedStatement(sql: sql)
    // One that is read further up the stack needs a second.
    if sqlite3_stmt_busy(statement.sqliteStatement) != 0 { statement = try db.makeStatement(sql: sql) }
    let handle = statement.sqliteStatement
    guard Int(sqlite3_bind_parameter_count(handle)) == parameters.count else {
        throw KeelError(.internal, "\(parameters.count) values for the \(sqlite3_bind_parameter_count(handle)) marks of: \(sql)")
    }
    if !isForeign { SQLRecord.shared?.add(sql, parameters) }
    defer { sqlite3_reset(handle) }
    try withUnsafeTemporaryAllocation(byteCount: parameters.reduce(0) { $0 + textBytes($1) }, alignment: 1) { texts in
        var texts = texts[...]
        for (i, value) in parameters.enumerated() {
            let code = bind(value, to: handle, at: Int32(i + 1), texts: &texts)
            guard code == SQLITE_OK else {
                throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage, sql: sql)
            }
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
}

func fetch(_ db: GRDB.Database, _ sql: String, _ parameters: [Value], isForeign: Bool = false) throws -> [SQLRow] {
    var rows: [SQLRow] = []
    try run(db, sql, parameters, isForeign: isForeign) { rows.append($0.row) }
    return rows
}

private func textBytes(_ value: Value) -> Int {
    if case .string(let text) = value { text.utf8.count } else { 0 }
}

/// Texts are laid into `texts`, which lives as long as the statement runs: SQLite copies none of them.
private func bind(_ value: Value, to handle: OpaquePointer, at place: Int32, texts: inout Slice<UnsafeMutableRawBufferPointer>) -> Int32 {
    switch value {
    case .null: return sqlite3_bind_null(handle, place)
    case .bool(let v): return sqlite3_bind_int64(handle, place, v ? 1 : 0)
    case .int(let v): return sqlite3_bind_int64(handle, place, v)
    case .double(let v): return sqlite3_bind_double(handle, place, v)
    case .string(var v):
        let laid = v.withUTF8 { text in
            let target = UnsafeMutableRawBufferPointer(rebasing: texts.prefix(text.count))
            target.copyBytes(from: text)
            return UnsafeRawBufferPointer(target)
        }
        texts = texts.dropFirst(laid.count)
        // An empty text has no address, and SQLite would take that for null.
        guard let start = laid.baseAddress else { return sqlite3_bind_text(handle, place, "", 0, isCopied) }
        return sqlite3_bind_text64(
            handle, place, start.assumingMemoryBound(to: CChar.self), UInt64(laid.count), isKept, UInt8(SQLITE_UTF8))
    // As with a text.
    case .bytes(let v) where v.isEmpty: return sqlite3_bind_zeroblob(handle, place, 0)
    case .bytes(let v): return v.withUnsafeBytes { sqlite3_bind_blob64(handle, place, $0.baseAddress, UInt64($0.count), isCopied) }
    case .date(let v): return sqlite3_bind_int64(handle, place, Int64(v))
    case .timestamp(let v): return sqlite3_bind_int64(handle, place, v.microseconds)
    case .list:
        return JSON(value).text.withCString { sqlite3_bind_text(handle, place, $0, -1, isCopied) }
    }
}

/// SQLite's mark for a value that stays where it is until the statement has run.
private let isKept: sqlite3_destructor_type? = nil
/// SQLite's mark for a value that it is to copy.
nonisolated(unsafe) private let isCopied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
