import Contracts
import Foundation
import Pipelines
import Storage
import Synchronization
import Testing

@Suite("Pipelines of several workspaces")
struct PipelineWorkspaceTests {
    private let fraud = WorkspaceID(stored: "fraud")

    private func may(_ action: Action, _ workspace: WorkspaceID) throws -> Grant {
        try Grant.check(Caller(name: "ann", persona: .owner, workspace: workspace), may: action)
    }

    private func go(_ service: PipelineService, _ workspace: WorkspaceID) async throws -> PipelineRun {
        let id = try await service.start(pipeline: "p", reason: "test", now: Timestamp(seconds: 0), grant: may(.pipelinesRun, workspace))
        return try await service.wait(id, grant: may(.pipelinesRead, workspace))
    }

    private func one(_ with: JSON) throws -> PipelineSpec { try spec(["steps": [["name": "a", "uses": "test", "with": with, "cache": true]]]) }

    @Test("pipelines of one name run in their workspace, and a result of one is none of the other")
    func sideBySide() async throws {
        let folder = try temporaryFolder()
        let kind = TestKind { context in ["workspace": .string(context.caller.workspace.name), "with": context.with] }
        let database = try await openDatabase(folder)
        let service = service(database, [kind], folder)
        try service.configure([one(["x": 1])], in: .default)
        try service.configure([one(["x": 1])], in: fraud)
        #expect(try await go(service, .default).step("a")?.outputs == ["workspace": "default", "with": ["x": 1]])
        // The same inputs, and yet nothing of what the other workspace computed.
        let first = try await go(service, fraud)
        #expect(first.step("a")?.outputs == ["workspace": "fraud", "with": ["x": 1]])
        #expect(first.step("a")?.cache == "miss: never ran")
        #expect(try await go(service, fraud).step("a")?.state == .cached)
        #expect(try await go(service, .default).step("a")?.outputs?["workspace"] == "default")
        #expect(kind.total == 2)
        #expect(try await service.runs(grant: may(.pipelinesRead, .default)).count == 2)
        #expect(try await service.runs(pipeline: "p", grant: may(.pipelinesRead, fraud)).count == 2)
        // Another revision in one is none in the other.
        try service.configure([], in: fraud)
        await #expect(throws: KeelError.notFound("there is no pipeline 'p'", hint: "none is applied yet")) { try await go(service, fraud) }
        #expect(try await go(service, .default).state == .succeeded)
        let events = try await database.read(in: fraud) { try $0.ledgerEvents(kind: "pipeline.run.started") }
        #expect(events.count == 2 && events.allSatisfy { $0.workspace == "fraud" })
    }

    @Test("a run of another workspace is as unknown as one that is nowhere, while it runs and after")
    func foreign() async throws {
        let folder = try temporaryFolder()
        let (reached, held) = (Gate(), Gate())
        let kind = TestKind { _ in
            await reached.open()
            await held.pass()
            return ["secret": 1]
        }
        let service = service(try await openDatabase(folder), [kind], folder)
        try service.configure([one([:])], in: fraud)
        let id = try await service.start(pipeline: "p", reason: "test", now: Timestamp(seconds: 0), grant: may(.pipelinesRun, fraud))
        await reached.pass()

        /// What each verb says of an id in `default`.
        func answers(_ id: String) async throws -> [String] {
            let (reading, running) = (try may(.pipelinesRead, .default), try may(.pipelinesRun, .default))
            let verbs: [@Sendable () async throws -> Void] = [
                { _ = try await service.run(id, grant: reading) }, { _ = try await service.wait(id, grant: reading) },
                { _ = try await service.cancel(id, grant: running) }, { _ = try await service.events(id, grant: reading) },
                { _ = try await service.log(id, step: "a", from: 0, tail: nil, grant: reading) },
                { _ = try await service.id(beginning: id, grant: reading) },
            ]
            var out: [String] = []
            for verb in verbs {
                let error = await #expect(throws: KeelError.self) { try await verb() }
                out.append("\(String(describing: error))".replacing(id, with: "ID"))
            }
            return out
        }
        let nowhere = try await answers(Identifier.uuid())
        #expect(try await answers(id) == nowhere)
        #expect(nowhere.allSatisfy { $0.contains("there is no pipeline run") })
        await held.open()
        #expect(try await service.wait(id, grant: may(.pipelinesRead, fraud)).state == .succeeded)
        #expect(try await answers(id) == nowhere)
        #expect(try await service.runs(grant: may(.pipelinesRead, .default)).isEmpty)
        #expect(try await service.id(beginning: String(id.prefix(20)), grant: may(.pipelinesRead, fraud)) == id)
    }

