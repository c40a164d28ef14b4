import Contracts
import Foundation
import Pipelines
import Storage
import Synchronization
import Testing

func temporaryFolder() throws -> String {
    let path = NSTemporaryDirectory() + "keel-test-" + Identifier.hex32()
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

func openDatabase(_ folder: String) async throws -> Storage.Database {
    let database = try Storage.Database(path: folder + "/keel.sqlite")
    try await database.migrate(Ledger.migrations + PipelineMigrations.all, backupFolder: folder + "/backups")
    return database
}

func may(_ action: Action) throws -> Grant { try Grant.check(Caller(name: "test", persona: .owner), may: action) }

extension TriggerService {
    /// As `configure`; whoever applied the trigger applied its pipeline.
    func configure(_ specs: [TriggerSpec], authors: [String: String], in workspace: WorkspaceID = .default) async throws {
        try await configure(specs, authors: authors.mapValues { TriggerAuthors(trigger: $0, pipeline: $0) }, in: workspace)
    }
}

func spec(_ json: JSON, name: String = "p") throws -> PipelineSpec {
    try PipelineSpec(resource: Resource(kind: "Pipeline", name: name, spec: json))
}

/// A step kind from closures, which counts its runs by step.
final class TestKind: StepKind {
    let name: String
    let version: Int
    let outputNames: [String]?
    let print: @Sendable () -> JSON
    let body: @Sendable (StepContext) async throws -> JSON
    let runs = Mutex<[String: Int]>([:])

    init(
        _ name: String = "test", version: Int = 1, outputs: [String]? = nil,
        _ body: @escaping @Sendable (StepContext) async throws -> JSON = { $0.with },
        fingerprint: @escaping @Sendable () -> JSON = { .object([]) }
    ) {
        (self.name, self.version, self.print, self.body) = (name, version, fingerprint, body)
        outputNames = outputs
    }

    func count(_ step: String) -> Int { runs.withLock { $0[step] ?? 0 } }
    var total: Int { runs.withLock { $0.values.reduce(0, +) } }

    func validate(_ with: JSON) throws(KeelError) { if with["bad"] != nil { throw .invalid("is bad", path: "bad") } }
    func outputNames(of with: JSON) -> [String]? { outputNames }
    func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON { print() }
    func run(_ context: StepContext) async throws -> JSON {
        runs.withLock { $0[context.step, default: 0] += 1 }
        return try await body(context)
    }
}

func service(_ database: Storage.Database, _ kinds: [any StepKind], _ folder: String, concurrency: Int = 4) -> PipelineService {
    PipelineService(
        database: database, kinds: kinds, workFolder: folder + "/work", concurrency: concurrency, backoff: { _ in .milliseconds(1) })
}

extension PipelineService {
    func configure(_ specs: [PipelineSpec]) throws(KeelError) { try configure(specs, in: .default) }

    func go(_ name: String = "p", _ parameters: JSON = .object([]), now: Timestamp = Timestamp(seconds: 0), useCache: Bool = true)
        async throws -> PipelineRun
    {
        let id = try await start(
            pipeline: name, parameters: parameters, reason: "test", now: now, useCache: useCache, grant: may(.pipelinesRun))
        return try await wait(id, grant: may(.pipelinesRead))
    }
}

extension PipelineRun {
    func step(_ name: String) -> StepRun? { steps.first { $0.name == name } }
}

/// Opens when told; everyone waits until then.
actor Gate {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    func open() {
        isOpen = true
        for one in waiting { one.resume() }
        waiting = []
    }
    func pass() async { if !isOpen { await withCheckedContinuation { waiting.append($0) } } }
}
