import Contracts
import Serving
import TestSupport
import Testing

@Suite struct RolloutTests {
    private func plan(_ conditions: [String], shadow: Int = 100, shares: [Double] = [0.05, 0.25, 1]) throws -> RolloutPlan {
        RolloutPlan(
            shadowRequests: shadow, shares: shares, stepRequests: 200, rollbackWhen: try conditions.map { try RolloutCondition($0) },
            minimumRequests: 50,
            minimumLabels: 40)
    }

    @Test func itGoesFromShadowOverEverySharesToPromotion() throws {
        var rollout = Rollout(plan: try plan(["errors > 1%"]))
        var actions: [RolloutAction] = []
        rollout.observe(.progress(requests: 99))
        #expect(rollout.decide().isEmpty && rollout.share == 0)
        rollout.observe(.progress(requests: 1))
        while let action = rollout.decide().first {
            actions.append(action)
            rollout.apply(action)
            rollout.observe(.progress(requests: 200))
        }
        #expect(actions == [.canary(step: 0, share: 0.05), .canary(step: 1, share: 0.25), .canary(step: 2, share: 1), .promote])
        #expect(rollout.phase == .promoted)
    }

    @Test func aPausedRolloutStaysInItsPhaseAndIsStillTakenBack() throws {
        var rollout = Rollout(plan: try plan(["errors > 1%"]))
        rollout.isPaused = true
        rollout.observe(.progress(requests: 300))
        #expect(rollout.decide().isEmpty && rollout.phase == .shadow && rollout.phaseRequests == 300)
        var resumed = rollout
        resumed.isPaused = false
        #expect(resumed.decide() == [.canary(step: 0, share: 0.05)])
        rollout.observe(.totals(candidate: (100, 5), incumbent: (100, 0)))
        guard case .rollBack(condition: "errors > 1%", _) = rollout.decide().first else {
            Issue.record("\(rollout.decide())")
            return
        }
    }

    @Test func withoutShadowItBeginsWithTheFirstShareAndWithoutSharesItPromotesAfterShadow() throws {
        #expect(Rollout(plan: try plan([], shadow: 0)).phase == .canary(step: 0))
        var direct = Rollout(plan: try plan([], shares: []))
        direct.observe(.progress(requests: 100))
        #expect(direct.decide() == [.promote])
    }

    /// What was seen, and whether the condition takes the candidate back.
    struct Case: Sendable {
        let condition: String
        let observations: [Rollout.Observation]
        let isBreached: Bool
        let story: String
    }

    static func requests(
        _ count: Int, candidate: @Sendable (Int) -> Double?, incumbent: @Sendable (Int) -> Double?, label: @Sendable (Int) -> Double?
    ) -> [Rollout.Observation] {
        (0..<count).map { .request(id: "p\($0)", candidate: candidate($0), incumbent: incumbent($0), label: label($0)) }
    }

    static let cases: [Case] = [
        Case(
            condition: "errors > 1%", observations: [.totals(candidate: (100, 2), incumbent: (100, 0))], isBreached: true,
            story: "2 % of requests fail"),
        Case(
            condition: "errors > 1%", observations: [.totals(candidate: (100, 1), incumbent: (100, 0))], isBreached: false,
            story: "1 % is allowed"),
        Case(
            condition: "errors > 1%", observations: [.totals(candidate: (49, 49), incumbent: (49, 0))], isBreached: false,
            story: "too few requests to say"),
        Case(
            condition: "latency.p99 > 50ms",
            observations: [.totals(candidate: (100, 0), incumbent: (100, 0)), .latency(candidate: 0.06, incumbent: 0.01)],
            isBreached: true, story: "60 ms"),
        Case(
            condition: "latency.p99 > incumbent.latency.p99 * 2",
            observations: [.totals(candidate: (100, 0), incumbent: (100, 0)), .latency(candidate: 0.015, incumbent: 0.01)],
            isBreached: false,
            story: "half as slow again"),
        Case(
            condition: "score.psi > 0.5",
            observations: requests(200, candidate: { _ in 0.5 }, incumbent: { Double($0 % 100) / 100 }, label: { _ in nil }),
            isBreached: true, story: "the candidate says the same of everything"),
        Case(
            condition: "score.psi > 0.5",
            observations: requests(
                200, candidate: { Double($0 % 100) / 100 + 0.001 }, incumbent: { Double($0 % 100) / 100 }, label: { _ in nil }),
            isBreached: false, story: "the scores agree"),
        Case(
            condition: "logloss > incumbent.logloss * 1.05",
            observations: requests(60, candidate: { _ in 0.5 }, incumbent: { $0 % 2 == 0 ? 0.1 : 0.9 }, label: { Double($0 % 2) }),
            isBreached: true,
            story: "the incumbent knows, the candidate does not"),
        Case(
            condition: "logloss > incumbent.logloss * 1.05",
            observations: requests(39, candidate: { _ in 0.5 }, incumbent: { $0 % 2 == 0 ? 0.1 : 0.9 }, label: { Double($0 % 2) }),
            isBreached: false,
            story: "too few labels to say"),
        Case(
            condition: "logloss > incumbent.logloss * 1.05",
            observations: requests(60, candidate: { _ in 0.5 }, incumbent: { $0 < 30 ? 0.9 : nil }, label: { Double($0 % 2) }),
            isBreached: false,
            story: "only paired requests count, and half are not"),
        Case(
            condition: "auc < 0.6",
            observations: requests(60, candidate: { $0 % 2 == 0 ? 0.9 : 0.1 }, incumbent: { _ in 0.5 }, label: { Double($0 % 2) }),
            isBreached: true, story: "it ranks the wrong way round"),
    ]

