import Contracts
import Foundation
import Outgoing
import Serving
import Synchronization
import Testing
import TraceExport

/// Knows no name.
private struct NoNames: HostResolver {
    func addresses(of host: String) async throws -> [NetworkAddress] { throw KeelError(.unavailable, "cannot resolve '\(host)'") }
}

private func settings(
    endpoint: String = "http://collector.example:4318", ratio: String = "1", headers: [String] = [], environment: [String: String] = [:]
) throws(KeelError) -> TraceSettings {
    try TraceSettings(
        endpoint: endpoint, ratio: ratio, service: "keel", headers: headers, schemes: ["http"], allowsInternal: true, environment: environment)
}

@Suite("Which requests are recorded") struct TraceSamplerTests {
    private static func parent(sampled: Bool) -> TraceParent? {
        TraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\(sampled ? 1 : 0)")
    }

    @Test("a caller's decision holds, whatever the share", arguments: [0, 0.5, 1])
    func parents(ratio: Double) throws {
        let sampler = TraceSampler(ratio: ratio, seed: 1)
        for _ in 0..<100 {
            #expect(sampler.trace(of: Self.parent(sampled: true))?.description == "4bf92f3577b34da6a3ce929d0e0e4736")
            #expect(sampler.trace(of: Self.parent(sampled: false)) == nil)
        }
    }

    @Test("the share of requests that begin a trace is what is set, each with an id of its own", arguments: [0, 0.01, 0.25, 1])
    func share(ratio: Double) {
        let sampler = TraceSampler(ratio: ratio, seed: 42)
        let count = 40_000
        let ids = (0..<count).compactMap { _ in sampler.trace(of: nil) }
        let expected = ratio * Double(count)
        // Five standard deviations of a binomial.
        #expect(abs(Double(ids.count) - expected) <= 5 * (expected * (1 - ratio)).squareRoot(), "\(ids.count)")
        #expect(Set(ids).count == ids.count)
    }

    @Test("two processes give different ids")
    func seeds() {
        let one = TraceSampler(ratio: 1, seed: 1)
        let other = TraceSampler(ratio: 1, seed: 2)
        let ids = (0..<1000).flatMap { _ in [one.trace(of: nil), other.trace(of: nil)] }
        #expect(Set(ids).count == 2000)
    }

    @Test("no id of a span is another one's, or a part of a trace's", arguments: [0, 1, 42, .max] as [UInt64])
    func spans(seed: UInt64) throws {
        let sampler = TraceSampler(ratio: 1, seed: seed)
        var ids: Set<UInt64> = []
        var streams = [SpanIDs(seed: seed, stream: 1), SpanIDs(seed: seed, stream: 2)]
        for _ in 0..<10_000 {
            let trace = try #require(sampler.trace(of: nil))
            ids.formUnion([trace.high, trace.low])
            for i in streams.indices { ids.insert(streams[i].next()) }
        }
        #expect(ids.count == 40_000)
    }
}

@Suite("What is done with a batch after an attempt") struct ExportAttemptsTests {
    @Test("what OTLP calls retryable is tried again, later each time, and then given up", arguments: [429, 502, 503, 504])
    func retries(status: Int) {
        var attempts = ExportAttempts(attemptsMax: 4)
        let answer = ExportAttempts.Outcome.answered(status: status, retryAfterSeconds: nil)
        #expect((0..<4).map { _ in attempts.next(answer, spread: 0.5) } == [
            .retry(after: .seconds(1)), .retry(after: .seconds(2)), .retry(after: .seconds(4)), .giveUp("the collector answered \(status)"),
        ])
    }

    @Test("anything else is not", arguments: [400, 401, 404, 413, 415, 500, 301])
    func refusals(status: Int) {
        var attempts = ExportAttempts()
        #expect(attempts.next(.answered(status: status, retryAfterSeconds: 1), spread: 0) == .giveUp("the collector answered \(status)"))
    }

    @Test("a collector that is asked to be left alone is, but not for ever")
    func pauses() {
        var attempts = ExportAttempts()
        #expect(attempts.next(.answered(status: 503, retryAfterSeconds: 7), spread: 0) == .retry(after: .seconds(7)))
        #expect(attempts.next(.answered(status: 429, retryAfterSeconds: 86_400), spread: 0) == .retry(after: .seconds(30)))
        #expect(attempts.next(.answered(status: 200, retryAfterSeconds: nil), spread: 0) == .taken)
        var other = ExportAttempts()
        #expect(other.next(.unreachable("no route"), spread: 0) == .retry(after: .milliseconds(500)))
        #expect(other.next(.unreachable("no route"), spread: 1) == .retry(after: .seconds(3)))
    }
}

