import Contracts
import Outgoing
import Serving
import Synchronization

/// Sends traces of requests to a collector over OTLP/HTTP, in batches, off the request path. What a bounded queue has no room for, or the collector does
/// not take, is left out and counted.
package final class TraceExporter: RequestTracer {
    package struct Counters: Sendable, Hashable {
        package var exported = 0
        /// Left out because the queue was full.
        package var overflowed = 0
        /// Given up after the collector did not take them.
        package var failed = 0
        package var queued = 0
    }

    private struct State {
        var waiting: [RequestTrace] = []
        var counters = Counters()
        var isClosed = false
    }

    private let settings: TraceSettings
    private let http: GuardedHTTP
    private let sampler: TraceSampler
    private let seed: UInt64
    private let state = Mutex(State())
    private let report: @Sendable (String) -> Void
    private let tracesMax: Int
    private static let batchMax = 512
    private static let interval = Duration.seconds(1)
    private static let contentType = "application/x-protobuf"

    /// - Parameters:
    ///   - seed: another one in every process.
    ///   - tracesMax: that may wait to be sent.
    ///   - report: told when the collector begins to fail, and when it takes traces again.
    /// - Throws: `invalidArgument` for an address that cannot be called.
    package init(
        _ settings: TraceSettings, http: GuardedHTTP, seed: UInt64, tracesMax: Int = 8192, report: @escaping @Sendable (String) -> Void
    ) throws(KeelError) {
        do throws(KeelError) { _ = try OutgoingTarget(settings.url, schemes: settings.schemes, for: .collector) } catch {
            throw error.at("tracing.otlp.endpoint")
        }
        self.settings = settings
        self.http = http
        self.seed = seed
        self.tracesMax = tracesMax
        self.report = report
        sampler = TraceSampler(ratio: settings.ratio, seed: seed)
    }

    package func trace(of parent: TraceParent?) -> TraceID? { sampler.trace(of: parent) }

    package func record(_ trace: RequestTrace) {
        state.withLock { state in
            if state.waiting.count < tracesMax, !state.isClosed {
                state.waiting.append(trace)
            } else {
                state.counters.overflowed += 1
            }
        }
    }

    package var counters: Counters {
        state.withLock { state in
            var counters = state.counters
            counters.queued += state.waiting.count
            return counters
        }
    }

    /// Sends what has gathered, every second, until the task is cancelled.
    package func run() async {
        var ids = SpanIDs(seed: seed, stream: 1)
        var isFailing = false
        while (try? await Task.sleep(for: TraceExporter.interval)) != nil {
            while let batch = take() {
                let problem = await send(batch, ExportAttempts(), &ids)
                if let problem, !isFailing { report("traces are lost: \(problem)") }
                if problem == nil, isFailing { report("traces are taken again") }
                isFailing = problem != nil
            }
        }
    }

    /// Sends what is left, once, and waits no longer than that for it. Nothing is recorded any more.
    package func close(within limit: Duration = .seconds(3)) async {
        state.withLock { $0.isClosed = true }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                await sendRest()
                // `run` may still be sending a batch.
                while counters.queued > 0, (try? await Task.sleep(for: .milliseconds(20))) != nil {}
            }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    private func sendRest() async {
        var ids = SpanIDs(seed: seed, stream: 2)
        while let batch = take() {
            guard let problem = await send(batch, ExportAttempts(attemptsMax: 1), &ids) else { continue }
            report("traces are lost: \(problem)")
            state.withLock { state in
                state.counters.failed += state.waiting.count
                state.waiting = []
            }
        }
    }

    private func take() -> [RequestTrace]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return nil }
            let batch = Array(state.waiting.prefix(TraceExporter.batchMax))
            state.waiting.removeFirst(batch.count)
            state.counters.queued += batch.count
            return batch
        }
    }

    /// - Returns: why the batch was given up; nil when it was taken.
    private func send(_ batch: [RequestTrace], _ given: ExportAttempts, _ ids: inout SpanIDs) async -> String? {
        let body = ExportRequest(service: settings.service, version: KeelVersion.text).bytes(batch, ids: &ids)
        var attempts = given
        while true {
            let outcome = await attempt(body)
            switch attempts.next(outcome, spread: Double(ids.next() >> 11) / Double(1 << 53)) {
            case .taken:
                state.withLock { state in
                    state.counters.queued -= batch.count
                    state.counters.exported += batch.count
                }
                return nil
            case .retry(let pause):
                if (try? await Task.sleep(for: pause)) != nil { continue }
                return lose(batch.count, "the server stops")
            case .giveUp(let problem): return lose(batch.count, problem)
            }
        }
    }

    private func lose(_ count: Int, _ problem: String) -> String {
        state.withLock { state in
            state.counters.queued -= count
            state.counters.failed += count
        }
        return problem
    }

    private func attempt(_ body: [UInt8]) async -> ExportAttempts.Outcome {
        do {
            let headers = [(name: "Content-Type", value: TraceExporter.contentType)] + settings.headers.map { ($0.name, $0.value) }
            let answer = try await http.post(body, headers: headers, to: settings.url)
            return .answered(status: answer.status, retryAfterSeconds: answer.header("retry-after").flatMap { Int($0) })
        } catch { return .unreachable(KeelError.wrapping(error).message) }
    }
}
