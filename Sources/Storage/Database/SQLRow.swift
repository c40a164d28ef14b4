import Contracts
import GRDB
import GRDBSQLite

/// One row of a result, by column name.
public struct SQLRow: Sendable {
    let columns: [String]
    let cells: [Value]

    public subscript(name: String) -> Value {
        columns.firstIndex(of: name).map { cells[$0] } ?? .null
    }

    /// The column at this place of the SELECT list: what reads many rows asks by place.
    public subscript(place: Int) -> Value { cells[place] }

    /// The text of a column that is never null; a missing one is empty.
    public func text(_ name: String) -> String { self[name].text ?? "" }
    public func optionalText(_ name: String) -> String? { self[name].text }
    public func int(_ name: String) -> Int64 { self[name].integer ?? 0 }
    public func optionalInt(_ name: String) -> Int64? { self[name].integer }
    public func double(_ name: String) -> Double { self[name].number ?? .nan }
    public func optionalDouble(_ name: String) -> Double? { self[name].number }
    public func bool(_ name: String) -> Bool { int(name) != 0 }
    public func bytes(_ name: String) -> [UInt8] { if case .bytes(let v) = self[name] { v } else { [] } }
    public func optionalBytes(_ name: String) -> [UInt8]? { if case .bytes(let v) = self[name] { v } else { nil } }
    /// An instant stored as µs.
    public func time(_ name: String) -> Timestamp { Timestamp(microseconds: int(name)) }
    public func optionalTime(_ name: String) -> Timestamp? { optionalInt(name).map { Timestamp(microseconds: $0) } }
    public func json(_ name: String) throws -> JSON { try JSON.parse(text(name)) }
}

/// The row a scan stands on, valid until the next one.
public struct SQLCells {
    private let statement: GRDB.Statement
    private let handle: OpaquePointer

    init(_ statement: GRDB.Statement) {
        self.statement = statement
        handle = statement.sqliteStatement
    }

    /// The text of a column that is never null.
    public func text(_ column: Int) -> String {
        // The length is asked after the text: asking for the text may convert it.
        guard let text = sqlite3_column_text(handle, Int32(column)) else { return "" }
        return String(decoding: UnsafeBufferPointer(start: text, count: Int(sqlite3_column_bytes(handle, Int32(column)))), as: UTF8.self)
    }

    public func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }
    public func int(_ column: Int) -> Int64 { sqlite3_column_int64(handle, Int32(column)) }
    public func optionalInt(_ column: Int) -> Int64? { isNull(column) ? nil : int(column) }
    public func double(_ column: Int) -> Double { sqlite3_column_double(handle, Int32(column)) }
    public func optionalDouble(_ column: Int) -> Double? { isNull(column) ? nil : double(column) }
    /// The bytes of a column that is never null.
    public func bytes(_ column: Int) -> [UInt8] {
        let start = sqlite3_column_blob(handle, Int32(column))
        return Array(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, Int32(column)))))
    }
    public func optionalBytes(_ column: Int) -> [UInt8]? { isNull(column) ? nil : bytes(column) }

    public func value(_ column: Int) -> Value {
        switch sqlite3_column_type(handle, Int32(column)) {
        case SQLITE_INTEGER: return .int(int(column))
        case SQLITE_FLOAT: return .double(double(column))
        case SQLITE_TEXT: return .string(text(column))
        case SQLITE_BLOB: return .bytes(bytes(column))
        default: return .null
        }
    }

    private func isNull(_ column: Int) -> Bool { sqlite3_column_type(handle, Int32(column)) == SQLITE_NULL }

    /// The row with all its columns, to keep.
    var row: SQLRow {
        let columns = statement.columnNames
        return SQLRow(columns: columns, cells: columns.indices.map(value))
    }
}
