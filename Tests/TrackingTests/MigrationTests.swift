import Contracts
import Foundation
import SearchLanguage
import Storage
import TestSupport
import Testing
import Tracking

/// A home that an earlier version of Keel filled.
@Suite("Migrations of a filled tracking database")
struct MigrationTests {
    private struct Point: Hashable {
        let run: String
        let key: String
        let metric: Metric

        init(_ run: String, _ key: String, _ value: Double, _ at: Int64, _ step: Int64) {
            (self.run, self.key) = (run, key)
            metric = Metric(key, value, at: Timestamp(milliseconds: at), step: step)
        }

        static func == (a: Point, b: Point) -> Bool { a.run == b.run && a.text == b.text }
        func hash(into hasher: inout Hasher) { hasher.combine(text) }

        var text: String { "\(run)/\(key)/\(metric.step)/\(metric.at.milliseconds)/\(metric.value)" }
        private var number: Double { metric.value.isNaN ? 0 : metric.value }
        private var isNaN: Int64 { metric.value.isNaN ? 1 : 0 }
        /// By step, time and value: the greatest is the newest.
        var place: (Int64, Int64, Double, Int64) { (metric.step, metric.at.milliseconds, number, isNaN) }
        var values: [Value] { [.string(run), .string(key), .double(number), .int(isNaN), .int(metric.at.milliseconds), .int(metric.step)] }
    }

    private static let runs = ["r0", "r1", "r2", "r3"]

    /// Histories long and short, dense and sparse, with steps of both signs and both ends, NaN, infinities, and several points at one step.
    private static func points() -> [Point] {
        var random = Seeded(7)
        var out: Set<Point> = []
        for run in runs.dropLast() {
            for (key, spread) in [("loss", 1), ("val/loss ü", 97), ("a.b", 0)] {
                for i in 0..<1500 {
                    let value = i % 31 == 0 ? .nan : Double(Int.random(in: -50...50, using: &random)) / 4
                    out.insert(Point(run, key, value, Int64(i / 3), Int64((i - 700) * spread)))
                }
            }
            for (i, value) in [Double.nan, 1, -1, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0].enumerated() {
                out.insert(Point(run, "odd", value, 5, 0))
                out.insert(Point(run, "only-\(i)", value, Int64(i), -Int64(i)))
            }
            for step in [Int64.min, -257, -256, -1, 0, 255, 256, Int64.max] { out.insert(Point(run, "far", Double(step), 9, step)) }
        }
        return out.sorted { $0.text < $1.text }
    }

    private func version1(_ points: [Point], _ folder: String) async throws -> Storage.Database {
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        let first = TrackingTables.migrations.filter { $0.version == 1 }
        try await database.migrate(Ledger.migrations + first, backupFolder: folder + "/backups")
        try await database.write { tx in
            try tx.execute(
                """
                INSERT INTO tracking_experiments (id, name, artifact_location, lifecycle, created_ms, updated_ms)
                VALUES (7, 'old', 'mlflow-artifacts:/7', 'active', 1000, 2000)
                """)
            for (i, run) in MigrationTests.runs.enumerated() {
                try tx.execute(
                    """
                    INSERT INTO tracking_runs (id, experiment_id, name, user_id, status, start_ms, end_ms, artifact_uri, lifecycle)
                    VALUES (?, 7, ?, 'ada', 'FINISHED', ?, NULL, ?, ?)
                    """,
                    [
                        .string(run), .string("run \(i)"), .int(Int64(i)), .string("mlflow-artifacts:/7/\(run)/artifacts"),
                        .string(i == 2 ? "deleted" : "active"),
                    ])
                try tx.execute("INSERT INTO tracking_params (run_id, key, value) VALUES (?, 'p', 'ü')", [.string(run)])
                try tx.execute("INSERT INTO tracking_tags (run_id, key, value) VALUES (?, 't', '1')", [.string(run)])
            }
            var random = Seeded(9)
            for point in points.shuffled(using: &random) {
                try tx.execute(
                    "INSERT INTO tracking_metrics (run_id, key, value, is_nan, at_ms, step) VALUES (?, ?, ?, ?, ?, ?)", point.values)
            }
            for newest in MigrationTests.newest(points) {
                try tx.execute(
                    "INSERT INTO tracking_latest_metrics (run_id, key, value, is_nan, at_ms, step) VALUES (?, ?, ?, ?, ?, ?)", newest.values
                )
            }
        }
        return database
    }

    private static func newest(_ points: [Point]) -> [Point] {
        Dictionary(grouping: points) { $0.run + "/" + $0.key }.values.compactMap { $0.max { $0.place < $1.place } }
    }

