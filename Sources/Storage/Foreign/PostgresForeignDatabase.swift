import CPostgres
import Contracts
import Foundation

/// Another program's PostgreSQL database, in one read-only transaction: everything is read as it was at one instant.
///
/// `@unchecked Sendable`: libpq's connection is used by one call at a time, under the lock.
public final class PostgresForeignDatabase: ForeignDatabase, @unchecked Sendable {
    public let name: String
    private let connection: OpaquePointer
    private let lock = NSLock()

    /// - Parameter url: `postgresql://user@host:port/database`; what is missing comes from the variables of libpq (PGPASSWORD, PGSSLMODE …).
    public init(url: String) throws(KeelError) {
        guard let opened = PQconnectdb(url) else { throw KeelError(.internal, "libpq is out of memory") }
        guard PQstatus(opened) == CONNECTION_OK else {
            let reason = String(cString: PQerrorMessage(opened)).split(separator: "\n").joined(separator: "; ")
            PQfinish(opened)
            throw KeelError(
                .unavailable, "PostgreSQL refused the connection: \(reason)",
                hint: "postgresql://user@host:port/database, the password in PGPASSWORD")
        }
        connection = opened
        func text(_ value: UnsafeMutablePointer<CChar>?) -> String { value.map { String(cString: $0) } ?? "" }
        name = "postgresql://\(text(PQhost(opened))):\(text(PQport(opened)))/\(text(PQdb(opened)))"
        do {
            _ = try run("SET client_encoding = 'UTF8'", [])
            _ = try run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", [])
        } catch {
            PQfinish(opened)
            throw KeelError.wrapping(error)
        }
    }

    deinit { PQfinish(connection) }

    public func columns() throws -> [String: Set<String>] {
        var out: [String: Set<String>] = [:]
        for row in try rows("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()", []) {
            out[row.text("table_name"), default: []].insert(row.text("column_name"))
        }
        return out
    }

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [ForeignRow] {
        try run(PostgresForeignDatabase.numbered(sql), parameters)
    }

    public func cursor(_ query: ForeignQuery, batch: Int) throws -> any ForeignCursor {
        let sql = "SELECT \(query.columns.joined(separator: ", ")) FROM \(query.table) WHERE \(query.condition)"
        _ = try run("DECLARE foreign_rows NO SCROLL CURSOR FOR \(PostgresForeignDatabase.numbered(sql))", query.parameters)
        return FetchCursor(database: self, batch: batch)
    }

    /// `@unchecked Sendable`: as the protocol says, one call at a time.
    private final class FetchCursor: ForeignCursor, @unchecked Sendable {
        private let database: PostgresForeignDatabase
        private let batch: Int
        private var isOpen = true

        init(database: PostgresForeignDatabase, batch: Int) { (self.database, self.batch) = (database, batch) }
        deinit { close() }

        func next() throws -> [ForeignRow] {
            guard isOpen else { return [] }
            let rows = try database.run("FETCH \(batch) FROM foreign_rows", [])
            if rows.isEmpty { close() }
            return rows
        }

        private func close() {
            guard isOpen else { return }
            isOpen = false
            _ = try? database.run("CLOSE foreign_rows", [])
        }
    }

    /// `?` as `$1`, `$2` …; no SQL of ours holds a question mark in a text.
    private static func numbered(_ sql: String) -> String {
        var (out, number) = ("", 0)
        for character in sql {
            if character == "?" {
                number += 1
                out += "$\(number)"
            } else {
                out.append(character)
            }
        }
        return out
    }

    private func run(_ sql: String, _ parameters: [Value]) throws -> [ForeignRow] {
        lock.lock()
        defer { lock.unlock() }
        let texts = parameters.map { value -> UnsafeMutablePointer<CChar>? in value.isNull ? nil : strdup(value.description) }
        defer { for text in texts { free(text) } }
        let result = texts.map { UnsafePointer($0) }.withUnsafeBufferPointer {
            PQexecParams(connection, sql, Int32(parameters.count), nil, $0.baseAddress, nil, nil, 0)
        }
        defer { PQclear(result) }
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK: return PostgresForeignDatabase.read(result)
        case PGRES_COMMAND_OK: return []
        default:
            let reason = String(cString: PQerrorMessage(connection)).split(separator: "\n").first ?? "the connection is gone"
            throw KeelError(.unavailable, "PostgreSQL: \(reason)")
        }
    }

    private static func read(_ result: OpaquePointer?) -> [ForeignRow] {
        let width = PQnfields(result)
        var places: [String: Int] = [:]
        for i in 0..<width { places[String(cString: PQfname(result, i))] = Int(i) }
        let types = (0..<width).map { PQftype(result, $0) }
        return (0..<PQntuples(result)).map { row in
            ForeignRow(
                places: places,
                values: (0..<width).map { column in
                    PQgetisnull(result, row, column) == 1
                        ? .null : value(String(cString: PQgetvalue(result, row, column)), types[Int(column)])
                })
        }
    }

    /// By the number of its type in PostgreSQL's catalogue, which is the same on every server.
    private static func value(_ text: String, _ type: Oid) -> Value {
        switch type {
        case 16: .bool(text == "t")
        case 20, 21, 23: Int64(text).map(Value.int) ?? .string(text)
        case 700, 701, 1700: Double(text).map(Value.double) ?? .string(text)
        default: .string(text)
        }
    }
}
