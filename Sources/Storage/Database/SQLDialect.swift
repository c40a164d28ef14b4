/// A kind of SQL database that Keel's own tables can lie in.
///
/// SQL is written to run on each of them as it is. The few words that differ stand here, by name, and nowhere else.
public enum SQLDialect: String, Sendable, CaseIterable {
    case sqlite
    case postgres

    /// Ends the definition of a table whose rows lie in the order of its primary key, once, instead of in an index beside the table. PostgreSQL has no
    /// such tables.
    public var clustered: String {
        switch self {
        case .sqlite: " WITHOUT ROWID"
        case .postgres: ""
        }
    }

    /// The type of a table's one key column when that numbers the rows: SQLite keeps the rows themselves by a number of this very type, without an index.
    public var rowNumber: String {
        switch self {
        case .sqlite: "INTEGER"
        case .postgres: "BIGINT"
        }
    }

    /// What stands before a query to see how it would be answered.
    package var explain: String {
        switch self {
        case .sqlite: "EXPLAIN QUERY PLAN "
        case .postgres: "EXPLAIN "
        }
    }

    /// Reads every page and every index of SQLite's file.
    static let sqliteCheck = "PRAGMA integrity_check(1)"
    /// Answers 2 when SQLite brings every commit to the disk.
    static let sqliteSynchronous = "PRAGMA synchronous"

    /// The names of SQLite's tables.
    static let sqliteTables = "SELECT name FROM sqlite_master WHERE type = 'table'"

    /// Statements about SQLite's file, for which the engine of another database has its own way or no need.
    package static let sqliteOnly: Set<String> = [sqliteCheck, sqliteSynchronous, sqliteTables]

    /// The text with its parameters marked as the database wants them: `?` is `$1`, `$2` … on PostgreSQL. A question mark inside of quotes stays.
    func marked(_ sql: String) -> String {
        guard self == .postgres else { return sql }
        var out: [UInt8] = []
        var number = 0
        var quote: UInt8?
        for byte in sql.utf8 {
            if let open = quote {
                // A doubled quote ends the text and begins it again.
                if byte == open { quote = nil }
                out.append(byte)
            } else if byte == UInt8(ascii: "?") {
                number += 1
                out += Array("$\(number)".utf8)
            } else {
                if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") { quote = byte }
                out.append(byte)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
