import Contracts
import Foundation
import Pipelines
import Storage
import Synchronization
import Testing

private func trigger(_ spec: JSON, name: String = "retrain") throws -> TriggerSpec {
    try TriggerSpec(resource: Resource(kind: "Trigger", name: name, spec: spec))
}

private func words(_ action: TriggerAction) -> String {
    switch action {
    case .start: "start"
    case .skip: "skip"
    }
}

private final class HandClock: Contracts.Clock {
    let time: Mutex<Timestamp>
    init(_ time: Timestamp) { self.time = Mutex(time) }
    func now() -> Timestamp { time.withLock { $0 } }
    func set(_ to: Timestamp) { time.withLock { $0 = to } }
}

/// Who has access, by name.
private final class People: Sendable {
    let personas: Mutex<[String: Persona]>
    init(_ personas: [String: Persona]) { self.personas = Mutex(personas) }
    func caller(_ name: String) -> Caller? { personas.withLock { $0[name] }.map { Caller(name: name, persona: $0) } }
    func revoke(_ name: String) { personas.withLock { $0[name] = nil } }
}

@Suite("Triggers")
struct TriggerTests {
    private let known = People(["ann": .mlEngineer, "pat": .platformEngineer])
    private let day = TimeSpan.days(1)
    private let june = Timestamp("2013-06-01")!

    @Test("the cool-down counts event time, however fast the replay is")
    func cooldown() throws {
        let spec = try trigger(["when": "monitor/delay fires", "run": "p", "with": ["until": "now"], "cooldown": "14d"])
        var engine = TriggerEngine(triggers: [spec], memory: [:], now: .systemNow(), seq: 0)
        func alert(_ seq: Int64, day: Int64, monitor: String = "delay") -> [TriggerAction] {
            engine.observe(
                seq: seq, kind: "monitor.alert", subject: "Monitor/\(monitor)",
                data: ["eventTime": .string((june + .days(day)).description)], at: .systemNow())
        }
        guard case .start("retrain", "p", ["until": "now"], june + day, _)? = alert(1, day: 1).first else {
            Issue.record("the first alert starts the pipeline")
            return
        }
        guard case .skip(_, _, let reason)? = alert(2, day: 14).first else {
            Issue.record("13 days later it is cooling down")
            return
        }
        #expect(reason.contains("cooling down until 2013-06-16T00:00:00Z"))
        #expect(alert(3, day: 20, monitor: "other").isEmpty)
        #expect(alert(2, day: 40).isEmpty, "an event seen before does nothing")
        guard case .start(_, _, _, june + .days(15), _)? = alert(4, day: 15).first else {
            Issue.record("after exactly 14 days it fires again")
            return
        }
    }

    @Test("a schedule fires once for each time that passes, and once for many missed ones")
    func schedule() throws {
        let spec = try trigger(["when": ["schedule 0 4 1 * *", "schedule 0 5 1 * *"], "run": "p", "cooldown": "90d"])
        var engine = TriggerEngine(triggers: [spec], memory: [:], now: june, seq: 0)
        #expect(engine.tick(now: june).isEmpty)
        #expect(engine.tick(now: june + .hours(3)).isEmpty)
        #expect(engine.tick(now: june + .hours(4)).count == 1)
        #expect(engine.tick(now: june + .hours(4)).isEmpty)
        #expect(engine.tick(now: june + .hours(6)).count == 1)
        #expect(engine.tick(now: june + .days(400)).count == 1)
        #expect(engine.tick(now: june + .days(400)).isEmpty)
    }

    private func setUp(_ folder: String, clock: HandClock) async throws -> (Storage.Database, PipelineService, TriggerService, TestKind) {
        let database = try await openDatabase(folder)
        let kind = TestKind { context in ["now": .string(context.now.description), "until": context.with["until"] ?? .null] }
        let pipelines = service(database, [kind], folder)
        try pipelines.configure([
            spec(["parameters": ["until": "2013-01-01"], "steps": [["name": "a", "uses": "test", "with": ["until": "$until"]]]])
        ])
        return (
            database, pipelines, TriggerService(database: database, pipelines: pipelines, clock: clock, authority: { name, _ in known.caller(name) }),
            kind
        )
    }

