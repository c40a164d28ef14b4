import Contracts
import Foundation
import Storage
import Testing

/// Versions of Keel here are lists of migrations: the first, the next, which adds what the first need not know, and one that makes tables anew.
@Suite("Upgrades and downgrades")
struct UpgradeTests {
    private static let owner = Caller(name: "test", persona: .owner)
    private static let first =
        Ledger.migrations + [Migration(module: "test", version: 1, ["CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT NOT NULL)"])]
    private static let next =
        first + [
            Migration(
                module: "test", version: 2, isBackwardCompatible: true,
                [
                    "ALTER TABLE things ADD COLUMN size BIGINT NOT NULL DEFAULT 7", "ALTER TABLE things ADD COLUMN note TEXT",
                    "CREATE TABLE sizes (size BIGINT PRIMARY KEY, name TEXT)", "CREATE UNIQUE INDEX sizes_name ON sizes (name)",
                    "INSERT INTO sizes (size, name) VALUES (7, 'small')", "CREATE INDEX things_size ON things (size)",
                ]), Migration(module: "other", version: 1, isBackwardCompatible: true, ["CREATE TABLE others (id BIGINT PRIMARY KEY)"]),
        ]
    private static let anew =
        next + [
            Migration(module: "test", version: 3, [.rebuild("things", columns: ["id BIGINT NOT NULL", .init("label TEXT", from: "name")], primaryKey: ["id"])])
        ]

    /// Opens a home with a version of Keel, as its server would, and closes it again.
    private func with<T: Sendable>(_ version: [Migration], _ home: String, _ body: (Database) async throws -> T) async throws -> T {
        let database = try Database(path: home + "/keel.sqlite")
        try await database.migrate(version, backupFolder: home + "/backups")
        let result = try await body(database)
        try await database.close()
        return result
    }

    private func add(_ id: Int64, to database: Database) async throws {
        try await database.write { tx in
            try tx.execute("INSERT INTO things (id, name) VALUES (?, ?)", [.int(id), .string("thing \(id)")])
            try tx.record("thing.made", on: "Thing/\(id)", by: UpgradeTests.owner)
        }
    }

