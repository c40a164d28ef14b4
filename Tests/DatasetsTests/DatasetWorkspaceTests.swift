import Contracts
import Datasets
import Engines
import Foundation
import Storage
import Testing

@Suite("Datasets of several workspaces")
struct DatasetWorkspaceTests {
    private let fraud = WorkspaceID(stored: "fraud")
    private let small = #"{"key": ["id"], "columns": [{"name": "id", "type": "int64"}, {"name": "x", "type": "float64"}]}"#

    private func may(_ action: Action, _ workspace: WorkspaceID) throws -> Grant {
        try Grant.check(Caller(name: "test", persona: .owner, workspace: workspace), may: action)
    }

    private func push(_ estate: Estate, _ ids: Range<Int>, _ workspace: WorkspaceID) throws -> PushResult {
        let body = Array(#"{"rows": [\#(ids.map { #"{"id": \#($0), "x": 0.5}"# }.joined(separator: ", "))]}"#.utf8)
        let grant = try may(.eventsPush, workspace)
        return try body.withUnsafeBufferPointer { try estate.data.push(dataset: "t", json: $0, grant: grant) }
    }

    private func ids(_ estate: Estate, _ workspace: WorkspaceID) async throws -> [Value] {
        let table = try await estate.data.read(dataset: "t", grant: try may(.datasetsRead, workspace))
        return (0..<table.rowCount).compactMap { table["id"]?[$0] }
    }

    /// What keeps the workspace `fraud` from being deleted.
    private func holds(_ estate: Estate) async throws -> String? {
        let data = estate.data
        return try await estate.database.read(in: fraud) { try data.workspaceHolds($0) }
    }

    private func thing(_ workspace: WorkspaceID) -> ResourceRef { ResourceRef("Dataset", "t", in: workspace) }

    /// A dataset `t` in `default` and another in `fraud`.
    private func open(home: String? = nil) async throws -> Estate {
        let spec = try dataset("t", small)
        let estate = try await Estate(home: home, [spec])
        #expect(await estate.data.configure([spec], in: fraud).isEmpty)
        return estate
    }

    @Test("datasets of one name have their own rows, keys, numbers, quarantine and files, also after a restart")
    func sideBySide() async throws {
        let estate = try await open()
        // The key 1 is new in each.
        #expect(try push(estate, 0..<2, .default).accepted.rowCount == 2)
        #expect(try push(estate, 1..<5, fraud).accepted.rowCount == 4)
        #expect(try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, .default))?.number == 1)
        #expect(try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, fraud))?.number == 1)
        let file = try estate.file("more.csv", "id,x\n7,0.5\nseven,0.5\n")
        let report = try await estate.data.ingest(dataset: "t", file: file, grant: try may(.datasetsIngest, fraud))
        #expect(report.snapshot.number == 2 && report.quarantined == 1)
        #expect(try await estate.data.snapshots("t", grant: try may(.datasetsRead, .default)).map(\.number) == [1])
        #expect(try await estate.data.quarantine(dataset: "t", snapshot: 2, grant: try may(.datasetsRead, fraud)).count == 1)
        await #expect(throws: KeelError.notFound("the dataset 't' has no snapshot 2")) {
            try await estate.data.quarantine(dataset: "t", snapshot: 2, grant: try may(.datasetsRead, .default))
        }
        #expect(try push(estate, 9..<10, .default).accepted.rowCount == 1)

        let again = try await open(home: estate.home)
        #expect(again.damage.all.isEmpty)
        #expect(try await ids(again, .default) == [0, 1])
        #expect(try await ids(again, fraud) == [1, 2, 3, 4, 7])
        #expect(try push(again, 9..<10, .default).accepted.rowCount == 0, "it is in the stream of this workspace")
        #expect(try push(again, 9..<10, fraud).accepted.rowCount == 1)
        #expect(try again.lakeFiles("t").count == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(again.home)/lake/datasets/@fraud/t").count == 3)
        #expect(Set(try await again.data.allFiles().map(\.dataset)) == [thing(.default), thing(fraud)])
        let events = try await again.database.read(in: fraud) { try $0.ledgerEvents(kind: "dataset.snapshot") }
        #expect(events.map { $0.data["number"] } == [1, 2])
    }

