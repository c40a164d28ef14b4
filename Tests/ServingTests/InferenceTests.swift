import Contracts
import Foundation
import Serving
import Storage
import Testing

@Suite struct InferenceTests {
    @Test func theFirstReleaseAnswersAtOnceAndIsLogged() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        let none = try await #require(throws: KeelError.self) {
            try await home.runtime.infer(endpoint: .delay, request: Home.request([1]))
        }
        #expect(none.code == .failedPrecondition)
        try await home.release(0.2, 0.8)
        let result = try await home.runtime.infer(endpoint: .delay, request: Home.request([0, 1, .nan]))
        #expect(result.release == 1)
        #expect(result.ids.count == 3 && Set(result.ids).count == 3)
        #expect((result.scores ?? []).map { ($0 * 100).rounded() / 100 } == [0.2, 0.8, 0.8])
        try await home.runtime.flush()
        let rows = try await PredictionQueries(database: home.database).predictions(endpoint: .delay, Home.reader)
        #expect(Set(rows.map(\.id)) == Set(result.ids))
        #expect(Set(rows.map(\.request)) == [#"{"x":0.0}"#, #"{"x":1.0}"#, #"{"x":null}"#])
        #expect(rows.contains { $0.inputs == [1.0] && $0.outputs.count == 1 && $0.outputs[0].number == $0.score } && rows.allSatisfy { $0.latencyNanoseconds > 0 && !$0.shadow })
        #expect(await home.promoted.releases == [1])
        await home.stop()
    }

    @Test func badRequestsAreRefusedByNameAndNothingIsLogged() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(limits: EndpointLimits(rows: 2))])
        try await home.release(0.2, 0.8)
        func refusal(_ request: Table, endpoint: ResourceRef = .delay, ids: [String]? = nil) async throws -> KeelError {
            try await #require(throws: KeelError.self) { try await home.runtime.infer(endpoint: endpoint, request: request, ids: ids) }
        }
        let missing = try await refusal(Home.request([1], column: "xx"))
        #expect(missing.code == .contractViolation && missing.path == "x" && missing.hint == "is 'xx' meant to be 'x'?")
        let extra = try await refusal(try Home.request([1]).with("y", Column(.float64, .float64([1]))))
        #expect(extra.code == .contractViolation && extra.path == "y")
        let text = try await refusal(try Table([(name: "x", column: try Column(.string, values: ["a"]))]))
        #expect(text.code == .contractViolation && text.path == "x")
        #expect(try await refusal(Home.request([1, 2, 3])).code == .payloadTooLarge)
        #expect(try await refusal(Home.request([])).code == .invalidArgument)
        #expect(try await refusal(Home.request([1, 2]), ids: ["a", "a"]).code == .invalidArgument)
        #expect(try await refusal(Home.request([1, 2]), ids: ["a"]).code == .invalidArgument)
        #expect(try await refusal(Home.request([1]), endpoint: ResourceRef("Endpoint", "delai")).hint == "did you mean 'delay'?")
        try await home.runtime.flush()
        #expect(home.runtime.log.counters.written == 0 && home.runtime.log.counters.queued == 0)
        let status = try #require(home.runtime.status().first)
        #expect(status.refused["contract_violation"] == 3 && status.inFlight == 0)
        await home.stop()
    }

    @Test func theCanarysShareOfRequestsIsWhatWasDeclared() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(RolloutPlan(shares: [0.25, 1], stepRequests: 1_000_000), log: LogPolicy(whenFull: .drop))])
        try await home.release(0.2, 0.8)
        try await home.release(0.3, 0.7)
        let total = 4000
        var byCandidate = 0
        for i in 0..<total
        where try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["flight-\(i)"]).release == 2 {
            byCandidate += 1
        }
        // Five standard deviations of a binomial.
        let (expected, spread) = (Double(total) * 0.25, (Double(total) * 0.25 * 0.75).squareRoot())
        #expect(abs(Double(byCandidate) - expected) < 5 * spread, "\(byCandidate) of \(total)")
        let again = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["flight-7"]).release
        let once = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["flight-7"]).release
        #expect(again == once)
        await home.stop()
    }

    @Test func swapsUnderLoadNeverMixTwoReleases() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(RolloutPlan(shares: [0.5], stepRequests: 1_000_000), log: LogPolicy(whenFull: .drop))])
        // A release's number can be read from its score.
        try await home.release(0.1, 0.1)
        for n in 2...5 {
            _ = try await home.service.createRelease(
                endpoint: .delay, model: "delay", version: "\(n)", bundle: try await home.bundle(Double(n) / 10, Double(n) / 10),
                gate: .passed, Home.deployer)
        }
        let runtime = home.runtime
        let readers = (0..<3).map { _ in
            Task.detached { () -> Int in
                var wrong = 0
                for _ in 0..<3000 {
                    let result = try await runtime.infer(endpoint: .delay, request: Home.request([0, 1]))
                    let expected = Float(result.release) / 10
                    if (result.scores ?? []).contains(where: { abs($0 - expected) > 1e-5 }) { wrong += 1 }
                }
                return wrong
            }
        }
        for round in 0..<6 {
            _ = try await home.service.deploy(endpoint: .delay, release: 2 + round % 4, Home.deployer)
            _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        }
        for reader in readers { #expect(try await reader.value == 0) }
        await home.stop()
    }

    @Test func aModelThatIsCutOffIsRefusedAndTheOldOneKeepsServing() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let whole = Home.tree(0.3, 0.7)
        let refused = try await #require(throws: KeelError.self) {
            let half = Array(whole.prefix(whole.count / 2))
            return try await ModelLoader(objects: home.objects).store(
                ModelBundle(flavor: .xgboost, model: half, signature: Home.signature("x")), model: half)
        }
        #expect(refused.code == .corrupted)
        // And one whose file is cut off after it was stored.
        let digest = try await home.bundle(0.3, 0.7)
        let bundle = try await ModelBundle.read(digest, from: home.objects)
        let path = home.objects.path(of: bundle.contents[0])
        try Data(whole.prefix(100)).write(to: URL(fileURLWithPath: path))
        let error = try await #require(throws: KeelError.self) {
            try await home.service.createRelease(
                endpoint: .delay, model: "delay", version: "2", bundle: digest, gate: .passed, Home.deployer)
        }
        #expect(error.code == .corrupted)
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).release == 1)
        #expect(try await home.events("release.created").count == 1)
        await home.stop()
    }

    @Test func aFailingCandidateNeverHurtsACallerAndIsTakenBack() async throws {
        let features = FlakyFeatures()
        let home = try await Home(features: features)
        let conditions = [try RolloutCondition("errors > 1%")]
        try await home.service.configure([
            .delay(RolloutPlan(shares: [0.5], stepRequests: 500, rollbackWhen: conditions, minimumRequests: 20), features: "delay")
        ])
        try await home.release(0.2, 0.8)
        features.failing.store(true)
        try await home.release(0.3, 0.7)
        let answers = try await home.ask(100)
        #expect(answers.allSatisfy { $0.release == 1 })
        try await home.service.tick()
        let event = try #require(try await home.events("release.rolledback").first)
        #expect(event.data["reason"]?.string == "errors > 1%")
        // The incumbent's features were used again where it answered: only the requests that the candidate was to answer failed.
        #expect(event.data["numbers"]?["errors"]?.number ?? 0 > 0.2)
        await home.stop()
    }

    @Test func quantilesAreWithinABucketOfTheTruth() {
        let values = (1...10_000).map { $0 * 1000 }
        var counts = [Int](repeating: 0, count: 192)
        for value in values { counts[LatencyHistogram.bucket(value)] += 1 }
        for q in [0.5, 0.9, 0.99] {
            let estimate = LatencyHistogram.quantile(q, of: counts) ?? 0
            #expect(estimate >= q * 0.01 && estimate <= q * 0.01 * 1.13, "\(q): \(estimate)")
        }
        #expect(LatencyHistogram.quantile(0.5, of: []) == nil)
        #expect(LatencyHistogram.bucket(.max) == 191 && LatencyHistogram.bucket(-1) == 0)
    }
}

/// Gives the first plan; plans made while it is failing cannot read.
final class FlakyFeatures: OnlineFeatures {
    final class Flag: Sendable {
        private let value = NSLock()
        nonisolated(unsafe) private var on = false
        func store(_ on: Bool) { value.withLock { self.on = on } }
        func load() -> Bool { value.withLock { on } }
    }
    struct Plan: FeaturePlan {
        let fails: Bool
        var requestFields: [Field] { [Field("x", .float64)] }
        func read(_ request: Table) throws(KeelError) -> ModelInputs {
            if fails { throw KeelError(.internal, "the view is gone") }
            return ModelInputs(table: request, eventTimes: nil)
        }
    }
    let failing = Flag()
    func plan(service: String, of workspace: WorkspaceID, inputs: [Signature.Input]) throws(KeelError) -> any FeaturePlan { Plan(fails: failing.load()) }
}