    private func copies(_ home: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: home + "/backups").sorted() }

    @Test("after an upgrade that only adds, the version before opens the home, and what it writes is there for the newer one")
    func downgrade() async throws {
        let home = try temporaryFolder()
        try await with(Self.first, home) { try await add(1, to: $0) }
        try await with(Self.next, home) { database in
            try await add(2, to: database)
            try await database.write { _ = try $0.execute("UPDATE things SET size = 9, note = 'kept' WHERE id = 2") }
        }
        try await with(Self.first, home) { try await add(3, to: $0) }
        let rows = try await with(Self.next, home) { database in
            try await database.read { db in
                try db.rows("SELECT size, note FROM things ORDER BY id").map { "\($0.int("size")) \($0.optionalText("note") ?? "-")" }
            }
        }
        #expect(rows == ["7 -", "9 kept", "7 -"])
        // One copy, of the upgrade: going back and forth migrates nothing.
        #expect(try copies(home).count == 1)
    }

    @Test("a home with tables that this version does not know is refused with the version that made them and the way back, and the way back works")
    func refused() async throws {
        let home = try temporaryFolder()
        try await with(Self.first, home) { try await add(1, to: $0) }
        try await with(Self.next, home) { try await add(2, to: $0) }
        try await with(Self.anew, home) { database in
            try await database.write { tx in
                try tx.execute("INSERT INTO things (id, label) VALUES (3, 'new')")
                try tx.record("thing.made", on: "Thing/3", by: Self.owner)
            }
        }
        let copy = try #require(try copies(home).last)
        for version in [Self.first, Self.next] {
            let error = await #expect(throws: KeelError.self) { try await with(version, home) { _ in } }
            #expect(error?.code == .failedPrecondition)
            let known = version.count == Self.first.count ? 1 : 2
            #expect(
                error?.message == "the home was used by a newer version of Keel, \(KeelVersion.text): its tables of 'test' are at step 3, and this one, "
                    + "\(KeelVersion.text), knows \(known)")
            #expect(error?.hint?.hasSuffix("keel restore \(home)/backups/\(copy) --home \(home)") == true, "\(error?.hint ?? "")")
        }
        // The first version opens the copy too: what the second added is declared to be no matter to it.
        let report = try await DatabaseRestore(copy: "\(home)/backups/\(copy)", home: home, migrations: Self.first).run()
        #expect(report.ledgerEvents == 2 && report.ledgerEventsLost == 1)
        let names = try await with(Self.first, home) { database in
            try await add(4, to: database)
            #expect(try await database.read { try $0.verifyLedger() }.broken == nil)
            return try await database.read { try $0.rows("SELECT name FROM things ORDER BY id").map { $0.text("name") } }
        }
        #expect(names == ["thing 1", "thing 2", "thing 4"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: home + "/work").isEmpty)
        // What was replaced is whole.
        let replaced = try Database(path: report.replaced)
        #expect(try await replaced.read { try $0.row("SELECT label FROM things WHERE id = 3")?.text("label") } == "new")
    }

    @Test("a copy that does not belong into a home is refused, and the home keeps its database")
    func wrongCopies() async throws {
        let home = try temporaryFolder()
        try await with(Self.first, home) { try await add(1, to: $0) }
        try await with(Self.anew, home) { _ in }
        let first = try #require(try copies(home).first)
        let copy = "\(home)/backups/\(first)"
        let other = try temporaryFolder()
        try await with(Self.first, other) { try await add(2, to: $0) }
        try await with(Self.next, other) { try await add(3, to: $0) }
        let damaged = try temporaryFolder() + "/damaged.sqlite"
        let theirs = try #require(try copies(other).first)
        var bytes = try #require(FileManager.default.contents(atPath: "\(other)/backups/\(theirs)"))
        bytes.replaceSubrange(4096 * 2..<4096 * 3, with: Data(repeating: 0xAA, count: 4096))
        try bytes.write(to: URL(fileURLWithPath: damaged))
        let empty = try temporaryFolder() + "/nowhere"
        for (file, place, version, words) in [
            (copy, other, Self.first, "is not a copy of this home's database"), (copy, other, Self.next, "was made by another version of Keel"),
            (damaged, other, Self.first, ""), (copy, empty, Self.first, "is a copy of a database and no whole backup"),
        ] {
            let error = await #expect(throws: KeelError.self) { _ = try await DatabaseRestore(copy: file, home: place, migrations: version).run() }
            #expect(words.isEmpty || error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
        let kept = try await with(Self.next, other) { database in
            try await database.read { db in try db.rows("SELECT id FROM things ORDER BY id").map { $0.int("id") } }
        }
        #expect(kept == [2, 3] && !FileManager.default.fileExists(atPath: empty))
        // A server that runs there keeps its home.
        let server = try Home(home, user: "127.0.0.1:7070")
        await #expect(throws: KeelError.self) { _ = try await DatabaseRestore(copy: copy, home: home, migrations: Self.first).run() }
        withExtendedLifetime(server) {}
        #expect(try DatabaseRestore.isDatabase(copy))
        #expect(try !DatabaseRestore.isDatabase(home + "/keel.lock"))
    }

    @Test(
        "a migration that says it only adds and does more is not run",
        arguments: [
            "DROP TABLE things", "UPDATE things SET name = ''", "ALTER TABLE things ADD COLUMN size BIGINT NOT NULL", "ALTER TABLE things RENAME TO other",
            "CREATE UNIQUE INDEX things_name ON things (name)", "INSERT INTO things (id, name) VALUES (1, '')",
            "CREATE TABLE parts (id BIGINT REFERENCES things (id))", "CREATE TRIGGER t AFTER INSERT ON things BEGIN SELECT 1; END",
        ])
    func declaredWrongly(statement: String) async throws {
        let home = try temporaryFolder()
        try await with(Self.first, home) { _ in }
        let wrong = Self.first + [Migration(module: "test", version: 2, isBackwardCompatible: true, [MigrationStep(stringLiteral: statement)])]
        let error = await #expect(throws: KeelError.self) { try await with(wrong, home) { _ in } }
        #expect(error?.message.contains("is declared to be backward compatible and does more than add") == true, "\(error?.message ?? "")")
        try await with(Self.first, home) { try await add(1, to: $0) }
    }
}