    @Test("a run of another workspace that a stop interrupted goes on in that workspace")
    func resume() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let reached = Gate()
        let first = service(
            database,
            [
                TestKind { _ in
                    await reached.open()
                    try await Task.sleep(for: .seconds(3600))
                    return [:]
                }
            ], folder)
        try first.configure([one([:])], in: fraud)
        let id = try await first.start(pipeline: "p", reason: "test", now: Timestamp(seconds: 0), grant: may(.pipelinesRun, fraud))
        await reached.pass()
        await first.shutdown()
        #expect(try await database.read(in: fraud) { try PipelineService.workspaceHolds($0) } == "1 pipeline runs under way")
        #expect(try await database.read(in: .default) { try PipelineService.workspaceHolds($0) } == nil)

        let seen = Mutex<[WorkspaceID]>([])
        let second = service(
            database,
            [
                TestKind { context in
                    seen.withLock { $0.append(context.caller.workspace) }
                    return [:]
                }
            ], folder)
        #expect(try await second.resumeUnfinished() == [id])
        #expect(try await second.wait(id, grant: may(.pipelinesRead, fraud)).state == .succeeded)
        #expect(seen.withLock { $0 } == [fraud])
        let events = try await database.read { try $0.ledgerEvents(kind: "pipeline.") }
        #expect(events.map(\.kind).contains("pipeline.run.resumed") && events.allSatisfy { $0.workspace == "fraud" })
        // The workspace can go now, and what it kept goes with it.
        #expect(try await database.read(in: fraud) { try PipelineService.workspaceHolds($0) } == nil)
        try await database.write(in: fraud) { try PipelineService.clearWorkspace($0) }
        await #expect(throws: KeelError.self) { try await second.run(id, grant: may(.pipelinesRead, fraud)) }
    }

    @Test("a trigger sees the events of its workspace alone, and acts there in the name of its author")
    func triggers() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let kind = TestKind { context in ["workspace": .string(context.caller.workspace.name)] }
        let pipelines = service(database, [kind], folder)
        let declared = try TriggerSpec(
            resource: Resource(kind: "Trigger", name: "retrain", spec: ["when": ["dataset/clicks snapshot", "schedule 0 * * * *"], "run": "p"]))
        let time = Mutex(Timestamp("2024-06-01T00:30:00Z")!)
        struct HandClock: Contracts.Clock {
            let read: @Sendable () -> Timestamp
            func now() -> Timestamp { read() }
        }
        let clock = HandClock { time.withLock { $0 } }
        let lost = Mutex(false)
        func open() -> TriggerService {
            TriggerService(database: database, pipelines: pipelines, clock: clock) { name, workspace in
                // Who has a role in `default` only, once it is lost.
                workspace != .default && lost.withLock { $0 } ? nil : Caller(name: name, persona: .owner, workspace: workspace)
            }
        }
        let service = open()
        for workspace in [.default, fraud] {
            try pipelines.configure([one([:])], in: workspace)
            try await service.configure([declared], authors: ["retrain": "ann"], in: workspace)
        }
        func snapshot(in workspace: WorkspaceID) async throws {
            _ = try await database.write(in: workspace) {
                try $0.record("dataset.snapshot", on: "Dataset/clicks", by: Caller.system("test", in: workspace))
            }
        }
        try await snapshot(in: fraud)
        #expect(try await service.advance().count == 1)
        #expect(try await service.advance().isEmpty)
        let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead, fraud)).first)
        #expect(try await pipelines.wait(run.id, grant: may(.pipelinesRead, fraud)).step("a")?.outputs == ["workspace": "fraud"])
        #expect(try await pipelines.runs(grant: may(.pipelinesRead, .default)).isEmpty)
        #expect(try await service.list(grant: may(.pipelinesRead, .default)).map(\.firedAt) == [nil])
        #expect(try await service.list(grant: may(.pipelinesRead, fraud)).first?.firedAt != nil)

        // One is paused; the other goes on, by its schedule too, also after a restart.
        _ = try await service.pause("retrain", grant: may(.pipelinesRun, fraud))
        let again = open()
        for workspace in [.default, fraud] { try await again.configure([declared], authors: ["retrain": "ann"], in: workspace) }
        time.withLock { $0 = Timestamp("2024-06-01T01:30:00Z")! }
        let actions = try await again.advance()
        #expect(actions.count == 2)
        #expect(try await again.list(grant: may(.pipelinesRead, .default)).map(\.pausedAt) == [nil])
        let started = try await pipelines.runs(grant: may(.pipelinesRead, .default))
        #expect(started.count == 1)
        #expect(try await pipelines.runs(grant: may(.pipelinesRead, fraud)).count == 1)
        for run in started { _ = try await pipelines.wait(run.id, grant: may(.pipelinesRead, .default)) }

        // The author's role in the workspace counts, not one elsewhere.
        _ = try await again.resume("retrain", grant: may(.pipelinesRun, fraud))
        lost.withLock { $0 = true }
        try await snapshot(in: fraud)
        guard case .skip(_, _, let reason)? = try await again.advance().first else {
            Issue.record("its author has no access to the workspace any more")
            return
        }
        #expect(reason.contains("the access of its author 'ann' was revoked"))
        // Declaring none in one workspace leaves the other's.
        try await again.configure([], authors: [String: TriggerAuthors](), in: fraud)
        #expect(try await again.list(grant: may(.pipelinesRead, fraud)).isEmpty)
        #expect(try await again.list(grant: may(.pipelinesRead, .default)).count == 1)
        await #expect(throws: KeelError.notFound("there is no trigger 'retrain'", hint: "keel get triggers lists them")) {
            try await again.pause("retrain", grant: may(.pipelinesRun, fraud))
        }
    }

    @Test("the tables of a version without workspaces become those of default")
    func migration() async throws {
        let folder = try temporaryFolder()
        let database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(Ledger.migrations + PipelineMigrations.all.filter { $0.version < 4 }, backupFolder: folder + "/backups")
        let stored = try spec(["steps": [["name": "a", "uses": "test"]]]).json.text
        try await database.write { tx in
            try tx.execute(
                """
                INSERT INTO pipeline_runs (id, pipeline, spec, parameters, reason, event_now, use_cache, caller, persona, workspace, request_id,
                    state, started_at) VALUES ('old', 'p', ?, '{}', 'asked', 0, 1, 'ann', 'owner', 'default', 'r', 'running', 0)
                """, [.string(stored)])
            try tx.execute("INSERT INTO pipeline_steps (run_id, step, position, uses, state, attempts) VALUES ('old', 'a', 0, 'test', 'pending', 0)")
            try tx.execute(
                """
                INSERT INTO pipeline_cache (cache_key, pipeline, step, parts, outputs, run_id, made_at) VALUES ('k', 'p', 'a', '{}', '{}', 'old', 0)
                """)
            try tx.execute(
                "INSERT INTO pipeline_triggers (name, fired_at, ticked_at, seen_seq, paused_at, paused_by) VALUES ('retrain', 1, 2, 3, 4, 'ann')")
        }
        try await database.migrate(Ledger.migrations + PipelineMigrations.all, backupFolder: folder + "/backups")
        let service = service(database, [TestKind { _ in ["done": true] }], folder)
        #expect(try await service.resumeUnfinished() == ["old"])
        #expect(try await service.wait("old", grant: may(.pipelinesRead, .default)).state == .succeeded)
        await #expect(throws: KeelError.self) { try await service.run("old", grant: may(.pipelinesRead, fraud)) }
        let rows = try await database.read { db in
            (try db.rows("SELECT workspace, cache_key FROM pipeline_cache WHERE cache_key = 'k'"), try db.rows("SELECT * FROM pipeline_triggers"))
        }
        #expect(rows.0.map { $0.text("workspace") } == ["default"])
        #expect(rows.1.map { $0.text("workspace") } == ["default"] && rows.1.first?.int("paused_at") == 4 && rows.1.first?.int("seen_seq") == 3)
    }
}
