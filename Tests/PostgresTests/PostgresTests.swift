import Contracts
import Foundation
import Platform
import Storage
import TestSupport
import Testing

/// What Keel writes for SQLite, held against a real PostgreSQL. `scripts/check-sql` runs this after all other tests, with the texts that they ran.
@Suite("SQL on PostgreSQL", .serialized, .enabled(if: PostgresHome.url != nil, "scripts/check-sql runs these, with a server"))
struct PostgresTests {
    private static let record = ProcessInfo.processInfo.environment["KEEL_SQL_TEXTS"] ?? ""
    /// Read by `scripts/check-sql`, which fails when a line is missing: no test can be left out unseen.
    private static let report = ProcessInfo.processInfo.environment["KEEL_SQL_REPORT"] ?? ""

    /// How many texts each module with tables must at least have run.
    private static let textsMin = [
        "ledger": 15, "governance": 14, "data": 14, "tracking": 800, "tracking.imports": 2, "registry": 60, "registry.imports": 2,
        "pipelines": 18, "serving": 22, "monitoring": 6,
    ]

    private static func report(_ line: String) throws {
        let file = try #require(FileHandle(forWritingAtPath: report), "KEEL_SQL_REPORT names no file")
        try file.seekToEnd()
        try file.write(contentsOf: Data((line + "\n").utf8))
        try file.close()
    }

    private func sqlite(_ migrations: [[Migration]]) async throws -> [String: TableForm] {
        let folder = NSTemporaryDirectory() + "keel-sql-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        for part in migrations { try await database.migrate(part, backupFolder: folder + "/backups") }
        return try await database.read { try TableForm.all(in: $0) }
    }

    private func expectAlike(_ sqlite: [String: TableForm], _ postgres: [String: TableForm]) {
        #expect(Set(sqlite.keys) == Set(postgres.keys))
        for (table, form) in sqlite {
            guard let other = postgres[table] else { continue }
            // The number of a row is of a type of SQLite's own (`SQLDialect.rowNumber`).
            let columns = form.columns.map { form.primaryKey == "seq" && $0 == "seq INTEGER NOT NULL" ? "seq BIGINT NOT NULL" : $0 }
            #expect(columns == other.columns, "columns of \(table)")
            #expect(form.primaryKey == other.primaryKey, "primary key of \(table)")
            #expect(form.others == other.others, "keys and indexes of \(table)")
        }
    }

    @Test("the tables of every module are alike on both databases")
    func schema() async throws {
        let home = try PostgresHome(schema: "modules")
        try home.apply(Platform.migrations)
        var sqlite = try await sqlite([Platform.migrations])
        // SQLite's own list of what was applied; PostgreSQL's comes with the engine.
        sqlite["keel_migrations"] = nil
        expectAlike(sqlite, try TableForm.all(in: home.connection))
        let modules = Set(try PostgresHome.modules(of: Platform.migrations).values)
        #expect(modules == Set(Self.textsMin.keys), "a module is not known here")
        try Self.report("schema: \(sqlite.count) tables of \(modules.count) modules")
    }

    @Test("a table that is rebuilt is alike on both, and keeps its rows and the references to it")
    func rebuilt() async throws {
        let columns: [RebuiltColumn] = [.init("size BIGINT NOT NULL", from: "length(room)")]
        for (i, steps) in [[Library.shelves(more: columns, clustered: true)], Library.keyed].enumerated() {
            let home = try PostgresHome(schema: "rebuilt_\(i)")
            let second = Migration(module: "library", version: 2, steps)
            try home.apply([Library.first])
            try home.apply([second])
            var sqlite = try await sqlite([[Library.first], [Library.first, second]])
            sqlite["keel_migrations"] = nil
            expectAlike(sqlite, try TableForm.all(in: home.connection))
            let names = try home.connection.run(
                "SELECT conname::text AS name FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND conname LIKE '%rebuilt%'"
            )
            #expect(names.map { $0.text("name") } == [])
            #expect(throws: KeelError.self) { try home.connection.run("DELETE FROM shelves WHERE name = 'a'") }
            try home.connection.run("UPDATE shelves SET name = 'c' WHERE name = 'a'")
            #expect(try home.connection.run("SELECT above FROM shelves WHERE name = 'b'").first?.text("above") == "c")
            let pages = try home.connection.run("SELECT shelf, page FROM pages ORDER BY shelf, page")
            #expect(pages.map { "\($0.text("shelf"))\($0.int("page"))" } == ["b1", "c1", "c2"])
        }
        try Self.report("rebuilt: a referenced table and three with a wider key")
    }