    @Test("every point, every newest value and every order is as before")
    func metrics() async throws {
        let folder = NSTemporaryDirectory() + "keel-migration-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let points = MigrationTests.points()
        let database = try await version1(points, folder)
        try await database.migrate(
            Ledger.migrations + TrackingTables.migrations + TrackingTables.importMigrations, backupFolder: folder + "/backups")
        let tracking = TrackingService(database: database, objects: try FolderObjectStore(root: folder + "/objects"))
        let owner = Caller(name: "ada", persona: .owner)
        let (read, write) = (try Grant.check(owner, may: .trackingRead), try Grant.check(owner, may: .trackingWrite))
        func text(_ run: String, _ metric: Metric) -> String {
            Point(run, metric.key, metric.value, metric.at.milliseconds, metric.step).text
        }

        for (name, own) in Dictionary(grouping: points, by: { $0.run + "/" + $0.key }) {
            let (run, key) = (own[0].run, own[0].key)
            var (found, token): ([Metric], String?) = ([], nil)
            repeat {
                let page = try await tracking.metricHistory(runID: run, key: key, pageSize: 400, pageToken: token, read)
                (found, token) = (found + page.items, page.nextToken)
            } while token != nil
            let byTime = own.sorted { ($0.place.1, $0.place.0, $0.place.2, $0.place.3) < ($1.place.1, $1.place.0, $1.place.2, $1.place.3) }
            #expect(found.map { text(run, $0) } == byTime.map(\.text), "\(name)")
            let sampled = try await tracking.metricSamples(runIDs: [run], key: key, size: 10_000, read).map { text($0.run, $0.metric) }
            #expect(sampled == own.sorted { $0.place < $1.place }.map(\.text), "\(name)")
            let outline = try await tracking.metricOutline(runID: run, key: key, size: 20, read)
            let numbers = own.map(\.metric.value).filter { !$0.isNaN }
            #expect(outline.count == own.count && outline.points.map(\.value).filter { !$0.isNaN }.max() == numbers.max(), "\(name)")
        }
        for run in MigrationTests.runs {
            let stored = try await tracking.run(id: run, read)
            let expected = MigrationTests.newest(points).filter { $0.run == run }.map(\.text)
            #expect(stored.metrics.map { text(run, $0) }.sorted() == expected.sorted())
            #expect(stored.params == [KeyValue("p", "ü")] && stored.tags == [KeyValue("t", "1")])
        }

        // It goes on: a point that is there changes nothing, a newer one is the newest.
        let last = try #require(points.filter { $0.key == "loss" && $0.run == "r0" }.max { $0.place < $1.place })
        try await tracking.logMetric(runID: "r0", last.metric, write)
        try await tracking.logMetric(runID: "r0", Metric("loss", 3, at: at(9_999), step: 9_999), write)
        try await tracking.logMetric(runID: "r3", Metric("first", 1, at: at(1), step: 0), write)
        let count = try await tracking.metricOutline(runID: "r0", key: "loss", size: 10, read).count
        #expect(count == points.filter { $0.key == "loss" && $0.run == "r0" }.count + 1)
        #expect(try await tracking.run(id: "r0", read).metrics.first { $0.key == "loss" }?.value == 3)
        #expect(try await tracking.run(id: "r3", read).metrics.map(\.key) == ["first"])
    }

    @Test("runs are found and sorted by their metrics as before, and what was in the bin can be taken out")
    func runs() async throws {
        let folder = NSTemporaryDirectory() + "keel-migration-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let points = [
            Point("r0", "auc", 0.5, 1, 1), Point("r1", "auc", .nan, 1, 1), Point("r2", "auc", 0.9, 1, 1), Point("r3", "auc", 0.7, 1, 1),
        ]
        let database = try await version1(points, folder)
        try await database.migrate(Ledger.migrations + TrackingTables.migrations, backupFolder: folder + "/backups")
        let tracking = TrackingService(database: database, objects: try FolderObjectStore(root: folder + "/objects"))
        let owner = Caller(name: "ada", persona: .owner)
        let (read, write) = (try Grant.check(owner, may: .trackingRead), try Grant.check(owner, may: .trackingWrite))
        func found(_ filter: String, _ order: [String] = []) async throws -> [String] {
            try await tracking.searchRuns(RunSearch(experimentIDs: ["7"], filter: filter, orderBy: order), read).items.map(\.id)
        }
        #expect(try await found("", ["metrics.auc DESC"]) == ["r3", "r0", "r1"])
        #expect(try await found("metrics.auc > 0.6") == ["r3"])
        try await tracking.restoreRun(id: "r2", write)
        #expect(try await found("", ["metrics.auc DESC"]) == ["r2", "r3", "r0", "r1"])
        #expect(try await tracking.experiment(id: "7", read).createdAt == at(1000))
    }

    @Test("a filled database has the indexes that a new one has")
    func indexes() async throws {
        let folder = NSTemporaryDirectory() + "keel-migration-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let old = try await version1([], folder)
        try await old.migrate(Ledger.migrations + TrackingTables.migrations, backupFolder: folder + "/backups")
        func indexes(_ database: Storage.Database) async throws -> [String] {
            try await database.read { db in
                try db.rows("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name").map { $0.text("sql") }
            }
        }
        let new = try await Fixture().database
        let (before, after) = (try await indexes(new).filter { $0.contains("tracking_runs") }, try await indexes(old))
        #expect(before == after.filter { $0.contains("tracking_runs") } && before.contains { $0.contains("tracking_runs_unended") })
    }
}
