import Contracts

/// A database of another program, only ever read: what imports stand on. SQL is written with `?` for parameters, to run on SQLite and
/// PostgreSQL alike.
///
/// Calls block; make them from `Blocking.run`.
public protocol ForeignDatabase: Sendable {
    /// What it is called in reports and the ledger: without passwords.
    var name: String { get }
    /// The columns of every table, by the table's name.
    func columns() throws -> [String: Set<String>]
    func rows(_ sql: String, _ parameters: [Value]) throws -> [ForeignRow]
    /// The rows of one table in batches, in no particular order, in constant memory. One cursor at a time.
    func cursor(_ query: ForeignQuery, batch: Int) throws -> any ForeignCursor
}

public enum ForeignDatabases {
    /// Opens a database by its URL: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://user@host:port/database`, as
    /// SQLAlchemy writes them. A password of PostgreSQL may also come from PGPASSWORD or a password file.
    public static func open(url: String) throws(KeelError) -> any ForeignDatabase {
        guard let separator = url.range(of: "://") else { throw unknown(url) }
        // SQLAlchemy names the driver behind a plus: postgresql+psycopg2.
        switch url[..<separator.lowerBound].split(separator: "+").first {
        case "sqlite":
            let path = url[separator.upperBound...]
            guard path.hasPrefix("/"), path.count > 1 else { throw unknown(url) }
            return try SQLiteForeignDatabase(path: String(path.dropFirst().prefix { $0 != "?" }))
        case "postgresql", "postgres": return try PostgresForeignDatabase(url: "postgresql" + url[separator.lowerBound...])
        default: throw unknown(url)
        }
    }

    private static func unknown(_ url: String) -> KeelError {
        // Nothing behind the scheme is shown: a password may be there.
        .invalid(
            "'\(url.prefix { $0 != ":" })…' is not the address of a database that Keel reads",
            hint: "sqlite:///mlflow.db, sqlite:////absolute/mlflow.db or postgresql://user@host/database")
    }
}

/// Rows of one table that meet a condition.
public struct ForeignQuery: Sendable {
    let columns: [String]
    let table: String
    let condition: String
    let parameters: [Value]

    public init(_ columns: [String], from table: String, where condition: String, _ parameters: [Value]) {
        (self.columns, self.table, self.condition, self.parameters) = (columns, table, condition, parameters)
    }
}

/// Rows as they are asked for, by one caller, each call after the one before has returned.
public protocol ForeignCursor: AnyObject, Sendable {
    /// The next batch; empty at the end.
    func next() throws -> [ForeignRow]
}

/// One row of a foreign table, by column name. A column that the table does not have reads as null.
public struct ForeignRow: Sendable {
    let places: [String: Int]
    let values: [Value]

    public subscript(name: String) -> Value { places[name].map { values[$0] } ?? .null }

    public func text(_ name: String) -> String { optionalText(name) ?? "" }
    public func optionalText(_ name: String) -> String? {
        switch self[name] {
        case .string(let text): text
        case .null: nil
        // A number in a text column, as SQLite allows.
        case let other: other.description
        }
    }
    public func optionalInt(_ name: String) -> Int64? {
        if case .string(let text) = self[name] { return Int64(text) }
        if case .bool(let flag) = self[name] { return flag ? 1 : 0 }
        return self[name].integer
    }
    public func int(_ name: String) -> Int64 { optionalInt(name) ?? 0 }
    public func double(_ name: String) -> Double { self[name].number ?? .nan }
    public func bool(_ name: String) -> Bool { int(name) != 0 }
}
