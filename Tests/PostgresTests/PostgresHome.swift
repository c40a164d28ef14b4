import Foundation
import Platform
import Storage

/// A PostgreSQL server that `scripts/check-sql` has started, with an empty schema for each test.
struct PostgresHome {
    static let url = ProcessInfo.processInfo.environment["KEEL_TEST_POSTGRES"]

    let connection: PostgresConnection

    init(schema: String) throws {
        guard let url = Self.url else { throw CocoaError(.featureUnsupported) }
        connection = try PostgresConnection(url: url)
        try connection.run("CREATE SCHEMA \(schema)")
        try connection.run("SET search_path TO \(schema)")
    }

    func apply(_ migrations: [Migration]) throws {
        try connection.run("BEGIN")
        for migration in migrations {
            for statement in migration.statements(for: .postgres) {
                do { try connection.run(statement) } catch {
                    throw Refusal(description: "\(migration.module) \(migration.version): \(error)\n\(statement)")
                }
            }
        }
        try connection.run("COMMIT")
    }

    /// The module that each table was created by.
    static func modules(of migrations: [Migration]) throws -> [String: String] {
        var out: [String: String] = [:]
        for migration in migrations {
            for statement in migration.statements(for: .postgres) {
                if let table = statement.firstMatch(of: /CREATE TABLE (\w+)/)?.1 { out[String(table)] = migration.module }
            }
        }
        return out
    }
}

/// A statement that PostgreSQL did not take.
struct Refusal: Error, CustomStringConvertible {
    let description: String
}

/// What is said of a table alike by both databases.
struct TableForm: Equatable {
    /// Name, type, whether it may be null, and what it is when it is not given.
    var columns: [String] = []
    var primaryKey = ""
    /// Foreign keys, other unique keys, and indexes.
    var others: Set<String> = []

    /// The tables of an SQLite database.
    static func all(in db: Reader) throws -> [String: TableForm] {
        var out: [String: TableForm] = [:]
        for table in try db.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'").map({ $0.text("name") })
        {
            var form = TableForm()
            let columns = try db.rows("SELECT * FROM pragma_table_info(?)", [.string(table)])
            for column in columns {
                // A key of SQLite's may be null, for reasons of its own; no key of Keel's ever is.
                let isRequired = column.bool("notnull") || column.int("pk") > 0
                let standard = column.optionalText("dflt_value").map { " DEFAULT \($0)" } ?? ""
                form.columns.append("\(column.text("name")) \(column.text("type"))\(isRequired ? " NOT NULL" : "")\(standard)")
            }
            form.primaryKey = columns.filter { $0.int("pk") > 0 }.sorted { $0.int("pk") < $1.int("pk") }.map { $0.text("name") }
                .joined(separator: ", ")
            form.others = try foreignKeys(of: table, db).union(indexes(of: table, db))
            out[table] = form
        }
        return out
    }

    private static func foreignKeys(of table: String, _ db: Reader) throws -> Set<String> {
        let rows = try db.rows("SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq", [.string(table)])
        return Set(
            Dictionary(grouping: rows) { $0.int("id") }.values.map { rows in
                func names(_ column: String) -> String { rows.map { $0.text(column) }.joined(separator: ", ") }
                func action(_ column: String) -> String {
                    let action = rows[0].text(column)
                    return action == "NO ACTION" ? "" : " ON \(column == "on_update" ? "UPDATE" : "DELETE") \(action)"
                }
                return
                    "FOREIGN KEY (\(names("from"))) REFERENCES \(rows[0].text("table"))(\(names("to")))\(action("on_update"))\(action("on_delete"))"
            })
    }

    private static func indexes(of table: String, _ db: Reader) throws -> Set<String> {
        let indexes = try db.rows("SELECT * FROM pragma_index_list(?) WHERE origin <> 'pk'", [.string(table)])
        return Set(
            try indexes.map { index in
                let rows = try db.rows("SELECT * FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno", [.string(index.text("name"))])
                let keys = rows.map { ($0.optionalText("name") ?? "an expression") + ($0.bool("desc") ? " DESC" : "") }
                return description(
                    index.text("origin") == "u" ? nil : index.text("name"), keys, isUnique: index.bool("unique"),
                    isPartial: index.bool("partial"))
            })
    }

    private static func description(_ name: String?, _ keys: [String], isUnique: Bool, isPartial: Bool) -> String {
        let kind = isUnique ? "UNIQUE" : "INDEX"
        return "\(kind) \(name ?? "constraint") (\(keys.joined(separator: ", ")))\(isPartial ? " WHERE …" : "")"
    }

    /// The tables of the schema that the connection uses.
    static func all(in connection: PostgresConnection) throws -> [String: TableForm] {
        var out: [String: TableForm] = [:]
        let columns = try connection.run(
            """
            SELECT c.relname::text AS "table", a.attname::text AS name, upper(format_type(a.atttypid, a.atttypmod)) AS type, a.attnotnull AS required,
                pg_get_expr(d.adbin, d.adrelid) AS standard
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname, a.attnum
            """)
        for column in columns {
            let standard = column.optionalText("standard").map { " DEFAULT \($0.prefix { $0 != ":" })" } ?? ""
            out[column.text("table"), default: TableForm()].columns.append(
                "\(column.text("name")) \(column.text("type"))\(column.bool("required") ? " NOT NULL" : "")\(standard)")
        }
        let constraints = try connection.run(
            """
            SELECT conrelid::regclass::text AS "table", contype::text AS kind, pg_get_constraintdef(oid) AS text
            FROM pg_constraint WHERE contype IN ('p', 'f') AND connamespace = current_schema()::regnamespace
            """)
        for constraint in constraints {
            let text = constraint.text("text")
            if constraint.text("kind") == "p" {
                out[constraint.text("table")]?.primaryKey = String(text.dropFirst("PRIMARY KEY (".count).dropLast()).replacing(
                    "\"", with: "")
            } else {
                out[constraint.text("table")]?.others.insert(text)
            }
        }
        let indexes = try connection.run(
            """
            SELECT i.indrelid::regclass::text AS "table", i.indexrelid::regclass::text AS name, i.indisunique AS is_unique,
                i.indpred IS NOT NULL AS is_partial, u.oid IS NOT NULL AS is_constraint,
                array_to_string(ARRAY(
                    SELECT CASE WHEN i.indkey[k] = 0 THEN 'an expression' ELSE pg_get_indexdef(i.indexrelid, k + 1, true) END
                        || CASE WHEN i.indoption[k] & 1 = 1 THEN ' DESC' ELSE '' END
                    FROM generate_series(0, i.indnkeyatts - 1) k ORDER BY k), ', ') AS keys
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid LEFT JOIN pg_constraint u ON u.conindid = i.indexrelid AND u.contype = 'u'
            WHERE NOT i.indisprimary AND c.relnamespace = current_schema()::regnamespace
            """)
        for index in indexes {
            out[index.text("table")]?.others.insert(
                description(
                    index.bool("is_constraint") ? nil : index.text("name"), [index.text("keys")], isUnique: index.bool("is_unique"),
                    isPartial: index.bool("is_partial")))
        }
        return out
    }
}
