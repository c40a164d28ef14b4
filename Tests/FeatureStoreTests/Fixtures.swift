import Contracts
import Engines
import FeatureStore
import Foundation
import Testing

func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: 1_365_000_000 + seconds) }

/// Events of machines: a key, a number with quarters (so that sums are exact), a nullable whole number, a condition, a text.
struct MachineEvent: Sendable {
    var machine: String?
    var line: Int64
    var time: Timestamp?
    var written: Timestamp?
    var x: Double?
    var n: Int64?
    var b: Bool?
    var s: String?

    static let schema = Schema(
        [
            Field("machine", .string, nullable: true), Field("line", .int64), Field("time", .timestamp, nullable: true),
            Field("written", .timestamp, nullable: true), Field("x", .float64, nullable: true), Field("n", .int32, nullable: true),
            Field("b", .bool, nullable: true), Field("s", .string, nullable: true),
        ])

    static func table(_ events: [MachineEvent]) throws -> Table {
        var table = Table(emptyOf: schema.fields)
        for e in events {
            try table.append(row: [
                e.machine.map(Value.string) ?? .null, .int(e.line), e.time.map(Value.timestamp) ?? .null,
                e.written.map(Value.timestamp) ?? .null,
                e.x.map(Value.double) ?? .null, e.n.map(Value.int) ?? .null, e.b.map(Value.bool) ?? .null, e.s.map(Value.string) ?? .null,
            ])
        }
        return table
    }
}

let machine = EntitySpec(name: "machine", keys: [Field("machine", .string), Field("line", .int64)])

func requests(_ rows: [(machine: String?, line: Int64, asked: Timestamp)]) throws -> Table {
    try Table([
        ("machine", Column(.string, values: rows.map { $0.machine.map(Value.string) ?? .null })),
        ("line", Column(.int64, values: rows.map { .int($0.line) })),
        ("asked", Column(.timestamp, values: rows.map { .timestamp($0.asked) })),
    ])
}

/// A folder that is removed at the end of the test.
final class Folder {
    let path: String
    init() throws {
        path = NSTemporaryDirectory() + "keel-features-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension FeatureStore {
    /// Puts a catalogue in force whose new views have no history.
    /// - Returns: the datasets whose history the change asked for.
    func configure(_ catalog: FeatureCatalog) -> [String] {
        let draft = draft(catalog)
        adopt(draft)
        return draft.datasets
    }

    func configure(entities: [EntitySpec], views: [FeatureViewSpec], services: [FeatureServiceSpec], datasets: [String: Schema]) throws
        -> [String]
    {
        configure(try FeatureCatalog(entities: entities, views: views, services: services, datasets: datasets))
    }
}
