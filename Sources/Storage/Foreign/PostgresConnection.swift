import CPostgres
import Contracts
import Foundation

/// A connection to a PostgreSQL server. Calls block; make them from `Blocking.run`.
///
/// `@unchecked Sendable`: libpq's connection is used by one call at a time, under the lock.
package final class PostgresConnection: @unchecked Sendable {
    /// Where it leads, without a password.
    package let name: String
    private let libpq: keel_libpq_api
    private let connection: keel_libpq_connection
    private let lock = NSLock()

    /// - Parameter url: `postgresql://user@host:port/database`; what is missing comes from the variables of libpq (PGPASSWORD, PGSSLMODE …).
    package init(url: String) throws(KeelError) {
        let libpq = try PostgresLibrary.shared.get().api
        guard let opened = libpq.connectdb(url) else { throw KeelError(.internal, "libpq is out of memory") }
        guard libpq.status(opened) == KEEL_LIBPQ_CONNECTION_OK else {
            let reason = PostgresConnection.text(libpq.errorMessage(opened)).split(separator: "\n").joined(separator: "; ")
            libpq.finish(opened)
            throw KeelError(
                .unavailable, "PostgreSQL refused the connection: \(reason)",
                hint: "postgresql://user@host:port/database, the password in PGPASSWORD")
        }
        self.libpq = libpq
        connection = opened
        let text = PostgresConnection.text
        name = "postgresql://\(text(libpq.host(opened))):\(text(libpq.port(opened)))/\(text(libpq.db(opened)))"
        do { _ = try run("SET client_encoding = 'UTF8'") } catch { throw KeelError.wrapping(error) }
    }

    deinit { libpq.finish(connection) }

    /// Runs one statement. `?` marks a parameter.
    @discardableResult
    package func run(_ sql: String, _ parameters: [Value] = []) throws -> [ForeignRow] {
        try lock.withLock {
            let texts = parameters.map { value -> UnsafeMutablePointer<CChar>? in value.isNull ? nil : strdup(value.description) }
            defer { for text in texts { free(text) } }
            let result = texts.map { UnsafePointer($0) }.withUnsafeBufferPointer {
                libpq.execParams(connection, SQLDialect.postgres.marked(sql), Int32(parameters.count), nil, $0.baseAddress, nil, nil, 0)
            }
            defer { libpq.clear(result) }
            try check(result)
            return read(result)
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
            let prepared = libpq.prepare(connection, "", SQLDialect.postgres.marked(sql), 0, nil)
            defer { libpq.clear(prepared) }
            try check(prepared)
            let described = libpq.describePrepared(connection, "")
            defer { libpq.clear(described) }
            try check(described)
            return Prepared(
                parameters: (0..<libpq.nparams(described)).map { libpq.paramtype(described, $0) },
                columns: (0..<libpq.nfields(described)).map { libpq.ftype(described, $0) })
        }
    }

    private func check(_ result: keel_libpq_result?) throws {
        let status = libpq.resultStatus(result)
        guard status != KEEL_LIBPQ_TUPLES_OK, status != KEEL_LIBPQ_COMMAND_OK else { return }
        let lines = PostgresConnection.text(libpq.errorMessage(connection)).split(separator: "\n")
        throw KeelError(
            .unavailable, "PostgreSQL: \(lines.first ?? "the connection is gone")",
            hint: lines.first { $0.hasPrefix("HINT:") }.map { String($0.dropFirst(5).drop { $0 == " " }) })
    }

    private func read(_ result: keel_libpq_result?) -> [ForeignRow] {
        let width = libpq.nfields(result)
        var places: [String: Int] = [:]
        for i in 0..<width { places[PostgresConnection.text(libpq.fname(result, i))] = Int(i) }
        let types = (0..<width).map { libpq.ftype(result, $0) }
        return (0..<libpq.ntuples(result)).map { row in
            ForeignRow(
                places: places,
                values: (0..<width).map { column in
                    libpq.getisnull(result, row, column) == 1
                        ? .null : PostgresConnection.value(PostgresConnection.text(libpq.getvalue(result, row, column)), types[Int(column)])
                })
        }
    }

    private static func text(_ value: UnsafeMutablePointer<CChar>?) -> String { value.map { String(cString: $0) } ?? "" }

    /// By the number of its type in PostgreSQL's catalogue, which is the same on every server.
    private static func value(_ text: String, _ type: UInt32) -> Value {
        switch type {
        case 16: .bool(text == "t")
        case 20, 21, 23: Int64(text).map(Value.int) ?? .string(text)
        case 700, 701, 1700: Double(text).map(Value.double) ?? .string(text)
        default: .string(text)
        }
    }
}
