import Contracts
import Serving
import Synchronization
import Testing

@Suite struct EndpointHistoryTests {
    private static let start = Timestamp(seconds: 1_700_000_040)
    private static let reader = try! Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead)
    private static func minute(_ number: Int64) -> Timestamp { start + .seconds(60 * number) }

    private func serving(minutesMax: Int = EndpointHistory.minutesMax) async throws -> (Home, EndpointHistory) {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let history = EndpointHistory(home.runtime, minutesMax: minutesMax)
        home.runtime.log.observe(history)
        history.look(at: Self.start)
        return (home, history)
    }

    @Test func whatHappensIsCountedInItsMinute() async throws {
        let (home, history) = try await serving()
        try await home.ask(10)
        // The minute under way is there already.
        let now = try history.traffic(of: .delay, since: Self.start, Self.reader)
        #expect(now.map(\.release) == [1] && now[0].minutes.map(\.requests) == [10] && now[0].minutes[0].start == Self.start)
        history.look(at: Self.minute(1))
        // A minute in which nothing happened is none.
        history.look(at: Self.minute(2))
        try await home.ask(5, from: 100)
        _ = try? await home.runtime.infer(endpoint: .delay, request: Home.request([1], column: "y"))
        history.look(at: Self.minute(3))
        let traffic = try history.traffic(of: .delay, since: Self.start, Self.reader)
        let minutes = try #require(traffic.first).minutes
        #expect(traffic.map(\.release) == [1, nil] && minutes.map(\.start) == [Self.minute(0), Self.minute(2)])
        // A request with a wrong column is answered with an error, and no failure of the release.
        #expect(minutes.map(\.requests) == [10, 5] && minutes.map(\.failures) == [0, 0] && minutes[1].errorShare == 0)
        let errors = try #require(traffic.last).minutes
        #expect(errors.map(\.start) == [Self.minute(2)] && errors[0].failures == 1 && errors[0].requests == 0)
        for minute in minutes {
            #expect(minute.mean(.model) != nil && minute.mean(.queue) == nil && minute.p50 != nil && minute.scores == nil)
            let stages = RequestStage.allCases.compactMap { minute.mean($0) }.reduce(0, +)
            let whole = try #require(minute.mean(nil))
            #expect(stages > 0 && stages <= whole * 1.001)
        }
        #expect(try history.traffic(of: .delay, since: Self.minute(1), Self.reader).first?.minutes.count == 1)
        #expect(try history.traffic(of: .staging, since: Self.start, Self.reader).isEmpty)
        await home.stop()
    }

    @Test func scoresOfEachReleaseAreSpreadAsTheyWere() async throws {
        let (home, history) = try await serving()
        try await home.ask(100)
        try await home.release(0.4, 0.6)
        history.look(at: Self.start + .seconds(5))
        try await home.ask(100, from: 1000)
        try await home.runtime.flush()
        history.look(at: Self.minute(1))
        let scores = try history.scores(of: .delay, since: Self.start, Home.reader)
        #expect(scores.map(\.release) == [1, 2])
        // Of release 1 that is 0.2 below a half and 0.8 from there on; release 2 scored what was asked since, in shadow or not.
        let first = try #require(scores.first?.minutes.first).spread
        #expect(first.count >= 100 && abs(first.low - 0.2) < 1e-6 && abs(first.high - 0.8) < 1e-6)
        let second = try #require(scores.last?.minutes.first).spread
        #expect(second.count == 100 && abs(second.low - 0.4) < 1e-6 && abs(second.high - 0.6) < 1e-6)
        await home.stop()
    }

    @Test func whoMayReadReleasesAloneHearsOfNoScores() async throws {
        let (home, history) = try await serving()
        #expect(throws: KeelError.self) { try history.scores(of: .delay, since: Self.start, Self.reader) }
        let other = try Grant.check(
            Caller(
                name: "bob", persona: .member,
                permissions: [Permission([.releasesRead], in: PermissionScope(resources: [.staging]), from: "test")]), may: .releasesRead,
            on: .staging)
        #expect(throws: KeelError.self) { try history.traffic(of: .delay, since: Self.start, other) }
        await home.stop()
    }

    @Test func aReleaseThatWentInAMinuteIsCountedToItsEnd() async throws {
        let (home, history) = try await serving()
        try await home.ask(3)
        try await home.release(0.3, 0.7, forced: true)
        history.look(at: Self.start + .seconds(5))
        _ = try await home.service.promote(endpoint: .delay, reason: "to see", Home.deployer)
        try await home.ask(4, from: 50)
        history.look(at: Self.minute(1))
        let traffic = try history.traffic(of: .delay, since: Self.start, Self.reader)
        #expect(traffic.map { $0.minutes.map(\.requests).reduce(0, +) } == [3, 4])
        // What it counted before is not counted again in later minutes.
        history.look(at: Self.minute(2))
        #expect(
            try history.traffic(of: .delay, since: Self.start, Self.reader).flatMap(\.minutes).count == traffic.flatMap(\.minutes).count)
        await home.stop()
    }

    @Test func oldMinutesGoAndTheirNumberIsBounded() async throws {
        let (home, history) = try await serving(minutesMax: 3)
        for i in 0..<6 {
            try await home.ask(1, from: i * 10)
            history.look(at: Self.minute(Int64(i) + 1))
        }
        let kept = try history.traffic(of: .delay, since: .distantPast, Self.reader)[0].minutes
        #expect(kept.map(\.start) == [3, 4, 5].map(Self.minute))
        // A day later nothing of it is left; nor when the clock is set back before it.
        try await home.ask(1, from: 100)
        history.look(at: Self.minute(1440 + 5))
        #expect(try history.traffic(of: .delay, since: .distantPast, Self.reader)[0].minutes.map(\.start) == [Self.minute(6)])
        history.look(at: Self.start)
        #expect(try history.traffic(of: .delay, since: .distantPast, Self.reader).allSatisfy { $0.minutes.isEmpty })
        await home.stop()
    }

    @Test func observersHearOfMinutesInWhichSomethingHappenedAlone() async throws {
        let (home, history) = try await serving()
        let heard = Mutex<[[ResourceRef]]>([])
        history.observe { endpoints in heard.withLock { $0.append(endpoints) } }
        for i in 1..<100 { history.look(at: Self.minute(Int64(i))) }
        #expect(heard.withLock { $0 }.isEmpty)
        try await home.ask(1)
        history.look(at: Self.minute(100))
        history.look(at: Self.minute(101))
        #expect(heard.withLock { $0 } == [[.delay]])
        await home.stop()
    }
}
