import CPostgres
import Contracts
import Foundation

/// A connection to a PostgreSQL server. Calls block; make them from `Blocking.run`.
///
/// `@unchecked Sendable`: libpq's connection is used by one call at a time, under the lock.
package final class PostgresConnection: @unchecked Sendable {
    /// Where it leads, without a password.
    package let name: String
    private let connection: OpaquePointer
    private let lock = NSLock()

    /// - Parameter url: `postgresql://user@host:port/database`; what is missing comes from the variables of libpq (PGPASSWORD, PGSSLMODE …).
    package init(url: String) throws(KeelError) {
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
        do { _ = try run("SET client_encoding = 'UTF8'") } catch { throw KeelError.wrapping(error) }
    }

    deinit { PQfinish(connection) }

    /// Runs one statement. `?` marks a parameter.
    @discardableResult
    package func run(_ sql: String, _ parameters: [Value] = []) throws -> [ForeignRow] {
        try lock.withLock {
            let texts = parameters.map { value -> UnsafeMutablePointer<CChar>? in value.isNull ? nil : strdup(value.description) }
            defer { for text in texts { free(text) } }
            let result = texts.map { UnsafePointer($0) }.withUnsafeBufferPointer {
                PQexecParams(connection, SQLDialect.postgres.marked(sql), Int32(parameters.count), nil, $0.baseAddress, nil, nil, 0)
            }
            defer { PQclear(result) }
            try check(result)
            return PostgresConnection.read(result)
        }
    }

    /// What PostgreSQL takes the parameters and the columns of a statement for: types by their numbers in its catalogue.
    package struct Prepared {
        package let parameters: [UInt32]
        package let columns: [UInt32]
    }

    /// Prepares a statement without running it.
    package func prepare(_ sql: String) throws -> Prepared {
        try lock.withLock {
            let prepared = PQprepare(connection, "", SQLDialect.postgres.marked(sql), 0, nil)
            defer { PQclear(prepared) }
            try check(prepared)
            let described = PQdescribePrepared(connection, "")
            defer { PQclear(described) }
            try check(described)
            return Prepared(
                parameters: (0..<PQnparams(described)).map { PQparamtype(described, $0) },
                columns: (0..<PQnfields(described)).map { PQftype(described, $0) })
        }
    }

    private func check(_ result: OpaquePointer?) throws {
        let status = PQresultStatus(result)
        guard status != PGRES_TUPLES_OK, status != PGRES_COMMAND_OK else { return }
        let lines = String(cString: PQerrorMessage(connection)).split(separator: "\n")
        throw KeelError(
            .unavailable, "PostgreSQL: \(lines.first ?? "the connection is gone")",
            hint: lines.first { $0.hasPrefix("HINT:") }.map { String($0.dropFirst(5).drop { $0 == " " }) })
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
