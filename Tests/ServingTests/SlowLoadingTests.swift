import Contracts
import Foundation
import Serving
import Storage
import Synchronization
import Testing

/// Models of another server whose loading takes until it is let go on.
private final class SlowModels: RemoteModels {
    private let isOpen = Mutex(true)
    private let begun = Mutex(0)
    /// How many loads wait, or have waited.
    var loads: Int { begun.withLock { $0 } }

    func close() { isOpen.withLock { $0 = false } }
    func open() { isOpen.withLock { $0 = true } }

    func describe(_ model: RemoteModel, in workspace: WorkspaceID) async throws -> RemoteDescription { SlowModels.description(model) }
    func runner(_ description: RemoteDescription, in workspace: WorkspaceID) throws(KeelError) -> any ModelRunner { Runner(models: self) }

    static func description(_ model: RemoteModel) -> RemoteDescription {
        RemoteDescription(model: model, signature: Home.signature("x"), facts: .object([]), isRepeatable: true)
    }

    /// Blocks as a model's process does that is being started.
    private func wait() {
        guard !isOpen.withLock({ $0 }) else { return }
        begun.withLock { $0 += 1 }
        while !isOpen.withLock({ $0 }) { Thread.sleep(forTimeInterval: 0.002) }
    }

    private struct Runner: ModelRunner {
        let models: SlowModels
        var lane: ModelLane { .pooled(threads: 1) }

        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            models.wait()
            return try Table([(name: "score", column: Column(.float32, .float32(Array(repeating: 0.25, count: inputs.rowCount))))])
        }
    }
}

