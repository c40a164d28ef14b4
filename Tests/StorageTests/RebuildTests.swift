import Contracts
import Foundation
import Storage
import TestSupport
import Testing

/// A table that others refer to is given another form.
@Suite("Tables that are rebuilt")
struct RebuildTests {
    private func library(_ folder: String) async throws -> Storage.Database {
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate([Library.first], backupFolder: folder + "/backups")
        return database
    }

    private func texts(_ database: Storage.Database, _ sql: String) async throws -> [String] {
        try await database.read { try $0.rows(sql).map { row in row.optionalText("text") ?? String(row.int("text")) } }
    }

    private func everything(_ database: Storage.Database) async throws -> [String] {
        try await texts(
            database,
            """
            SELECT 'shelf ' || name || ' ' || room || coalesce(' below ' || above, '') AS text FROM shelves UNION ALL SELECT 'book ' || shelf || number || title FROM books
            UNION ALL SELECT 'page ' || shelf || number || '.' || page FROM pages ORDER BY 1
            """)
    }

    private func migrate(_ database: Storage.Database, _ folder: String, _ steps: [MigrationStep]) async throws {
        try await database.migrate([Library.first, Migration(module: "library", version: 2, steps)], backupFolder: folder + "/backups")
    }

    /// A reference is in force when what breaks it is refused, and when a changed name is followed.
    private func referencesHold(_ database: Storage.Database) async throws {
        await #expect(throws: KeelError.self) { try await database.write { _ = try $0.execute("DELETE FROM shelves WHERE name = 'a'") } }
        await #expect(throws: KeelError.self) {
            try await database.write { _ = try $0.execute("UPDATE books SET shelf = 'nowhere' WHERE shelf = 'a'") }
        }
        try await database.write { _ = try $0.execute("UPDATE shelves SET name = 'c' WHERE name = 'a'") }
        #expect(
            try await everything(database).filter { $0.contains("c1") || $0.contains("below") }
                == ["book c1One", "page c1.1", "page c1.2", "shelf b west below c"])
        #expect(try await texts(database, "SELECT count(*) AS text FROM pragma_foreign_key_check") == ["0"])
    }

    @Test("a home that a newer version has changed is not opened by an older one")
    func newer() async throws {
        let folder = try temporaryFolder()
        let database = try await library(folder)
        try await migrate(database, folder, ["CREATE TABLE cards (name TEXT PRIMARY KEY)"])
        let error = await #expect(throws: KeelError.self) { try await database.migrate([Library.first], backupFolder: folder + "/backups") }
        #expect(error?.code == .failedPrecondition && error?.message.contains("a newer version") == true)
    }

    @Test("a table that others refer to keeps its rows, and they their references", arguments: [false, true])
    func referenced(clustered: Bool) async throws {
        let folder = try temporaryFolder()
        let database = try await library(folder)
        let before = try await everything(database)
        let columns: [RebuiltColumn] = [.init("size BIGINT NOT NULL", from: "length(room)")]
        try await migrate(database, folder, [Library.shelves(more: columns, clustered: clustered)])
        #expect(try await everything(database) == before && before.count == 8)
        #expect(try await texts(database, "SELECT size AS text FROM shelves ORDER BY name") == ["4", "4"])
        #expect(try await texts(database, "SELECT name AS text FROM sqlite_master WHERE name LIKE '%rebuilt%'").isEmpty)
        #expect(try await texts(database, "SELECT name AS text FROM sqlite_master WHERE name = 'shelves_room'").count == 1)
        try await referencesHold(database)
    }

    @Test("a column comes into the key of a table and of all that refer to it")
    func keyed() async throws {
        let folder = try temporaryFolder()
        let database = try await library(folder)
        let before = try await everything(database)
        try await migrate(database, folder, Library.keyed)
        #expect(try await everything(database) == before)
        try await database.write { tx in
            // The same name again, elsewhere.
            try tx.execute("INSERT INTO shelves (workspace, name, room) VALUES ('other', 'a', 'north')")
            try tx.execute("INSERT INTO books (workspace, shelf, number, title) VALUES ('other', 'a', 1, 'Four')")
        }
        await #expect(throws: KeelError.self) {
            try await database.write {
                _ = try $0.execute("INSERT INTO books (workspace, shelf, number, title) VALUES ('other', 'b', 1, 'Five')")
            }
        }
        try await database.write { tx in
            try tx.execute("DELETE FROM books WHERE workspace = 'other'")
            try tx.execute("DELETE FROM shelves WHERE workspace = 'other'")
        }
        try await referencesHold(database)
    }

    @Test(
        "a migration that breaks a reference changes nothing, and references stay in force",
        arguments: [
            // Its rows are lost on the way.
            [Library.shelves(), "DELETE FROM shelves WHERE name = 'b'"],
            // What the others refer to is no key any more, and they are not rebuilt.
            Array(Library.keyed.prefix(1)),
        ])
    func broken(steps: [MigrationStep]) async throws {
        let folder = try temporaryFolder()
        let database = try await library(folder)
        let before = try await everything(database)
        await #expect(throws: KeelError.self) { try await migrate(database, folder, steps) }
        #expect(try await everything(database) == before)
        try await referencesHold(database)
    }
}
