import Contracts
import Engines
import Foundation
import Serving
import Storage
import TestSupport
import Testing

/// The prediction log in Parquet files, and SQL over it.
@Suite struct PredictionExportTests {
    /// A home with an exporter and SQL over it; both begin anew with each `Lake`, as after a restart.
    private struct Lake {
        let home: Home
        let exporter: PredictionExporter
        let sql: PredictionSQL
        let damage = DamageRegister()
        let folder: String

        init(_ home: Home, rowsMax: Int = 5000, filesMin: Int = 16, keepTime: TimeSpan = .hours(6)) throws {
            self.home = home
            folder = home.folder + "/lake"
            for name in ["/lake", "/work"] { try FileManager.default.createDirectory(atPath: home.folder + name, withIntermediateDirectories: true) }
            let duckdb = DuckDB(openedAtFirstUse: .init(folders: [folder, home.folder + "/work"]))
            exporter = PredictionExporter(
                database: home.database, objects: home.objects, lake: folder, duckdb: duckdb, damage: damage, rowsMax: rowsMax, filesMin: filesMin,
                keepTime: keepTime)
            sql = PredictionSQL(database: home.database, exporter: exporter, duckdb: duckdb, work: home.folder + "/work")
        }

        func ask(_ text: String, limits: QueryLimits = QueryLimits(), _ grant: Grant = Home.reader) async throws -> [String] {
            try await sql.query(text, limits: limits, grant)["rows"]?.array?.map(\.text) ?? []
        }

        /// The files in the lake, as paths below it.
        var files: Set<String> {
            let all = FileManager.default.subpaths(atPath: folder) ?? []
            return Set(all.filter { $0.hasSuffix(".parquet") || $0.hasSuffix(".tmp") })
        }

        func refused(_ text: String, limits: QueryLimits = QueryLimits(), _ grant: Grant = Home.reader) async throws -> KeelError {
            try await #require(throws: KeelError.self, "\(text) was answered") { try await sql.query(text, limits: limits, grant) }
        }
    }

    private static func home() async throws -> Home {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        return home
    }

