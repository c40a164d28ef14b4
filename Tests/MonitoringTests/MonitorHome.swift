import Contracts
import Foundation
import Monitoring
import Storage
import Synchronization

/// A prediction log in memory, as the port's contract has it.
final class MemoryLog: PredictionHistory {
    private let rows = Mutex<[(prediction: ObservedPrediction, label: ObservedLabel?)]>([])

    func append(_ predictions: [ObservedPrediction]) { rows.withLock { $0 += predictions.map { ($0, nil) } } }
    func label(_ labels: [ObservedLabel]) {
        rows.withLock { rows in
            let places = Dictionary(rows.enumerated().map { ($0.element.prediction.id, $0.offset) }, uniquingKeysWith: { a, _ in a })
            for label in labels { if let i = places[label.id] { rows[i].label = label } }
        }
    }
    func lastEventTime(endpoint: ResourceRef) async throws -> Timestamp? {
        rows.withLock { $0.filter { $0.prediction.endpoint == endpoint && !$0.prediction.shadow }.map(\.prediction.eventTime).max() }
    }
    func forEach(
        endpoint: ResourceRef, since: Timestamp, _ body: @Sendable ([(prediction: ObservedPrediction, label: ObservedLabel?)]) async throws -> Void
    ) async throws {
        let found = rows.withLock { $0.filter { $0.prediction.endpoint == endpoint && $0.prediction.eventTime >= since } }
        for start in stride(from: 0, to: found.count, by: 100) { try await body(Array(found[start..<min(found.count, start + 100)])) }
    }
}

struct FixedReference: ReferenceSource {
    let value: MonitorReference?
    func reference(endpoint: ResourceRef, release: Int) async throws -> MonitorReference? { value }
}

/// A monitor `delay` with a database, a log and a reference of its own. Times are seconds after the first second of 2013-04-01.
struct MonitorHome {
    static let endpoint = ResourceRef("Endpoint", "delay")
    static let monitor = ResourceRef("Monitor", "delay")
    static let start = Timestamp("2013-04-01")!
    let database: Storage.Database
    let log = MemoryLog()
    let service: MonitoringService
    let spec: MonitorSpec
    let reference: MonitorReference

    init(spec: JSON, inputs: [ReferenceColumn], score: ReferenceColumn? = nil, metrics: [String: Double] = [:]) async throws {
        let folder = NSTemporaryDirectory() + "keel-monitoring-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(Ledger.migrations + MonitoringTables.migrations, backupFolder: folder + "/backups")
        self.spec = try MonitorSpec(resource: Resource(kind: "Monitor", name: "delay", spec: spec))
        reference = MonitorReference(inputs: inputs, score: score, rows: 10_000, metrics: metrics)
        service = MonitoringService(database: database, references: FixedReference(value: reference), history: log)
        try await service.configure([self.spec])
    }

    /// A process that starts on the same database and log.
    func restarted() async throws -> MonitoringService {
        let again = MonitoringService(database: database, references: FixedReference(value: reference), history: log)
        try await again.configure([spec])
        return again
    }

    func prediction(
        at seconds: Int64, features: [Float], score: Float = 0.5, release: Int = 1, shadow: Bool = false, id: String = Identifier.hex32()
    ) -> ObservedPrediction {
        ObservedPrediction(
            id: id, endpoint: MonitorHome.endpoint, release: release, eventTime: MonitorHome.start + .seconds(seconds), score: score, features: features,
            shadow: shadow)
    }

    func label(_ prediction: ObservedPrediction, _ label: Double?, isRight: Bool? = nil) -> ObservedLabel {
        ObservedLabel(
            id: prediction.id, endpoint: prediction.endpoint, release: prediction.release, eventTime: prediction.eventTime,
            score: prediction.score,
            label: label, isRight: isRight, shadow: prediction.shadow)
    }

    func read() throws -> Grant { try Grant.check(Caller(name: "ann", persona: .dataScientist), may: .monitorsRead) }
    func windows(_ kind: WindowMeasurement.Kind) async throws -> [WindowMeasurement] {
        try await service.windows(MonitorHome.monitor, kind: kind, by: read())
    }
    func alerts() async throws -> [LedgerEvent] { try await database.read { try $0.ledgerEvents(kind: "monitor.alert") } }
}
