import Contracts
import Foundation
import Governance
import Logging
import Platform
import Storage
import Testing

@Suite("A home from before endpoints and monitors had environments")
struct OldHomeTests {
    private static let owner = Caller(name: "ada", persona: .owner)

    private static func resource(_ kind: String, _ name: String, _ environment: String?, _ spec: JSON = [:]) -> Resource {
        Resource(kind: kind, name: name, environment: environment, spec: spec)
    }

    /// One endpoint and its monitor that are declared in staging only, one endpoint in both environments, and one that is declared no more.
    private func make() async throws -> String {
        let home = NSTemporaryDirectory() + "keel-old-home-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        let database = try Storage.Database(path: home + "/keel.sqlite")
        let before = Platform.migrations.filter { one in
            switch one.module {
            case "serving": one.version <= 4
            case "monitoring": one.version <= 1
            default: true
            }
        }
        try await database.migrate(before, backupFolder: home + "/backups")
        let grant = try Grant.check(OldHomeTests.owner, may: .resourcesApply)
        let spec: JSON = ["endpoint": "tried", "window": "1d", "drift": ["threshold": 0.2]]
        _ = try await ResourceService(database: database).apply(
            [
                Self.resource("Endpoint", "tried", "staging"), Self.resource("Monitor", "tried", "staging", spec),
                Self.resource("Endpoint", "both", "staging"), Self.resource("Endpoint", "both", "production"),
            ], by: grant, validate: { _ in })
        try await database.write { tx in
            for name in ["tried", "both", "gone"] {
                let digest = Digest(of: Array(name.utf8)).hex
                try tx.execute(
                    """
                    INSERT INTO releases (endpoint, number, model, model_version, bundle, gate, digest, created_at, created_by)
                    VALUES (?, 1, 'm', '1', ?, 'passed', ?, 1, 'ada')
                    """, [.string(name), .string(digest), .string(digest)])
                try tx.execute(
                    """
                    INSERT INTO predictions (id, endpoint, release_number, event_time, at, shadow, score, features, request, latency_ns)
                    VALUES ('p', ?, 1, 1, 1, 0, 0.5, ?, '{}', 1)
                    """, [.string(name), .bytes([])])
            }
            try tx.execute("INSERT INTO monitor_marks (monitor, drift_closed, performance_closed) VALUES ('tried', 1, 1)")
        }
        try await database.close()
        return home
    }

    @Test("what is declared in staging only is in staging after the first start")
    func placed() async throws {
        let home = try await make()
        defer { try? FileManager.default.removeItem(atPath: home) }
        let configuration = try KeelConfiguration.load(file: nil, environment: [:], overrides: ["home": home])
        let platform = try await Platform(configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let names = try await platform.database.read { db in
            try [("releases", "endpoint"), ("predictions", "endpoint"), ("monitor_marks", "monitor")].map { table, column in
                try db.rows("SELECT \(column) AS name FROM \(table) WHERE workspace = 'default' ORDER BY \(column)").map { $0.text("name") }
            }
        }
        #expect(names == [["both", "gone", "tried@staging"], ["both", "gone", "tried@staging"], ["tried@staging"]])
    }
}

@Suite("Homes of other versions")
struct OtherVersionsTests {
    /// A home with these tables and one release.
    private func make(_ migrations: [Migration]) async throws -> String {
        let home = NSTemporaryDirectory() + "keel-other-version-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        let database = try Storage.Database(path: home + "/keel.sqlite")
        try await database.migrate(migrations, backupFolder: home + "/backups")
        let digest = Digest(of: Array("tried".utf8)).hex
        try await database.write { tx in
            let hasWorkspaces = try tx.rows("SELECT name FROM pragma_table_info('releases')").contains { $0.text("name") == "workspace" }
            try tx.execute(
                """
                INSERT INTO releases (\(hasWorkspaces ? "workspace, " : "")endpoint, number, model, model_version, bundle, gate, digest, created_at, created_by)
                VALUES (\(hasWorkspaces ? "'default', " : "")'tried', 1, 'm', '1', ?, 'passed', ?, 1, 'ada')
                """, [.string(digest), .string(digest)])
        }
        try await database.close()
        return home
    }

    private func start(_ home: String) async throws -> Platform {
        let configuration = try KeelConfiguration.load(file: nil, environment: [:], overrides: ["home": home])
        return try await Platform(configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("a home with the first tables of every module is migrated, and a copy from before lies beside it")
    func oldest() async throws {
        let home = try await make(Platform.migrations.filter { $0.version == 1 })
        defer { try? FileManager.default.removeItem(atPath: home) }
        let platform = try await start(home)
        let releases = try await platform.database.read { db in
            try db.rows("SELECT workspace, endpoint FROM releases").map { "\($0.text("workspace"))/\($0.text("endpoint"))" }
        }
        #expect(releases == ["default/tried"])
        let copies = try FileManager.default.contentsOfDirectory(atPath: home + "/backups").filter { $0.hasSuffix(".sqlite") }
        #expect(copies.count == 1)
        let copy = try Storage.Database(path: home + "/backups/" + (copies.first ?? "none"))
        let (versions, columns) = try await copy.read { db in
            (
                Set(try db.rows("SELECT version FROM keel_migrations").map { $0.int("version") }),
                try db.rows("SELECT name FROM pragma_table_info('releases')").map { $0.text("name") }
            )
        }
        #expect(versions == [1] && columns.contains("endpoint") && !columns.contains("workspace"))
    }
}
