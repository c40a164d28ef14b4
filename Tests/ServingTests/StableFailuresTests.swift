import Contracts
import Serving
import Testing

/// A model that fails on rows above 10, and finds rows below 0 wrong.
private struct FailingModels: RemoteModels {
    func describe(_ model: RemoteModel, in workspace: WorkspaceID) async throws -> RemoteDescription { description(model) }
    func runner(_ description: RemoteDescription, in workspace: WorkspaceID) throws(KeelError) -> any ModelRunner { Runner() }

    func description(_ model: RemoteModel) -> RemoteDescription {
        RemoteDescription(model: model, signature: Home.signature("x"), facts: .object([]), isRepeatable: true)
    }

    private struct Runner: ModelRunner {
        var lane: ModelLane { .pooled(threads: 1) }

        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            let values = inputs.columns[0].doubles() ?? []
            if values.contains(where: { $0 < 0 }) { throw .invalid("x is below 0") }
            if values.contains(where: { $0 > 10 }) { throw KeelError(.internal, "the model failed") }
            return try Table([(name: "score", column: Column(.float32, .float32(values.map { _ in 0.5 })))])
        }
    }
}

@Suite struct StableFailuresTests {
    @Test func whatTheStableReleaseFailsOnIsCountedAsItsErrorsAndWhatTheRequestHasWrongIsNot() async throws {
        let models = FailingModels()
        let home = try await Home(remote: models)
        try await home.service.configure([.delay()])
        try await release(models, in: home)
        for (value, code) in [(1.0, KeelError.Code?.none), (11, .internal), (12, .internal), (-1, .invalidArgument), (2, nil)] {
            do {
                _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([value]))
                #expect(code == nil)
            } catch { #expect(KeelError.wrapping(error).code == code) }
        }
        let stable = try #require(home.runtime.status(endpoint: .delay)?.stable)
        #expect(stable.requests == 2)
        #expect(stable.errors == ["internal": 2])
        await home.stop()
    }

    @Test func aRowThatACandidateFailsInShadowIsOneOfThoseThatItWasGiven() async throws {
        let models = FailingModels()
        let home = try await Home(remote: models)
        let history = EndpointHistory(home.runtime)
        let start = Timestamp(seconds: 1_700_000_040)
        try await home.service.configure([.delay(RolloutPlan(shadowRequests: 1000))])
        try await home.release(0.2, 0.8)
        try await release(models, in: home)
        history.look(at: start)
        try await home.ask(9)
        _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([11]))
        try await home.runtime.flush()
        history.look(at: start + .seconds(60))
        let traffic = try history.traffic(of: .delay, since: start, try Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead))
        #expect(traffic.map(\.release) == [1, 2])
        #expect(traffic.map { $0.minutes.first?.errorShare } == [0, 0.1] && traffic[1].minutes[0].requests == 0)
        await home.stop()
    }

    /// Releases the model that fails.
    private func release(_ models: FailingModels, in home: Home) async throws {
        let resource = Resource(
            kind: "Endpoint", name: "delay", spec: ["remote": ["url": "https://models.example", "protocol": "open-inference", "model": "m"]])
        let remote = try #require(try EndpointSpec(resource: resource).remote)
        let digest = try await ModelLoader(objects: home.objects, remote: models).store(ModelBundle(remote: models.description(remote)), in: .default).digest
        let release = try await home.service.createRelease(
            endpoint: .delay, model: "m", version: "1", bundle: digest, gate: .passed, Home.deployer)
        try await home.service.deploy(endpoint: .delay, release: release.number, Home.deployer)
    }
}