@Suite("Settings of traces") struct TraceSettingsTests {
    @Test("the address is the collector's, to which the path of traces is added")
    func address() throws {
        #expect(try settings(endpoint: "http://c:4318").url == "http://c:4318/v1/traces")
        #expect(try settings(endpoint: "http://c/otlp/").url == "http://c/otlp/v1/traces")
    }

    @Test("shares", arguments: [("0", 0), ("1", 1), ("0.25", 0.25), ("12.5%", 0.125)])
    func shares(text: String, share: Double) throws { #expect(try settings(ratio: text).ratio == share) }

    @Test("what is no share", arguments: ["", "-0.1", "1.01", "101%", "nan", "half", "%"])
    func noShares(text: String) {
        let error = #expect(throws: KeelError.self) { _ = try settings(ratio: text) }
        #expect(error?.path == "tracing.sampling.ratio")
    }

    @Test("what headers hold is read from where the settings say")
    func headers() throws {
        let file = NSTemporaryDirectory() + "keel-header-\(UUID().uuidString)"
        try Data("from a file\n".utf8).write(to: URL(fileURLWithPath: file))
        let read = try settings(headers: ["authorization=env:TOKEN", "x-key=file:\(file)"], environment: ["TOKEN": "Bearer a=b"]).headers
        #expect(read.map(\.name) == ["authorization", "x-key"] && read.map(\.value) == ["Bearer a=b", "from a file"])
    }

    @Test("a secret that stands in the settings is refused, and not shown")
    func secrets() {
        for text in ["authorization=Bearer hush", "hush", "=env:A", "a b=env:A", "a:b=env:A", "a=env:NONE", "a=file:/none", "a=env:LINES"] {
            let error = #expect(throws: KeelError.self) { _ = try settings(headers: [text], environment: ["A": "1", "LINES": "a\r\nb: c"]) }
            #expect(error?.path == "tracing.otlp.headers" && error?.description.contains("hush") == false)
        }
    }
}

@Suite("The exporter") struct TraceExporterTests {
    private func trace() -> RequestTrace {
        RequestTrace(
            id: TraceID(high: 1, low: 2), parent: nil, endpoint: ResourceRef("Endpoint", "e"), start: Timestamp(microseconds: 1), duration: 10,
            stages: [], outcome: .failed(.internal))
    }

    @Test("what the queue has no room for is left out and counted, and so is what nobody takes at the end")
    func full() async throws {
        let told = Mutex<[String]>([])
        let http = GuardedHTTP(
            for: .collector, schemes: ["http"], allowsInternal: true, resolver: NoNames(), http: try OutgoingHTTP(trusting: nil))
        let exporter = try TraceExporter(try settings(), http: http, seed: 1, tracesMax: 600) { line in told.withLock { $0.append(line) } }
        for _ in 0..<1000 { exporter.record(trace()) }
        #expect(exporter.counters.queued == 600 && exporter.counters.overflowed == 400)
        await exporter.close()
        #expect(exporter.counters.queued == 0 && exporter.counters.overflowed == 400 && exporter.counters.failed == 600)
        #expect(told.withLock { $0 } == ["traces are lost: cannot resolve 'collector.example'"])
        exporter.record(trace())
        #expect(exporter.counters.overflowed == 401)
    }

    @Test("an address that cannot be called is refused by the name of its setting", arguments: ["https://c", "ftp://c", "c:4318", "http://"])
    func address(endpoint: String) throws {
        let http = GuardedHTTP(
            for: .collector, schemes: ["http"], allowsInternal: true, resolver: NoNames(), http: try OutgoingHTTP(trusting: nil))
        let error = #expect(throws: KeelError.self) {
            _ = try TraceExporter(try settings(endpoint: endpoint), http: http, seed: 1) { _ in }
        }
        #expect(error?.path == "tracing.otlp.endpoint" && error?.message.lowercased().contains("trace collector url") == true)
    }
}
