import Contracts
import Foundation
import Pipelines
import Storage
import Synchronization
import Testing

@Suite("Running pipelines")
struct PipelineServiceTests {
    @Test("outputs flow through references, and every change is in the ledger")
    func flow() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let service = service(database, [TestKind()], folder)
        try service.configure([
            spec([
                "parameters": ["from": "2013-01-01", "until": "now", "trees": 150],
                "steps": [
                    [
                        "name": "train", "uses": "test",
                        "with": ["data": "$examples.files", "text": "$trees trees to ${until}, $$1", "trees": "$trees"],
                    ],
                    ["name": "examples", "uses": "test", "with": ["files": ["a", "$from"], "at": "$now"]],
                ],
            ])
        ])
        let run = try await service.go("p", ["trees": "200"], now: #require(Timestamp("2013-06-01")))
        #expect(run.state == .succeeded && run.error == nil)
        #expect(run.step("examples")?.outputs == ["files": ["a", "2013-01-01"], "at": "2013-06-01T00:00:00Z"])
        #expect(
            run.step("train")?.outputs == ["data": ["a", "2013-01-01"], "text": "200 trees to 2013-06-01T00:00:00Z, $1", "trees": 200])
        let kinds = try await database.read { try $0.ledgerEvents(subject: "Pipeline/p").map(\.kind) }
        #expect(kinds == ["pipeline.run.started", "pipeline.step.finished", "pipeline.step.finished", "pipeline.run.finished"])
    }

    @Test("bad parameters start nothing")
    func parameters() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let service = service(database, [TestKind()], folder)
        try service.configure([
            spec(["parameters": ["trees": 150, "key": .null], "steps": [["name": "a", "uses": "test", "with": ["x": "$trees"]]]])
        ])
        for bad: JSON in [["key": 1, "tree": 2], [:], ["key": 1, "trees": "many"], [1]] {
            await #expect(throws: KeelError.self) { try await service.go("p", bad) }
        }
        let error = await #expect(throws: KeelError.self) { try await service.go("q") }
        #expect(error?.code == .notFound)
        #expect(try await service.runs(grant: may(.pipelinesRead)).isEmpty)
        await #expect(throws: KeelError.self) {
            try await service.start(pipeline: "p", reason: "", now: .systemNow(), grant: may(.pipelinesRead))
        }
    }

    @Test("a configuration with one wrong pipeline changes nothing")
    func configure() async throws {
        let folder = try temporaryFolder()
        let service = service(try await openDatabase(folder), [TestKind()], folder)
        try service.configure([spec(["steps": [["name": "a", "uses": "test"]]])])
        let wrong = try spec(["steps": [["name": "a", "uses": "nothing"]]], name: "wrong")
        #expect(throws: KeelError.self) { try service.configure([wrong]) }
        #expect(try await service.go().state == .succeeded)
    }

    @Test("steps that do not need each other run at the same time, up to the limit")
    func parallel() async throws {
        let folder = try temporaryFolder()
        let gate = Gate()
        let now = Mutex((running: 0, most: 0))
        let kind = TestKind { context in
            let running = now.withLock { state in
                state.running += 1
                state.most = max(state.most, state.running)
                return state.running
            }
            // Nobody leaves before three have come: alone in turn they would wait for ever.
            if running == 3 { await gate.open() }
            await gate.pass()
            now.withLock { $0.running -= 1 }
            return .object([])
        }
        let service = service(try await openDatabase(folder), [kind], folder, concurrency: 3)
        try service.configure([spec(["steps": .array((0..<12).map { ["name": .string("s\($0)"), "uses": "test"] })])])
        #expect(try await service.go().state == .succeeded)
        #expect(now.withLock { $0.most } == 3)
    }

    @Test("a fan-out of a thousand steps ends with every step done once")
    func fanOut() async throws {
        let folder = try temporaryFolder()
        let kind = TestKind { _ in ["x": 1] }
        let service = service(try await openDatabase(folder), [kind], folder, concurrency: 16)
        let names = (0..<1000).map { "s\($0)" }
        let steps = names.map { name -> JSON in ["name": .string(name), "uses": "test", "with": ["from": "$root.x", "i": .string(name)]] }
        try service.configure([
            spec([
                "steps": .array(
                    [["name": "root", "uses": "test"]] + steps + [
                        ["name": "last", "uses": "test", "with": ["all": .array(names.map { .string("$\($0).x") })]]
                    ])
            ])
        ])
        let run = try await service.go()
        #expect(run.error == nil)
        #expect(run.state == .succeeded && run.steps.count == 1002 && run.steps.allSatisfy { $0.state == .succeeded })
        #expect(kind.total == 1002)
        let again = try await service.go()
        #expect(again.steps.allSatisfy { $0.state == .cached })
        #expect(kind.total == 1002)
    }

    @Test("a failing step fails the run, ends its neighbours and leaves the rest out")
    func failure() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let kind = TestKind { context in
            if context.step == "bad" { throw KeelError(.contractViolation, "the data is wrong") }
            if context.step == "long" { try await Task.sleep(for: .seconds(3600)) }
            return .object([])
        }
        let service = service(database, [kind], folder)
        try service.configure([
            spec([
                "steps": [
                    ["name": "bad", "uses": "test"], ["name": "long", "uses": "test"], ["name": "after", "uses": "test", "needs": "bad"],
                ]
            ])
        ])
        let run = try await service.go()
        #expect(run.state == .failed)
        #expect(run.error == "step 'bad' failed: the data is wrong")
        #expect(run.steps.map(\.state) == [.failed, .cancelled, .skipped])
        let last = try await database.read { try $0.ledgerEvents().last }
        #expect(last?.kind == "pipeline.run.failed" && last?.data["error"] == "step 'bad' failed: the data is wrong")
    }

    @Test("a reference to an output that is not there names those that are")
    func missingOutput() async throws {
        let folder = try temporaryFolder()
        let service = service(try await openDatabase(folder), [TestKind()], folder)
        try service.configure([
            spec([
                "steps": [["name": "a", "uses": "test", "with": ["model": 1]], ["name": "b", "uses": "test", "with": ["m": "$a.modle"]]]
            ])
        ])
        let run = try await service.go()
        #expect(run.step("b")?.error?.contains("did you mean 'model'?") == true)
    }

    @Test("a step is tried again as often as it says, and no more")
    func retries() async throws {
        let folder = try temporaryFolder()
        let kind = TestKind { context in
            if context.attempt <= (context.step == "lucky" ? 2 : 9) { throw KeelError(.unavailable, "not now") }
            return ["attempt": .int(Int64(context.attempt))]
        }
        let invalid = TestKind("invalid") { _ in throw KeelError.invalid("never") }
        let service = service(try await openDatabase(folder), [kind, invalid], folder)
        try service.configure([
            spec(["steps": [["name": "lucky", "uses": "test", "retries": 3]]], name: "lucky"),
            spec(["steps": [["name": "unlucky", "uses": "test", "with": ["x": 1], "retries": 2]]], name: "unlucky"),
            spec(["steps": [["name": "invalid", "uses": "invalid", "retries": 5]]], name: "invalid"),
        ])
        let lucky = try await service.go("lucky")
        #expect(lucky.state == .succeeded && lucky.step("lucky")?.attempts == 3)
        let unlucky = try await service.go("unlucky")
        #expect(unlucky.state == .failed && unlucky.step("unlucky")?.attempts == 3)
        #expect(try await service.go("invalid").steps[0].attempts == 1)
    }

    @Test("a step that takes too long is ended with the reason")
    func timeout() async throws {
        let folder = try temporaryFolder()
        let kind = TestKind { _ in
            try await Task.sleep(for: .seconds(3600))
            return .object([])
        }
        let service = service(try await openDatabase(folder), [kind], folder)
        try service.configure([spec(["steps": [["name": "a", "uses": "test", "timeout": "50ms"]]])])
        let run = try await service.go()
        #expect(run.state == .failed && run.error?.contains("timeout of 50ms") == true)
    }

    @Test("every hit and miss of the cache says why")
    func cache() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let snapshot = Mutex("s1")
        let kind = TestKind(
            "test", { context in ["model": .string("m\(context.with["trees"]?.text ?? "")")] },
            fingerprint: { ["snapshot": .string(snapshot.withLock { $0 })] })
        let service = service(database, [kind], folder)
        let json: JSON = [
            "parameters": ["trees": 150],
            "steps": [
                ["name": "train", "uses": "test", "with": ["trees": "$trees", "depth": 6]],
                ["name": "evaluate", "uses": "test", "with": ["model": "$train.model"]], ["name": "never", "uses": "test", "cache": false],
            ],
        ]
        try service.configure([spec(json)])
        let first = try await service.go()
        #expect(first.steps.map(\.cache) == ["miss: never ran", "miss: never ran", "miss: cache disabled (the step says cache: false)"])
        let second = try await service.go()
        #expect(second.steps.map(\.state) == [.cached, .cached, .succeeded])
        #expect(second.step("train")?.cache == "hit: same inputs as run \(first.id)")
        #expect(second.step("train")?.outputs == first.step("train")?.outputs)
        let third = try await service.go("p", ["trees": 200])
        #expect(third.step("train")?.cache == "miss: input trees changed 150 → 200")
        #expect(third.step("evaluate")?.cache == "miss: input model changed m150 → m200")
        snapshot.withLock { $0 = "s2" }
        #expect(try await service.go("p", ["trees": 200]).step("train")?.cache == "miss: dependency snapshot changed s1 → s2")
        #expect(try await service.go(useCache: false).step("train")?.cache == "miss: cache disabled (the run was started without it)")
        let newer = TestKind(version: 2)
        let upgraded = PipelineService(database: database, kinds: [newer], workFolder: folder + "/work")
        try upgraded.configure([spec(json)])
        #expect(try await upgraded.go().step("train")?.cache?.contains("kind changed test version 1 → test version 2") == true)
    }

    @Test("a cancelled run ends its steps and is recorded by whom")
    func cancel() async throws {
        let folder = try temporaryFolder()
        let gate = Gate()
        let kind = TestKind { _ in
            await gate.open()
            try await Task.sleep(for: .seconds(3600))
            return .object([])
        }
        let service = service(try await openDatabase(folder), [kind], folder)
        try service.configure([spec(["steps": [["name": "a", "uses": "test"], ["name": "b", "uses": "test", "needs": "a"]]])])
        let id = try await service.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
        await gate.pass()
        #expect(try await service.run(id, grant: may(.pipelinesRead)).steps.map(\.state) == [.running, .pending])
        let run = try await service.cancel(id, grant: may(.pipelinesRun))
        #expect(run.state == .cancelled && run.error == "cancelled by test" && run.steps.map(\.state) == [.cancelled, .cancelled])
        let error = await #expect(throws: KeelError.self) { try await service.cancel(id, grant: may(.pipelinesRun)) }
        #expect(error?.code == .failedPrecondition)
    }

    @Test("after a stop the run goes on where it was, and finished steps are not run again")
    func resume() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let reached = Gate()
        let blocking = TestKind { context in
            if context.step == "b" {
                await reached.open()
                try await Task.sleep(for: .seconds(3600))
            }
            return ["from": "first"]
        }
        let first = service(database, [blocking], folder)
        let json: JSON = [
            "parameters": ["x": 1],
            "steps": [
                ["name": "a", "uses": "test", "with": ["x": "$x"], "cache": false], ["name": "b", "uses": "test", "with": ["x": "$a"]],
                ["name": "c", "uses": "test", "with": ["x": "$b"]],
            ],
        ]
        try first.configure([spec(json)])
        let id = try await first.start(
            pipeline: "p", parameters: ["x": 7], reason: "test", now: Timestamp(seconds: 5), grant: may(.pipelinesRun))
        await reached.pass()
        await first.shutdown()
        await #expect(throws: KeelError.self) { try await first.go() }

        let kind = TestKind { context in
            ["from": "second", "with": context.with, "now": .string(context.now.description), "caller": .string(context.caller.name)]
        }
        let second = service(database, [kind], folder)
        #expect(try await second.resumeUnfinished() == [id])
        let run = try await second.wait(id, grant: may(.pipelinesRead))
        #expect(run.state == .succeeded)
        #expect(kind.count("a") == 0 && kind.count("b") == 1 && kind.count("c") == 1)
        #expect(run.step("a")?.outputs == ["from": "first"])
        #expect(
            run.step("b")?.outputs == ["from": "second", "with": ["x": ["from": "first"]], "now": "1970-01-01T00:00:05Z", "caller": "test"])
        #expect(try await second.resumeUnfinished() == [])
        #expect(try await database.read { try $0.verifyLedger() }.broken == nil)
    }

    @Test("a run whose kind of step is gone fails at the start with the reason")
    func resumeWithoutKind() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let reached = Gate()
        let first = service(
            database,
            [
                TestKind("gone") { _ in
                    await reached.open()
                    try await Task.sleep(for: .seconds(3600))
                    return .object([])
                }
            ], folder)
        try first.configure([spec(["steps": [["name": "a", "uses": "gone"]]])])
        let id = try await first.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
        await reached.pass()
        await first.shutdown()
        let second = service(database, [TestKind()], folder)
        #expect(try await second.resumeUnfinished() == [])
        let run = try await second.run(id, grant: may(.pipelinesRead))
        #expect(run.state == .failed && run.error?.contains("'gone' is not a kind of step") == true)
    }

    @Test("D11: a step that runs whenever the server ends is not resumed for ever")
    func interruptions() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let attempts = Mutex<[Int]>([])
        let reached = Mutex(0)
        let kind = TestKind { context in
            attempts.withLock { $0.append(context.attempt) }
            reached.withLock { $0 += 1 }
            try await Task.sleep(for: .seconds(3600))
            return .object([])
        }
        let first = service(database, [kind], folder)
        try first.configure([spec(["steps": [["name": "a", "uses": "test"], ["name": "b", "uses": "test", "needs": "a"]]])])
        let id = try await first.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
        // A service that is left behind while its step runs is what a killed server leaves behind: the step stands there as running.
        for servers in 1...StepRun.interruptionsMax {
            while reached.withLock({ $0 }) < servers { try await Task.sleep(for: .milliseconds(2)) }
            let next = service(database, [kind], folder)
            #expect(try await next.resumeUnfinished() == (servers < StepRun.interruptionsMax ? [id] : []))
        }
        let last = service(database, [kind], folder)
        let run = try await last.run(id, grant: may(.pipelinesRead))
        #expect(run.state == .failed && run.error?.contains("the server ended 3 times while this step ran") == true)
        #expect(run.steps.map(\.state) == [.failed, .skipped] && run.steps[0].interruptions == 3)
        #expect(attempts.withLock { $0 } == [1, 2, 3], "every attempt has a number of its own")
        #expect(try await last.resumeUnfinished() == [])
    }

    @Test("a stop that was asked for is no interruption")
    func stopsAreNotCounted() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        var id = ""
        for servers in 0...4 {
            let reached = Gate()
            let kind = TestKind { _ in
                await reached.open()
                try await Task.sleep(for: .seconds(3600))
                return .object([])
            }
            let service = service(database, [kind], folder)
            if servers == 0 {
                try service.configure([spec(["steps": [["name": "a", "uses": "test"]]])])
                id = try await service.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
            } else {
                #expect(try await service.resumeUnfinished() == [id])
            }
            await reached.pass()
            await service.shutdown()
        }
        let run = try await service(database, [TestKind()], folder).run(id, grant: may(.pipelinesRead))
        #expect(run.steps[0].attempts == 5 && run.steps[0].interruptions == 0 && run.state == .running)
    }

    @Test("attempts that failed before a restart count")
    func failuresOverRestarts() async throws {
        let folder = try temporaryFolder()
        let database = try await openDatabase(folder)
        let reached = Gate()
        let first = service(
            database,
            [
                TestKind { context in
                    if context.attempt <= 2 { throw KeelError(.unavailable, "not now") }
                    await reached.open()
                    try await Task.sleep(for: .seconds(3600))
                    return .object([])
                }
            ], folder)
        try first.configure([spec(["steps": [["name": "a", "uses": "test", "retries": 2]]])])
        let id = try await first.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
        await reached.pass()
        await first.shutdown()
        let failing = TestKind { _ in throw KeelError(.unavailable, "not now") }
        let second = service(database, [failing], folder)
        #expect(try await second.resumeUnfinished() == [id])
        #expect(try await second.wait(id, grant: may(.pipelinesRead)).state == .failed)
        #expect(failing.total == 1, "two of three attempts had failed before")
    }

    @Test("a run is found by the beginning of its id, when no other begins so")
    func shortIDs() async throws {
        let folder = try temporaryFolder()
        let service = service(try await openDatabase(folder), [TestKind()], folder)
        try service.configure([spec(["steps": [["name": "a", "uses": "test"]]])])
        let ids = [try await service.go().id, try await service.go().id]
        let grant = try may(.pipelinesRead)
        for id in ids { #expect(try await service.id(beginning: id, grant: grant) == id) }
        let common = String(zip(ids[0], ids[1]).prefix { $0 == $1 }.map(\.0))
        let own = String(ids[1].prefix(common.count + 1))
        #expect(try await service.id(beginning: own, grant: grant) == ids[1])
        let several = await #expect(throws: KeelError.self) { try await service.id(beginning: common, grant: grant) }
        #expect(several?.code == .invalidArgument)
        let none = await #expect(throws: KeelError.self) { try await service.id(beginning: "zz", grant: grant) }
        #expect(none?.code == .notFound)
    }

    @Test("those who watch see steps, progress and the end")
    func events() async throws {
        let folder = try temporaryFolder()
        let gate = Gate()
        let kind = TestKind { context in
            await gate.pass()
            context.progress(0.5, "half")
            context.log("a line")
            return .object([])
        }
        let service = service(try await openDatabase(folder), [kind], folder)
        try service.configure([spec(["steps": [["name": "a", "uses": "test"]]])])
        let id = try await service.start(pipeline: "p", reason: "test", now: .systemNow(), grant: may(.pipelinesRun))
        let stream = try await service.events(id, grant: may(.pipelinesRead))
        await gate.open()
        var seen: [PipelineEvent] = []
        for await event in stream { seen.append(event) }
        #expect(seen.contains(.stepProgress(step: "a", done: 0.5, message: "half")))
        #expect(seen.contains(.stepLog(step: "a", line: "a line")))
        #expect(seen.last == .runFinished(.succeeded, error: nil))
        var later: [PipelineEvent] = []
        for await event in try await service.events(id, grant: may(.pipelinesRead)) { later.append(event) }
        #expect(later == [.runFinished(.succeeded, error: nil)])
        #expect(FileManager.default.contents(atPath: "\(folder)/work/\(id)/a.log") == Data("a line\n".utf8))
    }

    @Test("runs are listed newest first, page by page")
    func listing() async throws {
        let folder = try temporaryFolder()
        let service = service(try await openDatabase(folder), [TestKind()], folder)
        try service.configure([
            spec(["steps": [["name": "a", "uses": "test"]]]), spec(["steps": [["name": "a", "uses": "test"]]], name: "q"),
        ])
        var ids: [String] = []
        for _ in 0..<5 {
            ids.append(try await service.go().id)
            _ = try await service.go("q")
        }
        let all = try await service.runs(pipeline: "p", grant: may(.pipelinesRead)).map(\.id)
        #expect(Set(all) == Set(ids) && all == all.sorted(by: >))
        let page = try await service.runs(pipeline: "p", before: all[1], limit: 2, grant: may(.pipelinesRead)).map(\.id)
        #expect(page == Array(all[2..<4]))
    }
}