    @Test("every SQL text that the tests ran can be prepared, with the values that it had")
    func texts() throws {
        let home = try PostgresHome(schema: "texts")
        try home.apply(Platform.migrations)
        let modules = try PostgresHome.modules(of: Platform.migrations)
        let forms = try TableForm.all(in: home.connection)
        let texts = try SQLTexts(record: Self.record)
        var counts: [String: Int] = [:]
        var named: Set<String> = []
        var refusals: [String: String] = [:]
        for entry in texts.entries where !SQLDialect.sqliteOnly.contains(entry.sql) && !texts.isOfTests(entry.sql) {
            let sql = entry.sql.replacing(SQLDialect.sqlite.explain, with: "", maxReplacements: 1)
            let tables = SQLTexts.tables(in: sql, of: modules)
            let module = tables.sorted().first.flatMap { modules[$0] } ?? "no module"
            guard let refusal = Self.refusal(of: sql, entry.kinds, home.connection, tables.compactMap { forms[$0] }) else {
                counts[module, default: 0] += 1
                named.formUnion(tables)
                continue
            }
            let shape = SQLTexts.shape(sql)
            refusals[shape] = "\(module): \(refusal)\n    \(shape)"
        }
        for refusal in refusals.values.sorted() { Issue.record(Comment(rawValue: refusal)) }
        for (module, least) in Self.textsMin {
            #expect(counts[module, default: 0] >= least, "the tests ran too few texts of \(module) to say that it works on PostgreSQL")
        }
        let silent = Set(forms.keys).subtracting(named)
        #expect(silent == [], "no test runs a text on these tables")
        try Self.report("texts: \(counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
    }

    /// Tables with a row for each request, measurement or event: whoever reads one of them whole gets slower with every day of use.
    private static let growing: Set<String> = [
        "predictions", "early_labels", "ledger", "tracking_runs", "tracking_metrics", "tracking_points", "tracking_params", "tracking_tags",
        "tracking_latest_metrics",
    ]

    /// Texts that are meant to read all of it, each with the reason, and those that tests make of parts.
    private static let wholeReads = [
        "SELECT * FROM ledger ORDER BY seq": "the whole chain is verified",
        "SELECT DISTINCT workspace, endpoint, label_type FROM predictions WHERE label_pending IS NOT NULL": "the index has the labels that wait, and no others",
        "SELECT DISTINCT run_id FROM tracking_latest_metrics": "a test", "SELECT DISTINCT run_id FROM tracking_params": "a test",
        "SELECT DISTINCT run_id FROM tracking_tags": "a test", "SELECT series FROM tracking_points": "a test",
        "SELECT endpoint AS name FROM predictions WHERE workspace = 'default' ORDER BY endpoint": "a test",
    ]

    @Test("what reads a table that grows with use finds its rows by an index")
    func plans() async throws {
        let folder = NSTemporaryDirectory() + "keel-plans-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(Platform.migrations, backupFolder: folder + "/backups")
        let texts = try SQLTexts(record: Self.record)
        let entries = texts.entries.filter { !SQLDialect.sqliteOnly.contains($0.sql) && !texts.isOfTests($0.sql) && !$0.sql.hasPrefix(SQLDialect.sqlite.explain) }
        let found: [String: String] = try await database.read(in: .default) { db in
            var found: [String: String] = [:]
            for entry in entries {
                let plan = try db.rows(SQLDialect.sqlite.explain + entry.sql, entry.kinds.map { _ in .null }).map { $0.text("detail") }
                guard Self.wholeReads[SQLTexts.oneLine(entry.sql)] == nil, let line = Self.wholeRead(entry.sql, plan) else { continue }
                found[SQLTexts.shape(entry.sql)] = line
            }
            return found
        }
        for (sql, line) in found.sorted(by: { $0.key < $1.key }) { Issue.record(Comment(rawValue: "\(line)\n    \(sql)")) }
        try Self.report("plans: \(Set(entries.map { SQLTexts.shape($0.sql) }).count) texts")
    }

    /// The step of a plan that reads all that a workspace, or all workspaces, have of a growing table; nil when none does.
    ///
    /// A step that walks an index in the order that is asked for and stops at a `LIMIT` does not: it is how pages are read.
    private static func wholeRead(_ sql: String, _ plan: [String]) -> String? {
        let line = SQLTexts.oneLine(sql)
        var names: [String: String] = [:]
        for match in line.matches(of: /\b(?:FROM|JOIN|UPDATE|INTO|,) ([a-z_]+)(?: (?:AS )?([a-z]\w*))?/) {
            names[String(match.1)] = String(match.1)
            if let alias = match.2 { names[String(alias)] = String(match.1) }
        }
        let isPage = line.contains("LIMIT") && !plan.contains { $0.hasPrefix("USE TEMP B-TREE FOR ORDER BY") }
        return plan.first { step in
            let words = step.split(separator: " ")
            guard words.count > 1, let table = names[String(words[1])], growing.contains(table), !isPage else { return false }
            if words[0] == "SCAN" { return true }
            guard words[0] == "SEARCH", let condition = step.firstMatch(of: /\((.*)\)$/)?.1 else { return false }
            return condition == "workspace=?"
        }
    }

    /// Why PostgreSQL would not answer as SQLite does; nil when it would.
    private static func refusal(of sql: String, _ kinds: String, _ connection: PostgresConnection, _ forms: [TableForm]) -> String? {
        let prepared: PostgresConnection.Prepared
        do { prepared = try connection.prepare(sql) } catch { return "\(error)" }
        guard prepared.parameters.count == kinds.count else { return "\(kinds.count) values for \(prepared.parameters.count) parameters" }
        for (i, kind) in kinds.enumerated() {
            guard let types = taken[kind], !types.contains(prepared.parameters[i]) else { continue }
            return "parameter \(i + 1) is given as '\(kind)' (SQLRecord), which its type, number \(prepared.parameters[i]), does not take"
        }
        // SQLite answers with a whole number where PostgreSQL has a boolean, and for the sum of whole numbers.
        if prepared.columns.contains(16) { return "a column of the answer is a boolean; write CASE WHEN … THEN 1 ELSE 0 END" }
        if prepared.columns.contains(1700) { return "a column of the answer is a NUMERIC; write CAST(sum(…) AS BIGINT), or CAST(0 AS DOUBLE PRECISION) for 0.0" }
        return unstatedOrder(in: sql, forms).map {
            "nulls of \($0) come first on one database and last on the other; write NULLS FIRST or NULLS LAST"
        }
    }

    /// The types that a kind of value can be given to: by their numbers in PostgreSQL's catalogue.
    private static let taken: [Character: Set<UInt32>] = [
        "i": [20, 21, 23, 700, 701, 1700], "d": [700, 701, 1700], "s": [25, 1042, 1043], "b": [17],
    ]

    /// A column that may be null and that the text orders by, unless it asks for rows without nulls there.
    private static func unstatedOrder(in sql: String, _ forms: [TableForm]) -> String? {
        let nullable = Set(forms.flatMap(\.columns).filter { !$0.contains(" NOT NULL") }.map { $0.prefix { $0 != " " } })
        for match in sql.matches(of: /ORDER BY ((?:[\w.]+(?: ASC| DESC)?(?: NULLS FIRST| NULLS LAST)?(?:, )?)+)/) {
            for key in match.1.split(separator: ", ") where !key.contains("NULLS") {
                guard let name = key.split(separator: " ").first?.split(separator: ".").last, nullable.contains(name) else { continue }
                if !sql.contains("\(name) IS NOT NULL") { return String(name) }
            }
        }
        return nil
    }
}
