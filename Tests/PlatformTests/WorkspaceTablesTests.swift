import Contracts
import Foundation
import Platform
import Storage
import Testing

@Suite("Workspaces in the tables")
struct WorkspaceTablesTests {
    /// About the whole server, each with the reason.
    private static let ofTheServer = [
        "keel_migrations": "which steps the tables have taken", "ledger_head": "one chain for all workspaces", "ledger_setbacks": "of that chain",
        "workspaces": "they are its rows", "tracking_artifacts": "its paths begin with the workspace",
        "tracking_points": "of a series, which is a run's",
        "tracking_point_blocks": "of a series, which is a run's", "tracking_retired_experiments": "numbers are given once over all workspaces",
        "registry_webhook_position": "the follower reads the whole chain",
        "registry_taken_over": "whether a home from before was taken over", "prediction_journal": "one journal for all workspaces",
        "old_endpoint_names": "names of a home from before there were others than `default`",
        "old_monitor_names": "names of a home from before there were others than `default`",
    ]

    @Test("every table carries its workspace, or hangs on a row that does")
    func tables() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(Identifier.uuid()).path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let database = try Database(path: folder + "/keel.sqlite")
        try await database.migrate(Platform.migrations, backupFolder: folder + "/backups")
        let (columns, parents) = try await database.read { db in
            var columns: [String: Set<String>] = [:]
            var parents: [String: Set<String>] = [:]
            for table in try db.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'").map({ $0.text("name") }) {
                columns[table] = Set(try db.rows("SELECT c.name AS name FROM pragma_table_info(?) c", [.string(table)]).map { $0.text("name") })
                let keys = try db.rows(#"SELECT "table" AS parent FROM pragma_foreign_key_list(?)"#, [.string(table)])
                parents[table] = Set(keys.map { $0.text("parent") })
            }
            return (columns, parents)
        }
        func isOfWorkspace(_ table: String) -> Bool {
            columns[table]?.contains("workspace") == true || parents[table]?.contains(where: isOfWorkspace) == true
        }
        let without = Set(columns.keys.filter { !isOfWorkspace($0) })
        #expect(without == Set(WorkspaceTablesTests.ofTheServer.keys))
    }
}
