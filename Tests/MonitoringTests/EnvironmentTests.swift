import Contracts
import Foundation
import Monitoring
import Storage
import Testing

@Suite("Monitors of one name in environments and workspaces")
struct EnvironmentTests {
    private static let fraud = WorkspaceID(stored: "fraud")
    private static let spec: JSON = ["endpoint": "delay", "window": "1h", "drift": ["minimumRows": 10]]

    private static func resource(_ environment: String?, in workspace: WorkspaceID = .default) -> Resource {
        var resource = Resource(kind: "Monitor", name: "delay", environment: environment, spec: spec)
        resource.workspace = workspace
        return resource
    }

    @Test("a monitor watches the endpoint of its own environment and workspace")
    func endpoints() throws {
        #expect(try MonitorSpec(resource: Self.resource(nil)).endpoint == ResourceRef("Endpoint", "delay"))
        #expect(try MonitorSpec(resource: Self.resource("staging")).endpoint == ResourceRef("Endpoint", "delay", environment: .staging))
        #expect(try MonitorSpec(resource: Self.resource(nil, in: Self.fraud)).endpoint == ResourceRef("Endpoint", "delay", in: Self.fraud))
        let error = #expect(throws: KeelError.self) { try MonitorSpec(resource: Self.resource("stagin")) }
        #expect(error?.path == "metadata.environment")
    }

    @Test("each counts its own endpoint's predictions, and raises its own alerts where it is")
    func apart() async throws {
        let column = try ReferenceColumn(name: "a", edges: [0.5], shares: [0.5, 0.5, 0])
        let home = try await MonitorHome(spec: Self.spec, inputs: [column])
        let staging = try MonitorSpec(resource: Self.resource("staging"))
        let elsewhere = try MonitorSpec(resource: Self.resource(nil, in: Self.fraud))
        try await home.service.configure([home.spec, staging])
        try await home.service.configure([elsewhere], in: Self.fraud)
        func rows(_ endpoint: ResourceRef, _ count: Int, hour: Int64, _ value: Float) -> [ObservedPrediction] {
            (0..<count).map { i in
                ObservedPrediction(
                    id: "\(endpoint) \(hour) \(i)", endpoint: endpoint, release: 1, eventTime: MonitorHome.start + .seconds(3600 * hour + 1),
                    score: 0.5, features: [value])
            }
        }
        for (spec, count) in [(home.spec, 40), (staging, 30), (elsewhere, 20)] {
            // Production is as in training, half below and half above; the others have moved.
            let moved = spec.ref != home.spec.ref
            try await home.service.observe(rows(spec.endpoint, count / 2, hour: 0, 1) + rows(spec.endpoint, count / 2, hour: 0, moved ? 1 : 0))
            try await home.service.observe(rows(spec.endpoint, 1, hour: 3, 0))
        }
        func windows(_ spec: MonitorSpec) async throws -> [WindowMeasurement] {
            let grant = try Grant.check(Caller(name: "ann", persona: .dataScientist, workspace: spec.ref.workspace), may: .monitorsRead)
            return try await home.service.windows(spec.ref, by: grant)
        }
        #expect(try await windows(home.spec).map(\.rows) == [40])
        #expect(try await windows(staging).map(\.rows) == [30])
        #expect(try await windows(elsewhere).map(\.rows) == [20])
        #expect(try await windows(staging).first?.endpoint == staging.endpoint)
        let alerts = try await home.alerts()
        #expect(alerts.map { "\($0.workspace) \($0.subject)" }.sorted() == ["default Monitor/delay@staging", "fraud Monitor/delay"])
        // Taking the monitors of one workspace out of force leaves the other's.
        try await home.service.configure([], in: .default)
        try await home.service.observe(rows(elsewhere.endpoint, 15, hour: 4, 1) + rows(elsewhere.endpoint, 1, hour: 8, 1))
        #expect(try await windows(elsewhere).count == 3)
        #expect(try await windows(staging).count == 1)
    }

    @Test("windows of a home from before have the monitor's name in its environment once that is decided")
    func old() async throws {
        let folder = NSTemporaryDirectory() + "keel-monitoring-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let database = try Database(path: folder + "/keel.sqlite")
        let old = Ledger.migrations + MonitoringTables.migrations.filter { $0.version == 1 }
        try await database.migrate(old, backupFolder: folder + "/backups")
        let body = """
            {"monitor":"delay","endpoint":"delay","kind":"drift","from":"2013-04-01T00:00:00Z","until":"2013-04-01T01:00:00Z","release":1,"rows":7,
            "total_rows":7,"late":0,"value":null,"alerted":false,"columns":[],"metrics":{},"reference":{},"notes":[]}
            """
        try await database.write { tx in
            try tx.execute("INSERT INTO monitor_marks (monitor, drift_closed, performance_closed) VALUES ('delay', 1, 1)")
            try tx.execute(
                """
                INSERT INTO monitor_windows (monitor, kind, until_at, from_at, endpoint, release_number, row_count, late_count, alerted, body, closed_at)
                VALUES ('delay', 'drift', 2, 1, 'delay', 1, 7, 0, 0, ?, 1)
                """, [.string(body)])
        }
        try await database.migrate(Ledger.migrations + MonitoringTables.migrations, backupFolder: folder + "/backups")
        #expect(try await database.read { try MonitoringService.undecidedNames(in: $0) } == ["delay"])
        for _ in 0..<2 {
            try await database.write { tx in
                try MonitoringService.decide("delay", is: .staging, in: tx)
                try MonitoringService.decide(endpoint: "delay", is: .staging, in: tx)
            }
        }
        let service = MonitoringService(database: database, references: FixedReference(value: nil), history: MemoryLog())
        let grant = try Grant.check(Caller(name: "ann", persona: .dataScientist), may: .monitorsRead)
        let monitor = ResourceRef("Monitor", "delay", environment: .staging)
        let found = try await service.windows(monitor, by: grant)
        #expect(found.map(\.monitor) == [monitor])
        #expect(found.map(\.endpoint) == [ResourceRef("Endpoint", "delay", environment: .staging)])
        #expect(try await service.windows(ResourceRef("Monitor", "delay"), by: grant).isEmpty)
    }
}