    @Test(arguments: cases.indices)
    func aConditionIsBreachedOnlyByEnoughEvidence(_ i: Int) throws {
        let test = RolloutTests.cases[i]
        var rollout = Rollout(plan: try plan([test.condition]))
        for observation in test.observations { rollout.observe(observation) }
        let action = rollout.decide().first
        if case .rollBack(let condition, let numbers) = action {
            #expect(test.isBreached, "\(test.story): \(numbers)")
            #expect(condition == test.condition)
        } else {
            #expect(!test.isBreached, "\(test.story): \(rollout.numbers)")
        }
    }

    @Test func oneLabelPostedTwiceCountsOnce() throws {
        var rollout = Rollout(plan: try plan(["labels >= 2"]))
        for _ in 0..<5 { rollout.observe(.request(id: "p", candidate: 0.5, incumbent: 0.5, label: 1)) }
        #expect(rollout.decide().isEmpty)
    }

    @Test(arguments: 0..<200)
    func noSequenceOfObservationsPromotesWithABreachedCondition(_ seed: Int) throws {
        var random = Seeded(UInt64(seed) &* 7919 &+ 1)
        let conditions = try ["errors > 2%", "latency.p99 > 50ms", "logloss > incumbent.logloss * 1.05", "score.psi > 0.5"].map {
            try RolloutCondition($0)
        }
        var rollout = Rollout(
            plan: RolloutPlan(
                shadowRequests: 30, shares: [0.1, 1], stepRequests: 40, rollbackWhen: conditions, minimumRequests: 20, minimumLabels: 20))
        var (requests, errors, id) = (0, 0, 0)
        let quality = Double.random(in: 0...0.5, using: &random)
        for _ in 0..<400 where !rollout.phase.isOver {
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                requests += 5
                if Double.random(in: 0..<1, using: &random) < 0.1 { errors += 1 }
                rollout.observe(.totals(candidate: (requests, errors), incumbent: (requests, 0)))
                rollout.observe(.progress(requests: 5))
            case 1: rollout.observe(.latency(candidate: Double.random(in: 0...0.052, using: &random), incumbent: 0.01))
            default:
                let label = Double(Int.random(in: 0...1, using: &random))
                let good = abs(label - 0.2)
                rollout.observe(.request(id: "\(id)", candidate: good * (1 - quality) + 0.5 * quality, incumbent: good, label: label))
                id += 1
            }
            let numbers = rollout.numbers
            let isBreached = conditions.contains { $0.isBreached(by: numbers) }
            let actions = rollout.decide()
            #expect(actions.count <= 1)
            for action in actions {
                if case .rollBack = action { #expect(isBreached) } else { #expect(!isBreached, "\(action) with \(numbers)") }
                rollout.apply(action)
            }
            if isBreached, case .rolledBack = rollout.phase {} else if isBreached { Issue.record("a breach was ignored") }
        }
        if rollout.phase.isOver { #expect(rollout.decide().isEmpty) }
    }
}