    private func put(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

    @Test("every prediction is in the answer once, whether it is in the lake, in the table, or half of each, and so is its label")
    func complete() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home, rowsMax: 7)
        try await home.ask(20)
        let question = "SELECT count(*), count(DISTINCT id), sum(x), count(label), sum(label), min(model), min(version) FROM delay"
        let expected = [#"[20,20,9.0,0,null,"delay","0.2"]"#]
        #expect(try await lake.ask(question) == expected)
        // Full files are written at once, the rest waits.
        await lake.exporter.export(waited: .seconds(300))
        #expect(lake.files.count == 2)
        #expect(try await lake.ask(question) == expected)
        await lake.exporter.export()
        #expect(lake.files.count == 3)
        #expect(try await lake.ask(question) == expected)
        _ = try await home.runtime.label((0..<10).map { LabelInput(id: "p\($0)", value: 1) }, Home.labeller)
        let labelled = [#"[20,20,9.0,10,10,"delay","0.2"]"#]
        #expect(try await lake.ask(question) == labelled)
        await lake.exporter.export()
        #expect(try await lake.ask(question) == labelled)
        // A later label takes the place of one that is in a file.
        _ = try await home.runtime.label([LabelInput(id: "p3", value: 5)], Home.labeller)
        #expect(try await lake.ask("SELECT label FROM delay WHERE id = 'p3'") == ["[5]"])
        await lake.exporter.export()
        #expect(try await lake.ask("SELECT label FROM delay WHERE id = 'p3'") == ["[5]"])
        try await home.ask(5, from: 20)
        #expect(try await lake.ask("SELECT count(*), count(DISTINCT id), count(label) FROM delay") == ["[25,25,10]"])
        for file in try await lake.exporter.allFiles() { try await lake.exporter.verify(file) }
        #expect(lake.damage.all.isEmpty)
        await home.stop()
    }

    @Test("labels have the type they were posted with, in the lake and in answers; of several types the column has one that takes them all")
    func typedLabels() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        try await home.ask(6)
        // The predictions are in a file before their labels come.
        await lake.exporter.export()
        func label(_ id: String, _ label: Label) async throws {
            #expect(try await home.runtime.label([LabelInput(id: id, value: label)], Home.labeller).joined == 1)
        }
        func labels() async throws -> String {
            let answer = try await lake.sql.query("SELECT id, label FROM delay WHERE label IS NOT NULL ORDER BY id", Home.reader)
            let type = answer["columns"]?[1]?["type"]?.string ?? ""
            return ([type] + (answer["rows"]?.array ?? []).map(\.text)).joined(separator: " ")
        }
        let steps: [(id: String, label: Label, expected: String)] = [
            ("p0", true, #"bool ["p0",true]"#),
            ("p1", 9_007_199_254_740_993, #"int64 ["p0",1] ["p1",9007199254740993]"#),
            ("p1", 3, #"int64 ["p0",1] ["p1",3]"#),
            ("p2", 0.25, #"float64 ["p0",1.0] ["p1",3.0] ["p2",0.25]"#),
            ("p3", "on time", #"string ["p0","true"] ["p1","3"] ["p2","0.25"] ["p3","on time"]"#),
            // A later label of another type takes the place of the one before.
            ("p0", "late", #"string ["p0","late"] ["p1","3"] ["p2","0.25"] ["p3","on time"]"#),
        ]
        for (id, value, expected) in steps {
            try await label(id, value)
            #expect(try await labels() == expected, "not in the lake yet")
            await lake.exporter.export()
            #expect(try await labels() == expected, "in the lake")
        }
        // Each file holds labels of one type, as such.
        let types = try lake.files.filter { !$0.hasPrefix("predictions/delay/1-") }.map { path in
            let table = try DuckDB(settings: .init(folders: [lake.folder])).connect().query("SELECT label FROM '\(lake.folder)/\(path)'")
            return table.columns[0].type.description
        }
        #expect(types.sorted() == ["bool", "float64", "int64", "int64", "string", "string"])
        #expect(lake.damage.all.isEmpty)
        await home.stop()
    }

    @Test("a label that changes while it is being written is written again")
    func labelDuringExport() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        try await home.ask(50)
        var posted: [String: Int64] = [:]
        let exporting = Task { while !Task.isCancelled { await lake.exporter.export() } }
        var random = Seeded(11)
        for round in 0..<40 {
            let ids = (0..<5).map { _ in "p\(random.next() % 50)" }
            for id in ids { posted[id] = Int64(round) }
            _ = try await home.runtime.label(ids.map { LabelInput(id: $0, value: .integer(Int64(round))) }, Home.labeller)
        }
        exporting.cancel()
        await exporting.value
        await lake.exporter.export()
        let pending = try await home.database.read { try $0.row("SELECT count(*) AS n FROM predictions WHERE label_pending IS NOT NULL")?.int("n") }
        #expect(pending == 0 && lake.damage.all.isEmpty, "\(lake.damage.all)")
        let expected = posted.sorted { $0.key < $1.key }.map { "[\"\($0.key)\",\($0.value)]" }
        #expect(try await lake.ask("SELECT id, label FROM delay WHERE label IS NOT NULL ORDER BY id") == expected)
        await home.stop()
    }

    @Test("a crash at any step of an export loses no row, writes none twice and leaves no file")
    func crashes() async throws {
        let home = try await PredictionExportTests.home()
        try await home.ask(10)
        let first = try Lake(home)
        await first.exporter.export()
        let known = first.files
        try await home.ask(10, from: 10)
        // Killed while the file was written; killed after it got its name.
        let folder = first.folder + "/predictions/delay"
        for name in ["part-00.tmp", "2-0123456789ab.parquet"] { try put([1, 2], "\(folder)/\(name)") }
        let second = try Lake(home)
        try await second.exporter.start()
        #expect(second.files == known)
        await second.exporter.export()
        #expect(try await second.ask("SELECT count(*), count(DISTINCT id) FROM delay") == ["[20,20]"])
        // Nothing is left to do.
        await second.exporter.export()
        #expect(second.files.count == 2 && second.damage.all.isEmpty)
        await home.stop()
    }

    @Test("many small files become one with the same rows and labels, and the others go when nobody can be reading them")
    func compacted() async throws {
        let home = try await PredictionExportTests.home()
        let first = try Lake(home, rowsMax: 3, filesMin: 4)
        try await home.ask(30)
        let whole = "SELECT * FROM delay ORDER BY id"
        _ = try await home.runtime.label((0..<30).map { LabelInput(id: "p\($0)", value: .integer(Int64($0))) }, Home.labeller)
        // Labels of the second round take the place of those of the first, in whichever file they are.
        let before = try await first.ask(whole)
        await first.exporter.export()
        _ = try await home.runtime.label((0..<15).map { LabelInput(id: "p\($0)", value: .integer(100)) }, Home.labeller)
        let changed = try await first.ask(whole)
        await first.exporter.export()
        #expect(before.count == 30 && changed.count == 30 && changed != before)
        #expect(try await first.ask(whole) == changed)
        let files = try await first.exporter.allFiles()
        // Of 25 files that were written, those that are read: the rest are kept for whoever reads them now.
        #expect(files.count < 8 && first.files.count > 25, "\(files.count) of \(first.files.count)")
        #expect(files.reduce(0) { $0 + $1.rows } == 75)
        for file in files { try await first.exporter.verify(file) }
        // A start knows them, and a crash before the new file was noted leaves nothing.
        let numbers = files.map(\.number)
        try put([1, 2], "\(first.folder)/predictions/delay/\((numbers.max() ?? 0) + 1)-0123456789ab.parquet")
        let second = try Lake(home, rowsMax: 3, filesMin: 4, keepTime: .hours(0))
        try await second.exporter.start()
        #expect(second.files == first.files.filter { !$0.hasSuffix("0123456789ab.parquet") } && second.damage.all.isEmpty)
        await second.exporter.export()
        let left = try await second.exporter.allFiles()
        #expect(second.files == Set(left.map(\.path)))
        #expect(try await second.ask(whole) == changed)
        // Nothing is left to do, and one that was deleted before the database forgot it is no damage.
        await second.exporter.export()
        #expect(second.files == Set(left.map(\.path)) && second.damage.all.isEmpty && first.damage.all.isEmpty)
        try await home.ask(3, from: 30)
        await second.exporter.export()
        #expect(try await second.ask("SELECT count(*), count(DISTINCT id) FROM delay") == ["[33,33]"])
        await home.stop()
    }

    @Test("files of other columns, and files that are damaged, are not put together")
    func notCompacted() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home, rowsMax: 3, filesMin: 4)
        try await home.ask(9)
        await lake.exporter.export()
        #expect(lake.files.count == 3)
        let path = "\(lake.folder)/\(lake.files.sorted()[0])"
        let bytes = try #require(FileManager.default.contents(atPath: path))
        try Data(bytes.dropLast() + [bytes.last.map { $0 ^ 1 } ?? 0]).write(to: URL(fileURLWithPath: path))
        try await home.ask(6, from: 9)
        // Begun anew, it has not seen the file whole.
        let again = try Lake(home, rowsMax: 3, filesMin: 4)
        await again.exporter.export()
        #expect(again.files.count == 5 && again.damage.all.map(\.subject) == ["Endpoint/delay"])
        #expect(try await again.exporter.allFiles().count == 5)
        try bytes.write(to: URL(fileURLWithPath: path))
        await again.exporter.export()
        #expect(try await again.exporter.allFiles().count == 1)
        await home.stop()
    }

    @Test("files that a newer database knew are left alone and reported")
    func olderDatabase() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        let folder = lake.folder + "/predictions/delay"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in ["1-aa.parquet", "2-bb.parquet"] { try put([1], "\(folder)/\(name)") }
        try await lake.exporter.start()
        #expect(lake.files.count == 2)
        #expect(lake.damage.all.map(\.subject) == ["Endpoint/delay"])
        await home.stop()
    }

    @Test("the export of one endpoint fails, that of the other goes on; a damaged file is named")
    func damaged() async throws {
        let home = try await PredictionExportTests.home()
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        try await home.release(0.3, 0.7, to: .staging)
        let lake = try Lake(home)
        try await home.ask(3)
        _ = try await home.runtime.infer(endpoint: .staging, request: Home.request([0, 1]), ids: ["s0", "s1"])
        try await home.runtime.flush()
        // A file stands where the folder of the endpoint is to be.
        try FileManager.default.createDirectory(atPath: lake.folder + "/predictions", withIntermediateDirectories: true)
        try put([], lake.folder + "/predictions/delay")
        await lake.exporter.export()
        #expect(lake.damage.all.map(\.subject) == ["Endpoint/delay"])
        #expect(lake.files.map { $0.hasPrefix("predictions/delay@staging/") } == [true])
        #expect(try await lake.ask(#"SELECT count(*) FROM "delay@staging""#) == ["[2]"])
        #expect(try await lake.ask("SELECT count(*) FROM delay") == ["[3]"])
        try FileManager.default.removeItem(atPath: lake.folder + "/predictions/delay")
        await lake.exporter.export()
        let path = lake.folder + "/" + (try #require(lake.files.first { $0.hasPrefix("predictions/delay/") }))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try await lake.refused("SELECT * FROM delay").code == .corrupted)
        #expect(try await lake.ask(#"SELECT count(*) FROM "delay@staging""#) == ["[2]"])
        await home.stop()
    }

    @Test("whatever is predicted, repeated, labelled and exported in whichever order: each row is in one file, once")
    func inTurn() async throws {
        let home = try await PredictionExportTests.home()
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        try await home.release(0.3, 0.7, to: .staging)
        let lake = try Lake(home, rowsMax: 7)
        var random = Seeded(23)
        var asked: [ResourceRef: Set<String>] = [.delay: [], .staging: []]
        for _ in 0..<150 {
            let endpoint: ResourceRef = Bool.random(using: &random) ? .delay : .staging
            // Some ids are of rows that are logged already, or come twice.
            let ids = (0..<Int.random(in: 1...3, using: &random)).map { _ in "p\(Int.random(in: 0..<400, using: &random))" }
            _ = try await home.runtime.infer(endpoint: endpoint, request: Home.request(ids.map { _ in 0.5 }), ids: ids)
            asked[endpoint]?.formUnion(ids)
            switch Int.random(in: 0..<12, using: &random) {
            case 0: await lake.exporter.export()
            case 1: await lake.exporter.export(waited: .seconds(300))
            case 2: _ = try await home.runtime.label([LabelInput(id: ids[0], value: 1)], Home.labeller)
            case 3: try await home.runtime.flush()
            default: break
            }
        }
        try await home.runtime.flush()
        for isExported in [false, true] {
            if isExported { await lake.exporter.export() }
            for (endpoint, ids) in asked {
                let answer = try await lake.ask("SELECT count(*), count(DISTINCT id) FROM \"\(endpoint.qualifiedName)\"")
                #expect(answer == ["[\(ids.count),\(ids.count)]"], "exported: \(isExported)")
            }
        }
        #expect(try await home.database.read { try $0.rows("SELECT * FROM unexported_predictions").isEmpty })
        let rows = try await home.database.read { try $0.row("SELECT sum(rows) AS n FROM prediction_files WHERE holds = 'rows'")?.int("n") }
        #expect(rows == Int64(asked.values.reduce(0) { $0 + $1.count }) && lake.damage.all.isEmpty)
        await home.stop()
    }

    @Test("in a home from before rows had numbers, what was in files stays there, and what was in none is exported once")
    func withoutNumbers() async throws {
        let folder = NSTemporaryDirectory() + "keel-serving-unnumbered-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + ServingTables.migrations.filter { $0.version <= 9 }, backupFolder: folder + "/backups")
        let inputs = PackedRow([.double(0.5)]).bytes
        let outputs = PackedRow([.double(0.25)]).bytes
        try await database.write { tx in
            for i in 0..<10 {
                try tx.execute(
                    """
                    INSERT INTO predictions (workspace, id, endpoint, release_number, event_time, at, shadow, score, inputs, outputs, request, latency_ns, part)
                    VALUES ('default', ?, 'delay', 1, ?, 1, 0, 0.25, ?, ?, '{}', 1, ?)
                    """, [.string("p\(i)"), .int(Int64(100 - i)), .bytes(inputs), .bytes(outputs), i % 3 == 0 ? .null : .int(1)])
            }
            try tx.execute("UPDATE predictions SET label = 1, label_type = 'float64', label_at = 5, label_pending = 1 WHERE id = 'p4'")
        }
        try await database.close()
        let home = try await Home(at: folder)
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let lake = try Lake(home)
        let stored = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(stored.map(\.id) == (0..<10).reversed().map { "p\($0)" } && stored.allSatisfy { $0.inputs == [0.5] && $0.outputs == [0.25] })
        #expect(stored.filter { $0.label == 1.0 }.map(\.id) == ["p4"])
        try await home.ask(1, from: 20)
        let expected = ["p0", "p20", "p3", "p6", "p9"].map { "[\"\($0)\"]" }
        #expect(try await lake.ask("SELECT id FROM delay ORDER BY id") == expected)
        await lake.exporter.export()
        #expect(try await lake.ask("SELECT id FROM delay ORDER BY id") == expected)
        #expect(try await home.database.read { try $0.rows("SELECT * FROM unexported_predictions").isEmpty } && lake.damage.all.isEmpty)
        await home.stop()
    }

    @Test("rows of a version before inputs had types are exported like all others")
    func oldRows() async throws {
        let home = try await PredictionExportTests.home()
        try await home.ask(1)
        try await home.database.write { tx in
            for i in 0..<3 {
                let inputs = withUnsafeBytes(of: Float(i).bitPattern.littleEndian) { Array($0) }
                try tx.execute(
                    """
                    INSERT INTO predictions (seq, workspace, id, endpoint, release_number, event_time, at, shadow, score, inputs, outputs, request, latency_ns,
                    label, label_at, label_pending) VALUES (?, 'default', ?, 'delay', 1, 1, 1, 0, 0.5, ?, NULL, '{}', 1, 1, 2, 1)
                    """, [.int(Int64(100 + i)), .string("old\(i)"), .bytes(inputs)])
            }
            try tx.execute("INSERT INTO unexported_predictions (workspace, endpoint, release_number, first_seq, last_seq) VALUES ('default', 'delay', 1, 100, 102)")
        }
        let lake = try Lake(home)
        await lake.exporter.export()
        // Their labels are numbers.
        #expect(try await lake.ask("SELECT count(*), sum(x), sum(output_score), sum(label) FROM delay WHERE id LIKE 'old%'") == ["[3,3.0,1.5,3.0]"])
        #expect(lake.damage.all.isEmpty)
        await home.stop()
    }

    // MARK: SQL

    @Test("a query is one SELECT over the endpoints that the caller may read, and reads nothing else")
    func lockedDown() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        try await home.ask(3)
        await lake.exporter.export()
        let own = lake.folder + "/" + (try #require(lake.files.first))
        let refused = [
            "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_parquet('\(own)')", "SELECT * FROM '\(own)'", "SELECT * FROM glob('/etc/*')", "SELECT * FROM sniff_csv('/etc/passwd')",
            "SELECT * FROM parquet_metadata('\(own)')", "SELECT * FROM duckdb_settings()", "SELECT * FROM information_schema.tables",
            "SELECT * FROM sqlite_master", "SELECT * FROM pg_catalog.pg_tables", "SELECT current_setting('allowed_paths')",
            "SELECT main.current_setting('allowed_paths')", "SELECT getenv('HOME')", "SELECT * FROM query('SELECT 1')",
            "SELECT * FROM query_table('delay')", "SELECT (SELECT content FROM read_text('/etc/passwd'))",
            "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x", "SELECT * FROM delay WHERE EXISTS (FROM read_blob('/etc/passwd'))",
            "COPY delay TO '\(lake.folder)/out.csv'", "COPY (SELECT 1) TO '/tmp/keel-query-out'", "INSTALL httpfs", "LOAD httpfs", "ATTACH '/tmp/x.db'",
            "PRAGMA database_list", "SET memory_limit = '10GB'", "RESET ALL", "CREATE TABLE t (a INT)", "DROP VIEW delay", "INSERT INTO delay VALUES (1)",
            "SELECT 1; SELECT 2", "SELECT 1; DROP VIEW delay", "EXPORT DATABASE '/tmp/x'", "CALL pragma_version()", "PREPARE p AS SELECT 1", "EXECUTE p",
            "SELECT $1", "SELECT ?", "", "  ", "-- nothing", "SELECT", "SHOW TABLES", "DESCRIBE delay", "SELECT * FROM temp.delay",
            "SELECT * FROM \"delay\"\" ; DROP VIEW delay; --\"", "EXPLAIN SELECT 1", "VACUUM", "CHECKPOINT", "SELECT * FROM json_execute_serialized_sql('x')",
            "SELECT * FROM other", "SELECT * FROM delay@staging", "SELECT json_serialize_plan('SELECT 1')", "PIVOT '/etc/passwd' ON column0",
            // A name that WITH gives inside is the engine's own view outside, whose definitions tell where files lie.
            "SELECT sql FROM (WITH duckdb_views AS (SELECT 1 AS sql) SELECT * FROM duckdb_views), duckdb_views",
            "WITH a AS (SELECT * FROM pg_views), pg_views AS (SELECT 1) SELECT * FROM a",
        ]
        for text in refused {
            let error = try await lake.refused(text)
            #expect(error.code == .invalidArgument || error.code == .notFound, "\(text): \(error)")
            #expect(!error.message.contains(home.folder), "\(text): \(error)")
        }
        #expect(lake.files.count == 1)
        #expect(try await lake.ask("SELECT id FROM DELAY AS d WHERE x >= (SELECT max(x) FROM delay)") == [#"["p2"]"#])
        #expect(try await lake.ask("WITH t AS (SELECT id FROM delay) SELECT count(*) FROM t JOIN range(2) ON true") == ["[6]"])
        #expect(try await lake.ask("SELECT delay.id FROM delay WHERE(delay.x=0.1)--of delay") == [#"["p1"]"#])
        #expect(try await lake.ask("SELECT count(*) FROM delay--") == ["[3]"])
        #expect(try await lake.ask("SELECT id -- a comment at the end\nFROM delay ORDER BY id DESC LIMIT 1;") == [#"["p2"]"#])
        // What it needed while it ran is gone.
        #expect(try FileManager.default.contentsOfDirectory(atPath: home.folder + "/work").isEmpty)
        await home.stop()
    }

    @Test("an endpoint that the caller may not read is not there for it, nor are those of other workspaces")
    func perCaller() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        try await home.ask(3)
        let other = try Grant.check(Caller(name: "eve", persona: .owner, workspace: try WorkspaceID("fraud")), may: .predictionsRead)
        let error = try await lake.refused("SELECT * FROM delay", other)
        #expect(error.code == .notFound && error.hint == "there are: none")
        await lake.exporter.export()
        #expect(try await lake.refused("SELECT * FROM delay", other).code == .notFound)
        // A role that gives only what is in staging gives only the table of staging.
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        try await home.release(0.3, 0.7, to: .staging)
        _ = try await home.runtime.infer(endpoint: .staging, request: Home.request([0, 1]), ids: ["s0", "s1"])
        try await home.runtime.flush()
        let staging = Permission([.predictionsRead], in: PermissionScope(environments: [.staging]), from: "RoleBinding/staging")
        let tester = try Grant.check(Caller(name: "tim", persona: .member, permissions: [staging]), may: .predictionsRead)
        #expect(try await lake.ask(#"SELECT count(*) FROM "delay@staging""#, tester) == ["[2]"])
        let refused = try await lake.refused("SELECT * FROM delay", tester)
        #expect(refused.code == .notFound && refused.hint == #"there are: "delay@staging""#)
        #expect(try await lake.refused(#"SELECT * FROM "delay@staging" JOIN delay USING (x)"#, tester).code == .notFound)
        await home.stop()
    }

    @Test("columns of every type that a query can make are answered, or refused with what to cast")
    func types() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        let sql = """
            SELECT true AS a, 1::TINYINT AS b, 170141183460469231::HUGEINT AS c, 1.5::DECIMAL(9, 2) AS d, DATE '2026-01-02' AS e,
            TIMESTAMP '2026-01-02 03:04:05' AS f, [1, NULL] AS g, 'é"' AS h, NULL AS i, 'nan'::DOUBLE AS j, '\\xFF'::BLOB AS k
            """
        let row = try #require(try await lake.ask(sql).first)
        #expect(row == #"[true,1,170141183460469231,1.5,"2026-01-02","2026-01-02T03:04:05Z",[1,null],"é\"",null,null,"ff"]"#)
        for (text, word) in [("SELECT {'a': 1} AS s", "STRUCT"), ("SELECT INTERVAL 1 DAY AS s", "INTERVAL"), ("SELECT 1 AS s, 2 AS s", "two columns of one name")] {
            let error = try await lake.refused(text)
            #expect(error.code == .invalidArgument && error.message.contains(word), "\(error)")
        }
        await home.stop()
    }

    @Test("what a model gave whose signature names no outputs is in one column as JSON")
    func unnamedOutputs() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        let digest = try await ModelLoader(objects: home.objects).store(
            ModelBundle(
                flavor: .xgboost, model: Home.tree(0.25, 0.75), signature: Signature(inputs: [.init("outputs", .float64)], outputs: []),
                featureService: nil, metrics: [:]), model: Home.tree(0.25, 0.75))
        let release = try await home.service.createRelease(
            endpoint: .delay, model: "delay", version: "1", bundle: digest, gate: .passed, Home.deployer)
        _ = try await home.service.deploy(endpoint: .delay, release: release.number, Home.deployer)
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([1], column: "outputs"), ids: ["a"])
        try await home.runtime.flush()
        let lake = try Lake(home)
        for _ in 0..<2 {
            #expect(try await lake.ask("SELECT outputs, round(trim(output_outputs, '[]')::DOUBLE, 4) FROM delay") == ["[1.0,0.75]"])
            await lake.exporter.export()
        }
        #expect(lake.files.count == 1 && lake.damage.all.isEmpty)
        await home.stop()
    }

    @Test("a query ends at its limit of rows or memory, and the error says which")
    func limits() async throws {
        let home = try await PredictionExportTests.home()
        let lake = try Lake(home)
        try await home.ask(3)
        let answer = try await lake.sql.query("SELECT * FROM range(100)", limits: QueryLimits(rowsMax: 10), Home.reader)
        #expect(answer["rows"]?.array?.count == 10 && answer["truncated"] == true)
        let whole = try await lake.sql.query("SELECT * FROM range(10)", limits: QueryLimits(rowsMax: 10), Home.reader)
        #expect(whole["truncated"] == false)
        let none = try await lake.sql.query("SELECT id, x FROM delay WHERE x > 7", Home.reader)
        #expect(none["columns"]?.array?.map { $0["name"]?.string } == ["id", "x"] && none["rows"] == [])
        let small = QueryLimits(memoryBytes: 64 << 20)
        #expect(try await lake.refused("SELECT list(a.range || 'x') FROM range(100000) a, range(1000) b", limits: small).code == .failedPrecondition)
        await home.stop()
    }
}
