import Contracts
import Datasets
import Engines
import Foundation
import Storage
import Testing

/// A home folder with a data estate in it; reopening it is what a restart does.
final class Estate {
    let home: String
    let database: Database
    let data: DatasetService
    let damage = DamageRegister()
    static let owner = Caller(name: "test", persona: .owner)

    init(home: String? = nil, _ specs: [DatasetSpec], clock: any Contracts.Clock = SystemClock()) async throws {
        self.home = home ?? NSTemporaryDirectory() + "keel-data-\(Identifier.hex32())"
        try FileManager.default.createDirectory(atPath: self.home, withIntermediateDirectories: true)
        database = try Database(path: self.home + "/keel.sqlite")
        try await database.migrate(Ledger.migrations + DatasetTables.migrations, backupFolder: self.home + "/backups")
        data = try DatasetService(
            database: database, lake: self.home + "/lake", streams: self.home + "/streams",
            duckdb: try DuckDB(settings: .init(folders: [self.home], threads: 1)), damage: damage, clock: clock)
        try await data.start()
        let failures = await data.configure(specs)
        #expect(failures.isEmpty)
    }

    static func may(_ action: Action) throws -> Grant { try Grant.check(owner, may: action) }

    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = "\(home)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }
    func file(_ name: String, _ text: String) throws -> String { try file(name, Array(text.utf8)) }

    func ingest(_ dataset: String, _ path: String, member: String? = nil, overwrite: Bool = false) async throws -> IngestReport {
        try await data.ingest(dataset: dataset, file: path, member: member, overwrite: overwrite, grant: try Estate.may(.datasetsIngest))
    }
    func ingest(_ dataset: String, csv text: String) async throws -> IngestReport {
        try await ingest(dataset, try file("in-\(Identifier.hex32()).csv", text))
    }

    func read(_ dataset: String, _ snapshot: Int? = nil) async throws -> Table {
        try await data.read(dataset: dataset, snapshot: snapshot, grant: try Estate.may(.datasetsRead))
    }
    func quarantine(_ dataset: String, _ snapshot: Int) async throws -> [QuarantinedRow] {
        try await data.quarantine(dataset: dataset, snapshot: snapshot, grant: try Estate.may(.datasetsRead))
    }
    func push(_ dataset: String, _ text: String) throws -> PushResult {
        let grant = try Estate.may(.eventsPush)
        return try Array(text.utf8).withUnsafeBufferPointer { try data.push(dataset: dataset, json: $0, grant: grant) }
    }
    func lakeFiles(_ dataset: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(home)/lake/datasets/\(dataset)").sorted()
    }

    deinit { try? FileManager.default.removeItem(atPath: home) }
}

/// Datasets of the workspace `default`, by their names.
extension DatasetService {
    func configure(_ specs: [DatasetSpec]) async -> [String: KeelError] { await configure(specs, in: .default) }
    func snapshot(_ dataset: String, _ number: Int? = nil) async throws -> Snapshot? {
        try await snapshot(ResourceRef("Dataset", dataset), number)
    }
    func files(of snapshot: Snapshot) async throws -> [String] { try await files(of: snapshot, in: .default) }
    func verify(_ file: Snapshot.File, of dataset: String) async throws { try await verify(file, of: ResourceRef("Dataset", dataset)) }
    func holding(_ dataset: String) async throws -> Holding { try await holding(ResourceRef("Dataset", dataset)) }
    func loadKeys(dataset: String) async throws { try await loadKeys(ResourceRef("Dataset", dataset)) }
    func streamBounds(_ dataset: String) throws -> Range<UInt64> { try streamBounds(ResourceRef("Dataset", dataset)) }
    func withHistory<T: Sendable>(_ dataset: String, _ body: @Sendable (DatasetHistory) async throws -> T) async throws -> T {
        try await withHistory(ResourceRef("Dataset", dataset), body)
    }
}

func dataset(_ name: String, _ spec: String) throws -> DatasetSpec {
    try DatasetSpec(resource: Resource(kind: "Dataset", name: name, spec: try JSON.parse(spec)))
}

let trips = """
    {"key": ["id"], "eventTime": "at", "columns": [
      {"name": "id", "type": "int64"},
      {"name": "at", "type": "timestamp"},
      {"name": "miles", "type": "float64", "range": [0, 100]},
      {"name": "kind", "type": "string", "oneOf": ["bus", "taxi"]},
      {"name": "note", "type": "string", "nullable": true}]}
    """

/// Runs a Python program, as the writer of files that Keel must read.
func python(_ program: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", program] + arguments
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
}
