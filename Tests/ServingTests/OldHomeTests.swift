import Contracts
import Foundation
import Serving
import Storage
import Testing

/// A home of the version before endpoints had workspaces and environments: its tables, and its journal of predictions.
@Suite("Homes from before endpoints had environments")
struct OldHomeTests {
    private static let migrations = Ledger.migrations + ServingTables.migrations
    private static let reader = try! Grant.check(Caller(name: "ada", persona: .owner), may: .predictionsRead)
    private static let releases = try! Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead)

    /// Two endpoints, each with a release and a prediction; and one prediction of each in the journal alone.
    private func make() async throws -> String {
        let folder = NSTemporaryDirectory() + "keel-serving-old-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let database = try Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            OldHomeTests.migrations.filter { $0.module != "serving" || $0.version <= 4 }, backupFolder: folder + "/backups")
        let caller = Caller(name: "ada", persona: .owner)
        try await database.write { tx in
            for name in ["delay", "tried"] {
                let bundle = Digest(of: Array(name.utf8)).hex
                let content: JSON = [
                    "endpoint": .string(name), "model": "m", "version": "1", "bundle": .string(bundle), "features": .null, "gate": "passed",
                ]
                let seq = try tx.record("release.created", on: "Endpoint/\(name)", ["release": 1, "model": "m", "version": "1"], by: caller)
                try tx.execute(
                    """
                    INSERT INTO releases (endpoint, number, model, model_version, bundle, gate, digest, created_at, created_by, created_seq, deployed_at)
                    VALUES (?, 1, 'm', '1', ?, 'passed', ?, ?, 'ada', ?, ?)
                    """,
                    [
                        .string(name), .string(bundle), .string(Digest(of: content.canonical).hex), .timestamp(tx.now), .int(seq),
                        .timestamp(tx.now),
                    ])
                try tx.record("release.promoted", on: "Endpoint/\(name)", ["release": 1, "model": "m", "version": "1"], by: caller)
                try tx.execute(
                    "INSERT INTO endpoint_state (endpoint, stable, phase_requests, requests, errors) VALUES (?, 1, 0, 0, 0)", [.string(name)])
                try tx.execute(
                    """
                    INSERT INTO predictions (id, endpoint, release_number, event_time, at, shadow, score, features, request, latency_ns)
                    VALUES (?, ?, 1, 1, 1, 0, 0.5, ?, '{}', 1)
                    """, [.string("table \(name)"), .string(name), .bytes([])])
            }
            try tx.execute("INSERT INTO early_labels (id, label, label_at, received_at) VALUES ('journal tried', 1, 1, ?)", [.timestamp(tx.now)])
        }
        try await database.close()
        let log = try DurableLog(folder: folder + "/predictions", segmentBytesMax: 1 << 20, syncInterval: .seconds(1), report: { _ in })
        _ = try log.append(["delay", "tried"].map { OldHomeTests.record(endpoint: $0, id: "journal \($0)") })
        try log.sync()
        return folder
    }

    /// A record of version 1 with one row.
    private static func record(endpoint: String, id: String) -> [UInt8] {
        var out: [UInt8] = []
        func add<Integer: FixedWidthInteger>(_ value: Integer) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
        func add(_ text: String) {
            add(UInt32(text.utf8.count))
            out += text.utf8
        }
        add(UInt8(1))
        add(UInt8(0))
        add(Int64(1))
        add(Int64(2))
        add(Int64(1000))
        add(endpoint)
        add(UInt32(1))
        add(id)
        add(Int64(2))
        add(Float(0.25).bitPattern)
        add(UInt32(0))
        add("{}")
        return out
    }

    private func predictions(_ database: Database, _ endpoint: ResourceRef) async throws -> [String] {
        try await PredictionQueries(database: database).predictions(endpoint: endpoint, OldHomeTests.reader).map(\.id)
    }

    @Test("what an endpoint had goes with it to the environment that it is declared in, in the tables, the journal and the decisions")
    func taken() async throws {
        let folder = try await make()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let database = try Database(path: folder + "/keel.sqlite")
        try await database.migrate(OldHomeTests.migrations, backupFolder: folder + "/backups")
        #expect(try await database.read { try DeploymentService.undecidedNames(in: $0) } == ["delay", "tried"])
        // Killed in the middle of it: nothing is decided.
        await #expect(throws: CancellationError.self) {
            try await database.write { tx in
                try DeploymentService.decide("tried", is: .staging, in: tx)
                throw CancellationError()
            }
        }
        #expect(try await database.read { try DeploymentService.undecidedNames(in: $0) } == ["delay", "tried"])
        for _ in 0..<2 {
            try await database.write { tx in
                try DeploymentService.decide("delay", is: .production, in: tx)
                try DeploymentService.decide("tried", is: .staging, in: tx)
            }
        }
        // What is decided is not decided again.
        try await database.write { try DeploymentService.decide("tried", is: .development, in: $0) }
        #expect(try await database.read { try DeploymentService.undecidedNames(in: $0) }.isEmpty)
        let log = try PredictionLog(database: database, journal: folder + "/predictions")
        try await log.recover()
        let tried = ResourceRef("Endpoint", "tried", environment: .staging)
        #expect(try await predictions(database, .delay) == ["table delay", "journal delay"])
        #expect(try await predictions(database, tried) == ["table tried", "journal tried"])
        #expect(try await predictions(database, ResourceRef("Endpoint", "tried")).isEmpty)
        // A label that waited for its prediction finds it there.
        let rows = try await PredictionQueries(database: database).predictions(endpoint: tried, OldHomeTests.reader)
        #expect(rows.map(\.label) == [nil, 1.0])
        let runtime = ServingRuntime(log: log, threads: 1)
        let service = DeploymentService(database: database, models: ModelLoader(objects: try FolderObjectStore(root: folder + "/objects")), runtime: runtime, features: nil)
        try await service.configure([EndpointSpec(.delay), EndpointSpec(tried)])
        // The digest of what was released then is still its digest.
        #expect(try await service.releases(endpoint: tried, OldHomeTests.releases).map(\.name) == ["tried@staging/1"])
        #expect(try await service.state(endpoint: tried, OldHomeTests.releases).stable == 1)
        let decisions = try await service.decisions(model: "m", version: "1", limit: 10, OldHomeTests.releases).events
        #expect(
            decisions.map { "\($0.kind) \($0.subject)" } == [
                "release.created Endpoint/delay", "release.promoted Endpoint/delay", "release.created Endpoint/tried",
                "release.promoted Endpoint/tried",
            ])
    }
}
