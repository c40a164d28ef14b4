import Contracts

/// Another program's PostgreSQL database, in one read-only transaction: everything is read as it was at one instant.
public final class PostgresForeignDatabase: ForeignDatabase {
    public let name: String
    private let connection: PostgresConnection

    /// - Parameter url: `postgresql://user@host:port/database`; what is missing comes from the variables of libpq (PGPASSWORD, PGSSLMODE …).
    public init(url: String) throws(KeelError) {
        connection = try PostgresConnection(url: url)
        name = connection.name
        do {
            _ = try connection.run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        } catch { throw KeelError.wrapping(error) }
    }

    public func columns() throws -> [String: Set<String>] {
        var out: [String: Set<String>] = [:]
        for row in try rows("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()", []) {
            out[row.text("table_name"), default: []].insert(row.text("column_name"))
        }
        return out
    }

    public func rows(_ sql: String, _ parameters: [Value]) throws -> [ForeignRow] { try connection.run(sql, parameters) }

    public func cursor(_ query: ForeignQuery, batch: Int) throws -> any ForeignCursor {
        let sql = "SELECT \(query.columns.joined(separator: ", ")) FROM \(query.table) WHERE \(query.condition)"
        _ = try connection.run("DECLARE foreign_rows NO SCROLL CURSOR FOR \(sql)", query.parameters)
        return FetchCursor(connection: connection, batch: batch)
    }

    /// `@unchecked Sendable`: as the protocol says, one call at a time.
    private final class FetchCursor: ForeignCursor, @unchecked Sendable {
        private let connection: PostgresConnection
        private let batch: Int
        private var isOpen = true

        init(connection: PostgresConnection, batch: Int) {
            self.connection = connection
            self.batch = batch
        }

        deinit { close() }

        func next() throws -> [ForeignRow] {
            guard isOpen else { return [] }
            let rows = try connection.run("FETCH \(batch) FROM foreign_rows")
            if rows.isEmpty { close() }
            return rows
        }

        private func close() {
            guard isOpen else { return }
            isOpen = false
            _ = try? connection.run("CLOSE foreign_rows")
        }
    }
}