    @Test("what is removed in one workspace stays in the other, also when a crash interrupts it")
    func removal() async throws {
        let estate = try await open()
        _ = try push(estate, 0..<2, .default)
        _ = try push(estate, 0..<3, fraud)
        _ = try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, .default))
        _ = try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, fraud))
        #expect(try await holds(estate) == "rows of the datasets t")
        try await estate.data.remove("t", grant: try may(.resourcesApply, fraud))
        #expect(try await estate.data.holding(thing(fraud)) == DatasetService.Holding())
        #expect(try await estate.data.holding(thing(.default)) == DatasetService.Holding(snapshots: 1, rows: 2))
        #expect(try await holds(estate) == nil)
        #expect(try await ids(estate, .default) == [0, 1])

        // The folder that decides a removal is there, and the process was killed.
        try FileManager.default.createDirectory(atPath: "\(estate.home)/streams/.removed/@fraud/t", withIntermediateDirectories: true)
        let again = try await open(home: estate.home)
        _ = try push(again, 0..<3, fraud)
        _ = try await again.data.seal(dataset: "t", grant: may(.datasetsIngest, fraud))
        try await again.data.finishRemovals()
        #expect(try await again.data.holding(thing(fraud)).snapshots == 0)
        #expect(try await again.data.holding(thing(.default)).snapshots == 1)
        let events = try await again.database.read { try $0.ledgerEvents(kind: "dataset.removed").map(\.workspace) }
        #expect(events == ["fraud", "fraud"])
    }

    @Test("events that no declaration names any more are held, and can be removed")
    func undeclared() async throws {
        let estate = try await open()
        _ = try push(estate, 0..<3, fraud)
        #expect(await estate.data.configure([], in: fraud).isEmpty)
        #expect(try await estate.data.holding(thing(fraud)).unsealedBytes > 0)
        #expect(try await holds(estate) == "rows of the datasets t")
        try await estate.data.remove("t", grant: try may(.resourcesApply, fraud))
        #expect(try await estate.data.holding(thing(fraud)) == DatasetService.Holding())
        #expect(try push(estate, 0..<3, .default).accepted.rowCount == 3)
    }

    @Test("a contract of another workspace is as unknown as one that is nowhere")
    func unknown() async throws {
        let estate = try await Estate([])
        #expect(await estate.data.configure([try dataset("t", small)], in: fraud).isEmpty)
        let hidden = try #require(throws: KeelError.self) { try push(estate, 0..<1, .default) }
        #expect(hidden == .notFound("there is no Dataset 't'", hint: "apply one first"))
        await #expect(throws: hidden) { try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, .default)) }
        await #expect(throws: hidden) { try await estate.data.snapshots("t", grant: may(.datasetsRead, .default)) }
        #expect(try await estate.data.snapshot(thing(.default)) == nil)
        // A grant in one workspace opens nothing in another, whatever the name.
        #expect(throws: KeelError.self) { try may(.datasetsRead, .default).require(.datasetsRead, on: thing(fraud)) }
    }

    @Test("damage is of the workspace whose file it is, and disables nothing in another")
    func damage() async throws {
        let estate = try await open()
        for workspace in [.default, fraud] {
            _ = try push(estate, 0..<3, workspace)
            _ = try await estate.data.seal(dataset: "t", grant: may(.datasetsIngest, workspace))
        }
        let folder = "\(estate.home)/lake/datasets/@fraud/t"
        let file = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).first)
        try FileManager.default.removeItem(atPath: "\(folder)/\(file)")
        try Data([1]).write(to: URL(fileURLWithPath: "\(folder)/7-0-abc.parquet"))
        let again = try await open(home: estate.home)
        #expect(again.damage.all(in: .default).isEmpty)
        #expect(again.damage.all(in: fraud).map(\.subject) == ["Dataset/t", "Dataset/t"])
        #expect(Set(again.damage.all.map(\.fullSubject)) == ["fraud:Dataset/t"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(estate.home)/lake/unknown/@fraud/t") == ["7-0-abc.parquet"])
        #expect(try await ids(again, .default) == [0, 1, 2])
        await #expect(throws: KeelError.self) { try await ids(again, fraud) }

        try await again.database.write { _ = try $0.execute("UPDATE data_files SET digest = 'x' WHERE workspace = 'fraud'") }
        #expect(await again.data.configure([], in: fraud).isEmpty)
        #expect(await again.data.configure([try dataset("t", small)], in: fraud).keys.sorted() == ["t"])
        #expect(again.data.isDisabled(thing(fraud)) && !again.data.isDisabled(thing(.default)))
        #expect(try push(again, 5..<6, .default).accepted.rowCount == 1)
    }

    @Test("the tables of a version without workspaces become those of default")
    func migration() async throws {
        let folder = NSTemporaryDirectory() + "keel-data-\(Identifier.hex32())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let estate = try await Estate(home: folder + "/old", [try dataset("t", small)])
        _ = try await estate.ingest("t", csv: "id,x\n1,0.5\n2,0.5\nno,1\n")
        _ = try await estate.ingest("t", csv: "id,x\n3,0.5\n")
        // The same rows as the version before wrote them.
        let before = try Database(path: folder + "/keel.sqlite")
        try await before.migrate(Ledger.migrations + DatasetTables.migrations.filter { $0.version < 4 }, backupFolder: folder + "/backups")
        for (table, columns) in [
            (
                "data_snapshots",
                """
                dataset, number, created_at, rows_total, rows_added, filtered, quarantined, quarantine_file, source, digest, contract, profile,
                first_event, last_event, stream_end, rejected_end, files_from
                """
            ), ("data_files", "dataset, added_in, position, path, row_count, bytes, digest"), ("data_numbers", "dataset, last"),
        ] {
            let count = columns.split(separator: ",").count
            let rows = try await estate.database.read { db in
                try db.rows("SELECT \(columns) FROM \(table)").map { row in (0..<count).map { row[$0] } }
            }
            try await before.write { tx in
                for row in rows {
                    let marks = Array(repeating: "?", count: row.count).joined(separator: ", ")
                    _ = try tx.execute("INSERT INTO \(table) (\(columns)) VALUES (\(marks))", row)
                }
            }
        }
        #expect(try await before.read { try DatasetService.storedFiles(in: $0) }.count == 3, "a backup of that version is read too")
        try await before.close()
        for part in ["lake", "streams"] { try FileManager.default.copyItem(atPath: "\(folder)/old/\(part)", toPath: "\(folder)/\(part)") }

        let migrated = try await Estate(home: folder, [try dataset("t", small)])
        #expect(migrated.damage.all.isEmpty)
        #expect(try await ids(migrated, .default) == [1, 2, 3])
        #expect(try await migrated.data.quarantine(dataset: "t", snapshot: 1, grant: try may(.datasetsRead, .default)).count == 1)
        #expect(try await migrated.ingest("t", csv: "id,x\n3,0.5\n4,0.5\n").snapshot.number == 3)
        #expect(try await migrated.data.snapshot(thing(fraud)) == nil)
    }
}