/// Loading a model may take minutes: nothing else waits for it, and what was decided meanwhile stands.
@Suite(.timeLimit(.minutes(10))) struct SlowLoadingTests {
    private let models = SlowModels()

    /// A home whose endpoint serves release 1 and 2 of trees, with a third release of a slow model that was not deployed yet.
    private func home(_ specs: [EndpointSpec] = [.delay()]) async throws -> (home: Home, slow: Int) {
        let home = try await Home(remote: models)
        try await home.service.configure(specs)
        try await home.release(0.2, 0.8)
        try await home.release(0.3, 0.7)
        _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        let resource = Resource(
            kind: "Endpoint", name: "delay", spec: ["remote": ["url": "https://models.example", "protocol": "open-inference", "model": "slow"]])
        let remote = try #require(try EndpointSpec(resource: resource).remote)
        let digest = try await ModelLoader(objects: home.objects, remote: models).store(ModelBundle(remote: SlowModels.description(remote)), in: .default).digest
        let release = try await home.service.createRelease(
            endpoint: .delay, model: "slow", version: "1", bundle: digest, gate: .passed, Home.deployer)
        return (home, release.number)
    }

    /// Begins to deploy the slow release and returns when its model is being loaded.
    private func begin(_ home: Home, _ number: Int, recheck: @escaping @Sendable (EndpointSpec) async throws -> Void = { _ in }) async throws -> Task<Deployment?, any Error> {
        models.close()
        let before = models.loads
        let task = Task { try await home.service.deploy(endpoint: .delay, release: number, recheck: recheck, Home.deployer) }
        while models.loads == before { try await Task.sleep(for: .milliseconds(2)) }
        return task
    }

    @Test func aRollbackOfTheSameEndpointIsDoneAtOnceAndStands() async throws {
        let (home, slow) = try await home()
        let deploying = try await begin(home, slow)
        #expect(try await home.service.rollback(endpoint: .delay, reason: "it is worse", Home.deployer).number == 1)
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).release == 1)
        models.open()
        let error = try await #require(throws: KeelError.self) { _ = try await deploying.value }
        #expect(error.code == .failedPrecondition)
        #expect(error.message == "release delay/3 does not serve: while its model was loaded, the endpoint was rolled back to release delay/1")
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).candidate == nil)
        // Asked for again, it goes its way.
        guard case .rollout(_, superseded: nil) = try await home.service.deploy(endpoint: .delay, release: slow, Home.deployer) else {
            Issue.record("no rollout")
            return
        }
        await home.stop()
    }

    @Test func aDeploymentOfAnotherReleaseIsDoneAtOnceAndStands() async throws {
        let (home, slow) = try await home()
        let deploying = try await begin(home, slow)
        guard case .rollout(let release, superseded: nil) = try await home.release(0.4, 0.6) else {
            Issue.record("no rollout")
            return
        }
        models.open()
        let error = try await #require(throws: KeelError.self) { _ = try await deploying.value }
        #expect(error.message.contains("while its model was loaded, release delay/\(release.number) was deployed"))
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).candidate == release.number)
        await home.stop()
    }

    @Test func theEndAndThePromotionOfARolloutAreDoneAtOnce() async throws {
        for isPromoted in [true, false] {
            let (home, slow) = try await home()
            try await home.release(0.4, 0.6)
            let deploying = try await begin(home, slow)
            if isPromoted {
                #expect(try await home.service.promote(endpoint: .delay, Home.deployer).number == 4)
            } else {
                try await home.service.abort(endpoint: .delay, reason: "enough", Home.deployer)
            }
            models.open()
            await #expect(throws: KeelError.self) { _ = try await deploying.value }
            #expect(try await home.service.state(endpoint: .delay, Home.deployer).stable == (isPromoted ? 4 : 2))
            await home.stop()
        }
    }

    @Test func whatTheRolloutDoesByItselfGoesOnAndIsNoReasonAgainstTheDeployment() async throws {
        let plan = RolloutPlan(shadowRequests: 10, shares: [1], stepRequests: 10, rollbackWhen: [], minimumRequests: 1, minimumLabels: 1)
        let (home, slow) = try await home([.delay(plan)])
        try await home.release(0.4, 0.6)
        let deploying = try await begin(home, slow)
        try await home.ask(10)
        try await home.service.tick()
        try await home.ask(10, from: 10)
        try await home.service.tick()
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).stable == 4)
        models.open()
        guard case .rollout(let release, superseded: nil) = try await deploying.value else {
            Issue.record("no rollout")
            return
        }
        #expect(release.number == slow)
        await home.stop()
    }

    @Test func anApplyInThisAndInAnotherWorkspaceIsDoneAtOnce() async throws {
        let (home, slow) = try await home()
        let deploying = try await begin(home, slow)
        let other = ResourceRef("Endpoint", "other")
        let limits = EndpointLimits(rows: 7)
        try await home.service.configure([.delay(limits: limits), EndpointSpec(other)])
        let far = ResourceRef("Endpoint", "delay", in: WorkspaceID(stored: "far"))
        try await home.service.configure([EndpointSpec(far)], in: far.workspace)
        #expect(home.runtime.limits(endpoint: .delay)?.rows == 7 && home.runtime.limits(endpoint: far) != nil)
        try await home.release(0.1, 0.9, to: other)
        models.open()
        guard case .rollout = try await deploying.value else {
            Issue.record("no rollout")
            return
        }
        // It serves under what was declared meanwhile.
        #expect(home.runtime.limits(endpoint: .delay)?.rows == 7)
        await home.stop()
    }

    @Test func aRollbackToASlowReleaseHoldsNothingUpEither() async throws {
        let (home, slow) = try await home()
        try await home.service.deploy(endpoint: .delay, release: slow, Home.deployer)
        _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        try await home.service.rollback(endpoint: .delay, to: 1, reason: "to see", Home.deployer)
        models.close()
        let before = models.loads
        let back = Task { try await home.service.rollback(endpoint: .delay, reason: "it was better", Home.deployer) }
        while models.loads == before { try await Task.sleep(for: .milliseconds(2)) }
        #expect(try await home.service.rollback(endpoint: .delay, to: 2, reason: "no, this one", Home.deployer).number == 2)
        models.open()
        let error = try await #require(throws: KeelError.self) { _ = try await back.value }
        #expect(error.message.contains("the endpoint was rolled back to release delay/2"))
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).stable == 2)
        await home.stop()
    }

    @Test func whatTheCallerDecidedByIsAskedAgainWithTheEndpointAsItIsDeclaredThen() async throws {
        let (home, slow) = try await home()
        let deploying = try await begin(home, slow) { spec in
            if spec.approval == .required { throw KeelError(.failedPrecondition, "nobody approved it") }
        }
        try await home.service.configure([EndpointSpec(.delay, approval: .required)])
        models.open()
        let error = try await #require(throws: KeelError.self) { _ = try await deploying.value }
        #expect(error.message == "nobody approved it")
        await home.stop()
    }

    @Test func anEndpointThatWasDeletedMeanwhileServesNothingAlsoWhenItIsThereAgain() async throws {
        let (home, slow) = try await home()
        let deleted = try await begin(home, slow)
        try await home.service.configure([])
        models.open()
        let error = try await #require(throws: KeelError.self) { _ = try await deleted.value }
        #expect(error.message.contains("was deleted while release delay/3 was loaded"))
        try await home.service.configure([.delay()])
        let replaced = try await begin(home, slow)
        try await home.service.configure([])
        try await home.service.configure([.delay()])
        models.open()
        let again = try await #require(throws: KeelError.self) { _ = try await replaced.value }
        #expect(again.message.contains("it was declared anew"))
        await home.stop()
    }

    @Test func aCandidateThatIsTakenBackWhileTheEndpointStartsDoesNotKeepItFromStarting() async throws {
        let (home, slow) = try await home()
        try await home.service.deploy(endpoint: .delay, release: slow, Home.deployer)
        await home.stop()
        models.close()
        let again = try await Home(at: home.folder, remote: models)
        try await again.service.configure([.delay()])
        let refused = try await #require(throws: KeelError.self) { _ = try await again.service.promote(endpoint: .delay, Home.deployer) }
        #expect(refused.message == "the releases of 'delay' are still being loaded")
        let early = try await #require(throws: KeelError.self) { _ = try await again.release(0.4, 0.6) }
        #expect(early.code == .unavailable)
        #expect(try await again.service.rollback(endpoint: .delay, reason: "it is slow", Home.deployer).number == 2)
        models.open()
        while (try? await again.runtime.infer(endpoint: .delay, request: Home.request([0])).release) != 2 { try await Task.sleep(for: .milliseconds(2)) }
        #expect(try await again.events("release.rolledback").last?.data["release"]?.integer == Int64(slow))
        await again.stop()
    }
}
