import Contracts
import Serving
import Synchronization
import Testing

/// Keeps what it is given.
private final class KeptTraces: RequestTracer {
    let kept = Mutex<[RequestTrace]>([])
    let asked = Mutex<[TraceParent?]>([])

    func trace(of parent: TraceParent?) -> TraceID? {
        asked.withLock { $0.append(parent) }
        return parent?.isSampled == false ? nil : parent?.trace ?? TraceID(high: 1, low: 2)
    }

    func record(_ trace: RequestTrace) { kept.withLock { $0.append(trace) } }
}

@Suite struct RequestStagesTests {
    @Test func aDurationIsCountedUpToTheBoundThatItDoesNotExceed() {
        let histogram = DurationHistogram()
        for nanoseconds in [-1, 0, 1_000, 1_001, 2_500, 10_000_000_000, 10_000_000_001, .max / 4] { histogram.add(nanoseconds: nanoseconds) }
        let counts = histogram.snapshot
        #expect(counts.counts.prefix(2) == [3, 2] && counts.counts.suffix(2) == [1, 2] && counts.count == 8)
        #expect(counts.counts.count == DurationCounts.bounds.count + 1)
        // A clock that went backwards takes nothing away.
        #expect(counts.nanoseconds == 1_000 + 1_001 + 2_500 + 20_000_000_001 + .max / 4)
        let bounds = (0..<DurationCounts.bounds.count).map { DurationCounts.bounds[$0] }
        #expect(bounds == bounds.sorted() && Set(bounds).count == bounds.count)
    }

    @Test func theStagesOfAnsweredRequestsAddUpToTheWhole() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        for _ in 0..<50 { _ = try await home.runtime.infer(endpoint: .delay, request: Home.request([0, 1])) }
        _ = try? await home.runtime.infer(endpoint: .delay, request: Home.request([1], column: "y"))
        // More rows than an event loop takes wait for a thread.
        let many = Home.request((0..<5000).map(Double.init))
        _ = try await home.runtime.infer(endpoint: .delay, request: many)
        let release = try #require(home.runtime.status(endpoint: .delay)?.stable)
        #expect(release.durations.count == 51 && release.requests == 51)
        for stage in RequestStage.allCases { #expect(release.stages[stage]?.count == (stage == .queue ? 1 : 51), "\(stage)") }
        let parts = release.stages.values.map(\.nanoseconds).reduce(0, +)
        #expect(parts <= release.durations.nanoseconds && parts > release.durations.nanoseconds * 9 / 10)
        #expect(release.totals.answered == release.durations.nanoseconds && release.totals.failedRequests == 1)
        #expect(release.totals.input + release.totals.queue + release.totals.model + release.totals.output == parts)
        await home.stop()
    }

    @Test func aRequestIsTracedWithItsStagesAndItsParent() async throws {
        let traces = KeptTraces()
        let home = try await Home(tracer: traces)
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let parent = try #require(TraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
        func ask(_ table: Table, _ parent: TraceParent?, endpoint: ResourceRef = .delay) async throws -> InferenceResult {
            try await home.runtime.infer(endpoint: endpoint, parent: parent) { InferenceRequest(table: table, ids: ["a"]) { $0 } }
        }
        let result = try await ask(Home.request([1]), parent)
        let trace = try #require(traces.kept.withLock { $0.last })
        #expect(trace.id == parent.trace && trace.parent == parent.span && trace.endpoint == .delay)
        #expect(trace.stages.map(\.stage) == [.decode, .features, .model, .encode, .log])
        // One stage ends where the next begins.
        #expect(zip(trace.stages, trace.stages.dropFirst()).allSatisfy { $0.end == $1.start && $0.start <= $0.end })
        #expect(trace.stages.allSatisfy { $0.start >= 0 && $0.end <= trace.duration })
        guard case .answered(let release, let model, _, let rows, let id) = trace.outcome else { return #expect(Bool(false)) }
        #expect(release == result.release && model == "delay" && rows == 1 && id == "a")

        // Without a parent it begins a trace; one that is not sampled is not recorded.
        _ = try await ask(Home.request([1]), nil)
        let unsampled = try #require(TraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"))
        _ = try await ask(Home.request([1]), unsampled)
        #expect(traces.kept.withLock { $0.map(\.parent) } == [parent.span, nil])

        // Failures are recorded as far as they came.
        _ = try? await ask(Home.request([1], column: "y"), nil)
        _ = try? await ask(Home.request([]), nil)
        _ = try? await ask(Home.request([1]), nil, endpoint: ResourceRef("Endpoint", "none"))
        let failed = traces.kept.withLock { $0.suffix(3) }
        let codes = failed.compactMap { trace -> KeelError.Code? in if case .failed(let code) = trace.outcome { code } else { nil } }
        #expect(codes == [.contractViolation, .invalidArgument, .notFound])
        #expect(failed.map { $0.stages.map(\.stage) } == [[.decode], [], []])
        await home.stop()
    }

    @Test func withoutATracerNobodyIsAskedForTheParent() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let asked = Mutex(0)
        func parent() -> TraceParent? {
            asked.withLock { $0 += 1 }
            return nil
        }
        _ = try await home.runtime.infer(endpoint: .delay, parent: parent()) { InferenceRequest(table: Home.request([1])) { $0 } }
        #expect(asked.withLock { $0 } == 0)
        await home.stop()
    }
}