    private func alert(_ database: Storage.Database, _ time: Timestamp) async throws {
        _ = try await database.write { tx in
            try tx.record("monitor.alert", on: "Monitor/delay", ["eventTime": .string(time.description)], by: Caller.system("monitor"))
        }
    }

    @Test("an alert starts the pipeline in event time, exactly once, also over a restart")
    func endToEnd() async throws {
        let folder = try temporaryFolder()
        let clock = HandClock(june)
        let (database, pipelines, triggers, _) = try await setUp(folder, clock: clock)
        let declared = try trigger(["when": "monitor/delay fires", "run": "p", "with": ["until": "now"], "cooldown": "14d"])
        try await alert(database, june)
        try await triggers.configure([declared], authors: ["retrain": "ann"])
        #expect(try await triggers.advance().isEmpty, "what happened before the trigger was declared is not its business")
        try await alert(database, june + .days(3))
        try await alert(database, june + .days(4))
        let actions = try await triggers.advance()
        #expect(actions.count == 2)
        #expect(try await triggers.advance().isEmpty)
        let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead)).first)
        let done = try await pipelines.wait(run.id, grant: may(.pipelinesRead))
        #expect(done.steps[0].outputs == ["now": "2013-06-04T00:00:00Z", "until": "2013-06-04T00:00:00Z"])
        #expect(done.reason.contains("monitor/delay fires"))

        let restarted = TriggerService(database: database, pipelines: pipelines, clock: clock, authority: { name, _ in known.caller(name) })
        try await restarted.configure([declared], authors: ["retrain": "ann"])
        #expect(try await restarted.advance().isEmpty)
        try await alert(database, june + .days(10))
        try await alert(database, june + .days(17))
        #expect(try await restarted.advance().map(words) == ["skip", "start"], "the cool-down outlives the restart")
        let events = try await database.read { try $0.ledgerEvents(kind: "trigger.").map(\.kind) }
        #expect(events == ["trigger.fired", "trigger.skipped", "trigger.skipped", "trigger.fired"])
    }

    @Test("a start that is not possible is told in the ledger and begins no cool-down")
    func impossible() async throws {
        let folder = try temporaryFolder()
        let (database, pipelines, triggers, kind) = try await setUp(folder, clock: HandClock(june))
        try await triggers.configure(
            [trigger(["when": "monitor/delay fires", "run": "later", "cooldown": "14d"])], authors: ["retrain": "ann"])
        try await alert(database, june)
        guard case .skip(_, _, let reason)? = try await triggers.advance().first else {
            Issue.record("there is no pipeline to start")
            return
        }
        #expect(reason.contains("there is no pipeline 'later'"))
        try pipelines.configure([spec(["steps": [["name": "a", "uses": "test"]]], name: "later")])
        try await alert(database, june + .days(1))
        #expect(try await triggers.advance().map(words) == ["start"])
        let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead)).first)
        _ = try await pipelines.wait(run.id, grant: may(.pipelinesRead))
        #expect(kind.total == 1)
    }

    @Test("a run that a trigger starts does no more than who changed the pipeline last may, or a data scientist when that one is gone")
    func changedPipelines() async throws {
        let folder = try temporaryFolder()
        let (database, _, triggers, _) = try await setUp(folder, clock: HandClock(june))
        let pipelines = service(database, [TestKind { context in ["may": .bool(context.caller.may(.releasesForce, on: nil))] }], folder)
        let caller: @Sendable (String, WorkspaceID) -> Caller? = { name, _ in
            ["olga": Caller(name: "olga", persona: .owner), "mel": Caller(name: "mel", persona: .mlEngineer)][name]
        }
        var expected: [String: Bool] = [:]
        for (i, author) in ["olga", "mel", "gone"].enumerated() {
            // Each its own step, so that none gets another's result.
            try pipelines.configure([spec(["steps": [["name": "a", "uses": "test", "with": ["until": .string(author)]]]])])
            let service = TriggerService(database: database, pipelines: pipelines, clock: HandClock(june), authority: caller)
            let declared = try trigger(["when": "monitor/delay fires", "run": "p"], name: "t\(i)")
            try await service.configure([declared], authors: ["t\(i)": TriggerAuthors(trigger: "olga", pipeline: author)], in: .default)
            try await alert(database, june + .days(Int64(i)))
            #expect(try await service.advance().map(words) == ["start"])
            let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead)).first)
            expected[author] = try await pipelines.wait(run.id, grant: may(.pipelinesRead)).steps[0].outputs?["may"] == true
        }
        #expect(expected == ["olga": true, "mel": false, "gone": false])
        _ = triggers
    }

    @Test("following the ledger starts the pipeline by itself")
    func following() async throws {
        let folder = try temporaryFolder()
        let (database, _, triggers, kind) = try await setUp(folder, clock: HandClock(june))
        try await triggers.configure([trigger(["when": "monitor/delay fires", "run": "p"])], authors: ["retrain": "ann"])
        let task = Task { await triggers.follow { Issue.record("\($0)") } }
        try await alert(database, june)
        while kind.total == 0 { try await Task.sleep(for: .milliseconds(5)) }
        task.cancel()
        await task.value
    }

    @Test("A5: a trigger may what its author may, and nothing when the author's access has ended")
    func authors() async throws {
        let folder = try temporaryFolder()
        let (database, pipelines, triggers, _) = try await setUp(folder, clock: HandClock(june))
        let declared = try ["anns", "pats"].map { try trigger(["when": "monitor/delay fires", "run": "p"], name: $0) }
        try await triggers.configure(declared, authors: ["anns": "ann", "pats": "pat"])
        try await alert(database, june)
        let actions = try await triggers.advance()
        #expect(actions.map(words) == ["start", "skip"], "a platform engineer may not run pipelines, neither does the trigger")
        guard case .skip("pats", _, let reason) = actions[1] else { return }
        #expect(reason.contains("pat (platform-engineer) may not pipelines.run"))
        let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead)).first)
        _ = try await pipelines.wait(run.id, grant: may(.pipelinesRead))
        let started = try await database.read { try $0.ledgerEvents(kind: "pipeline.run.started").first }
        #expect(started?.caller == "ann" && started?.persona == "ml-engineer")

        known.revoke("ann")
        try await alert(database, june + .days(1))
        #expect(try await triggers.advance().map(words) == ["skip", "skip"])
        let skipped = try await database.read { try $0.ledgerEvents(kind: "trigger.skipped", subject: "Trigger/anns").last }
        #expect(skipped?.data["reason"]?.string?.contains("the access of its author 'ann' was revoked or has expired") == true)
        #expect(try await pipelines.runs(grant: may(.pipelinesRead)).count == 1)
    }

    @Test("a paused trigger fires for nothing, over restarts, until it is resumed")
    func pausing() async throws {
        let folder = try temporaryFolder()
        let clock = HandClock(june)
        let (database, pipelines, triggers, _) = try await setUp(folder, clock: clock)
        let declared = try trigger(["when": ["monitor/delay fires", "schedule 0 4 1 * *"], "run": "p"])
        try await triggers.configure([declared], authors: ["retrain": "ann"])
        let paused = try await triggers.pause("retrain", grant: may(.pipelinesRun))
        #expect(paused.pausedBy == "test" && paused.json["state"] == "paused")
        let twice = await #expect(throws: KeelError.self) { try await triggers.pause("retrain", grant: may(.pipelinesRun)) }
        #expect(twice?.code == .failedPrecondition)
        try await alert(database, june)
        #expect(try await triggers.advance().map(words) == ["skip"])

        let restarted = TriggerService(database: database, pipelines: pipelines, clock: clock, authority: { name, _ in known.caller(name) })
        try await restarted.configure([declared], authors: ["retrain": "ann"])
        try await alert(database, june + .days(1))
        clock.set(june + .hours(5))
        #expect(try await restarted.advance().map(words) == ["skip", "skip"], "an alert and a schedule")
        #expect(try await restarted.resume("retrain", grant: may(.pipelinesRun)).pausedAt == nil)
        #expect(try await restarted.advance().isEmpty, "what happened meanwhile is not made up for")
        try await alert(database, june + .days(2))
        #expect(try await restarted.advance().map(words) == ["start"])
        let run = try #require(try await pipelines.runs(grant: may(.pipelinesRead)).first)
        _ = try await pipelines.wait(run.id, grant: may(.pipelinesRead))
        let kinds = try await database.read { try $0.ledgerEvents(subject: "Trigger/retrain").map(\.kind) }
        #expect(
            kinds == ["trigger.paused", "trigger.skipped", "trigger.skipped", "trigger.skipped", "trigger.resumed", "trigger.fired"])
    }
}
