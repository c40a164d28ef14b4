import Contracts
import Foundation
import Serving
import Storage
import Testing

@Suite struct DeploymentTests {
    private func plan(_ conditions: [String] = []) throws -> RolloutPlan {
        RolloutPlan(
            shadowRequests: 50, shares: [0.2, 1], stepRequests: 50, rollbackWhen: try conditions.map { try RolloutCondition($0) },
            minimumRequests: 20,
            minimumLabels: 30)
    }

    @Test func aGoodCandidateGoesAllTheWay() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(try plan(["errors > 1%", "abs(score.mean - incumbent.score.mean) > 0.1"]))])
        try await home.release(0.2, 0.8)
        try await home.release(0.21, 0.79)
        let shadowed = try await home.ask(50)
        #expect(shadowed.allSatisfy { $0.release == 1 })
        try await home.service.tick()
        #expect(await home.service.progress(endpoint: .delay) == "step 1 of 2, 0 of 50 requests")
        try await home.ask(50, from: 50)
        try await home.service.tick()
        let last = try await home.ask(50, from: 100)
        #expect(last.allSatisfy { $0.release == 2 })
        try await home.service.tick()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).stable == 2)
        #expect(await home.promoted.releases == [1, 2])
        #expect(try await home.events("rollout.started").count == 1)
        #expect(try await home.events("rollout.step").map { $0.data["step"]?.integer } == [1, 2])
        #expect(try await home.events("release.promoted").count == 2)
        // During the rollout every request was scored by both.
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(rows.count == 300 && rows.filter(\.shadow).count == 150)
        #expect(try await home.database.read { try $0.verifyLedger().broken } == nil)
        await home.stop()
    }

    @Test func aForcedReleaseOfAWorthlessModelIsTakenBackByTheLabels() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(try plan(["logloss > incumbent.logloss * 1.05"]))])
        try await home.release(0.1, 0.9)
        let denied = try await #require(throws: KeelError.self) {
            try await home.service.createRelease(
                endpoint: .delay, model: "delay", version: "9", bundle: try await home.bundle(0.5, 0.49), gate: .forced(reason: "to see"),
                Home.deployer)
        }
        #expect(denied.message.contains("releases.force"))
        try await home.release(0.5, 0.49, forced: true)
        try await home.ask(50)
        try await home.service.tick()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).phase == .canary(step: 0))
        // The truth arrives later.
        _ = try await home.runtime.label((0..<50).map { LabelInput(id: "p\($0)", value: $0 % 10 < 5 ? 0 : 1) }, Home.labeller)
        try await home.service.tick()
        let state = try await home.service.state(endpoint: .delay, Home.deployer)
        #expect(state.stable == 1 && state.candidate == nil)
        let event = try #require(try await home.events("release.rolledback").first)
        #expect(event.data["release"]?.integer == 2 && event.data["to"]?.integer == 1)
        #expect(event.data["reason"]?.string == "logloss > incumbent.logloss * 1.05")
        let numbers = try #require(event.data["numbers"])
        #expect(numbers["logloss"]?.number ?? 0 > (numbers["incumbent.logloss"]?.number ?? .infinity) * 1.05)
        #expect(event.data["eventTime"]?.string != nil)
        await home.stop()
    }

    /// Restarts on the same files after each transition: nothing but the tables survives.
    @Test func aCrashAfterAnyTransitionGoesOnWhereItWas() async throws {
        let spec = EndpointSpec.delay(try plan(["logloss > incumbent.logloss * 1.05"]))
        var home = try await Home()
        func restart() async throws {
            let folder = home.folder
            await home.stop()
            home = try await Home(at: folder)
            let problems = try await home.service.configure([spec])
            #expect(problems.isEmpty)
        }
        try await home.service.configure([spec])
        try await home.release(0.1, 0.9)
        try await restart()
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["q"]).release == 1)
        try await home.release(0.09, 0.91)
        try await restart()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).phase == .shadow)
        try await home.ask(50)
        // Before the tick: the counters of these requests are lost, the evidence is not.
        try await restart()
        try await home.service.tick()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).phase == .shadow)
        try await home.ask(50, from: 50)
        try await home.service.tick()
        try await restart()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).phase == .canary(step: 0))
        // Labels of requests from before the crash count as evidence now.
        _ = try await home.runtime.label((0..<100).map { LabelInput(id: "p\($0)", value: $0 % 10 < 5 ? 0 : 1) }, Home.labeller)
        try await home.ask(50, from: 100)
        try await home.service.tick()
        try await restart()
        try await home.ask(50, from: 150)
        try await home.service.tick()
        try await restart()
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).release == 2)
        let state = try await home.service.state(endpoint: .delay, Home.deployer)
        #expect(state.stable == 2 && state.previous == 1 && state.candidate == nil)
        // The alias of the registry is set again after a start, in case the crash came before it.
        #expect(await home.promoted.releases == [2])
        #expect(try await home.service.rollback(endpoint: .delay, reason: "by hand", Home.deployer).number == 1)
        try await restart()
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).release == 1)
        #expect(try await home.database.read { try $0.verifyLedger().broken } == nil)
        await home.stop()
    }

    @Test func evidenceFromBeforeACrashStillTakesACandidateBack() async throws {
        let spec = EndpointSpec.delay(try plan(["logloss > incumbent.logloss * 1.05"]))
        let home = try await Home()
        try await home.service.configure([spec])
        try await home.release(0.1, 0.9)
        try await home.release(0.5, 0.49)
        try await home.ask(40)
        _ = try await home.runtime.label((0..<40).map { LabelInput(id: "p\($0)", value: $0 % 10 < 5 ? 0 : 1) }, Home.labeller)
        await home.stop()
        let again = try await Home(at: home.folder)
        try await again.service.configure([spec])
        try await again.service.tick()
        #expect(try await again.events("release.rolledback").count == 1)
        await again.stop()
    }

    @Test func aPauseIsKeptOverARestartAndIsOfOneRolloutAlone() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(try plan())])
        try await home.release(0.2, 0.8)
        try await home.release(0.21, 0.79)
        try await home.service.pause(endpoint: .delay, reason: "the labels are late", expecting: .init(stable: 1, candidate: 2), Home.deployer)
        let second = try await #require(throws: KeelError.self) { try await home.service.pause(endpoint: .delay, reason: "too", Home.deployer) }
        #expect(second.code == .failedPrecondition && second.message.contains("paused already") && second.message.contains("the labels are late"))
        let other = try await #require(throws: KeelError.self) {
            try await home.service.resume(endpoint: .delay, reason: "x", expecting: .init(stable: 1, candidate: 9), Home.deployer)
        }
        #expect(other.message.contains("has changed since you looked"))
        try await home.ask(60)
        try await home.service.tick()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).phase == .shadow)
        await home.stop()

        let again = try await Home(at: home.folder)
        try await again.service.configure([.delay(try plan())])
        try await again.service.tick()
        let state = try await again.service.state(endpoint: .delay, Home.deployer)
        #expect(state.phase == .shadow && state.pause?.reason == "the labels are late" && state.pause?.by == Home.deployer.caller.name)
        #expect(await again.service.progress(endpoint: .delay)?.hasSuffix("paused") == true)
        // Another plan leaves it paused.
        try await again.service.configure([.delay(try plan(["errors > 1%"]))])
        try await again.ask(60, from: 100)
        try await again.service.tick()
        #expect(try await again.service.state(endpoint: .delay, Home.deployer).phase == .shadow)
        try await again.service.resume(endpoint: .delay, reason: "they are here", Home.deployer)
        try await again.service.tick()
        #expect(try await again.service.state(endpoint: .delay, Home.deployer).phase == .canary(step: 0))
        #expect(try await again.events("rollout.paused").map { $0.data["reason"]?.string } == ["the labels are late"])
        #expect(try await again.events("rollout.resumed").map { $0.data["release"]?.integer } == [2])

        try await again.service.pause(endpoint: .delay, reason: "once more", Home.deployer)
        try await again.release(0.3, 0.7)
        let replaced = try await again.service.state(endpoint: .delay, Home.deployer)
        #expect(replaced.candidate == 3 && replaced.pause == nil)
        let idle = try await #require(throws: KeelError.self) { try await again.service.resume(endpoint: .delay, reason: "x", Home.deployer) }
        #expect(idle.message.contains("is not paused"))
        await again.stop()
    }

    /// A version from before pauses writes the state and leaves the columns of a pause as they are.
    @Test func aPauseOfAnEarlierRolloutIsNotOfTheNext() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(try plan())])
        try await home.release(0.2, 0.8)
        try await home.release(0.21, 0.79)
        try await home.service.pause(endpoint: .delay, reason: "wait", Home.deployer)
        await home.stop()
        let again = try await Home(at: home.folder)
        _ = try await again.database.write { tx in try tx.execute("UPDATE endpoint_state SET started_at = started_at + 60000000") }
        try await again.service.configure([.delay(try plan())])
        #expect(try await again.service.state(endpoint: .delay, Home.deployer).pause == nil)
        await again.stop()
    }

    @Test func aNewerCandidateReplacesTheOneUnderWay() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(try plan())])
        try await home.release(0.2, 0.8)
        try await home.release(0.3, 0.7)
        let deployment = try await home.release(0.4, 0.6)
        guard case .rollout(let release, superseded: 2) = deployment else {
            Issue.record("\(deployment)")
            return
        }
        #expect(release.number == 3)
        #expect(try await home.events("rollout.started").last?.data["superseded"]?.integer == 2)
        try await home.service.abort(endpoint: .delay, reason: "enough", Home.deployer)
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).candidate == nil)
        let idle = try await #require(throws: KeelError.self) { try await home.service.promote(endpoint: .delay, Home.deployer) }
        #expect(idle.code == .failedPrecondition)
        await home.stop()
    }

    @Test func askingForTheSameReleaseAgainMakesNoSecondOne() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        let digest = try await home.bundle(0.2, 0.8)
        let first = try await home.service.createRelease(
            endpoint: .delay, model: "m", version: "1", bundle: digest, gate: .passed, Home.deployer)
        let second = try await home.service.createRelease(
            endpoint: .delay, model: "m", version: "1", bundle: digest, gate: .passed, Home.deployer)
        #expect(first == second)
        #expect(try await home.service.releases(endpoint: .delay, Home.deployer).count == 1)
        await home.stop()
    }

    @Test("D12: a release that is asked for twice with one key is made and deployed once, whatever happened between")
    func aKeyedReleaseIsMadeAndDeployedOnce() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let digest = try await home.bundle(0.3, 0.7)
        func keyed(_ key: String) async throws -> Release {
            let release = try await home.service.createRelease(
                endpoint: .delay, model: "m", version: "2", bundle: digest, gate: .passed, key: key, Home.deployer)
            try await home.service.deploy(endpoint: .delay, release: release.number, once: true, Home.deployer)
            return release
        }
        let first = try await keyed("run-1/release")
        #expect(first.number == 2)
        // The release is taken back and another follows; then the step of the first run is repeated.
        _ = try await home.service.rollback(endpoint: .delay, reason: "to see", Home.deployer)
        try await home.release(0.4, 0.6)
        #expect(try await keyed("run-1/release") == first)
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).candidate == 3)
        #expect(try await home.service.releases(endpoint: .delay, Home.deployer).map(\.number) == [3, 2, 1])
        #expect(try await home.events("release.created").count == 3)
        // Another run of the same content is a request of its own.
        #expect(try await keyed("run-2/release").number == 4)
        #expect(try await home.database.read(in: .default) { try DeploymentService.releases(ofModel: "m", version: "2", in: $0) } == ["delay/2", "delay/4"])
        #expect(try await home.database.read(in: .default) { try DeploymentService.releases(ofModel: "m", in: $0) }.count == 2)
        #expect(try await home.database.read(in: .default) { try DeploymentService.releases(ofModel: "m", version: "1", in: $0) }.isEmpty)
        await home.stop()
    }

    @Test func decisionsOfAReleaseAreFoundHoweverMuchHappenedToItsEndpointSince() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        try await home.release(0.21, 0.79)
        let reader = try Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead)
        let later: JSON = ["release": 2, "model": "delay", "version": "0.21"]
        try await home.database.write { tx in
            for _ in 0..<1200 {
                for kind in ["rollout.step", "release.promoted"] { try tx.record(kind, on: "Endpoint/delay", later, by: reader) }
                try tx.record("release.promoted", on: "Endpoint/other", later, by: reader)
            }
        }
        func decided(_ version: String, limit: Int) async throws -> (events: [LedgerEvent], hasOlder: Bool) {
            try await home.service.decisions(model: "delay", version: version, limit: limit, reader)
        }
        let first = try await decided("0.2", limit: 200)
        #expect(first.events.map(\.kind) == ["release.created", "release.promoted"] && !first.hasOlder)
        let all = try await decided("0.21", limit: 5000)
        #expect(all.events.map(\.kind) == ["release.created", "rollout.started"] + Array(repeating: "release.promoted", count: 1200))
        #expect(!all.hasOlder && all.events.allSatisfy { $0.subject == "Endpoint/delay" })
        #expect(all.events.map(\.seq) == all.events.map(\.seq).sorted())
        let newest = try await decided("0.21", limit: 1100)
        #expect(newest.hasOlder && newest.events == all.events.suffix(1100))
        #expect(try await decided("none", limit: 200).events.isEmpty)
        await home.stop()
    }

    @Test func aStoredReleaseThatCannotBeLoadedIsReportedAtTheStartAndTheOthersServe() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let bundle = try await ModelBundle.read(try await home.bundle(0.2, 0.8), from: home.objects)
        try FileManager.default.removeItem(atPath: home.objects.path(of: bundle.contents[0]))
        await home.stop()
        let again = try await Home(at: home.folder)
        let problems = try await again.service.configure([.delay()])
        #expect(problems[.delay] != nil)
        let error = try await #require(throws: KeelError.self) {
            try await again.runtime.infer(endpoint: .delay, request: Home.request([0]))
        }
        #expect(error.code == .failedPrecondition)
        await again.stop()
    }
}
