import Atomics
import Contracts
import Glibc
import Storage
import Synchronization

/// What the prediction log did since the start.
public struct PredictionLogCounters: Sendable, Hashable {
    public var written = 0
    /// Rows waiting to be written.
    public var queued = 0
    /// Left out because the endpoint logs only a share of its predictions.
    public var unsampled = 0
    /// Left out under `whenFull: sample` and `whenFull: drop`.
    public var sampled = 0
    public var dropped = 0
    /// Requests refused under `whenFull: block`.
    public var refused = 0
    /// Rows whose id had been logged already for that release.
    public var repeated = 0
    public var labelsJoined = 0
    public var labelsUnknown = 0
    /// Rows that could not be written before the process had to end.
    public var lost = 0
    /// Failed attempts to write.
    public var failures = 0
}

/// The ordered, bounded queue between the request path and the database: predictions and labels go in, one writer puts them in the tables in
/// batches, then tells the observers.
public final class PredictionLog: Sendable {
    /// Room that a request was given before it was scored.
    struct Ticket: Sendable {
        let rows: Int
        let keep: Bool
        let sample: Double
    }

    enum Entry: Sendable {
        case predictions(InferenceBatch, sample: Double)
        case labels([LabelInput], CheckedContinuation<LabelCounts, any Error>)
        case flush(CheckedContinuation<Void, Never>)
    }

    private struct State {
        var entries: [Entry] = []
        /// Someone waits for what is queued: the writer does not linger.
        var urgent = false
        var closed = false
    }

    private let database: Database
    private let rowsMax: Int
    private let rows = ManagedAtomic<Int>(0)
    private let state = Mutex(State())
    private let tallies = Mutex(PredictionLogCounters())
    private let observers = Mutex<[any PredictionObserver]>([])
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private static let batchRows = 1000
    private static let lingerMilliseconds = 20

    public init(database: Database, rowsMax: Int = 20_000) {
        (self.database, self.rowsMax) = (database, rowsMax)
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    public func observe(_ observer: any PredictionObserver) { observers.withLock { $0.append(observer) } }

    public var counters: PredictionLogCounters {
        var out = tallies.withLock { $0 }
        out.queued = rows.load(ordering: .relaxed)
        return out
    }

    // MARK: The request path

    /// Asks for room, as the policy says. Under `block` the calling thread waits up to `waitMilliseconds`.
    /// - Throws: `unavailable` when there is no room under `block`.
    func admit(rows count: Int, _ policy: LogPolicy, waitMilliseconds: Int = 20) throws(KeelError) -> Ticket {
        for attempt in 0... {
            let reserved = rows.wrappingIncrementThenLoad(by: count, ordering: .relaxed)
            // A request larger than the whole queue goes in alone.
            if reserved <= rowsMax || reserved == count {
                let thin = policy.whenFull == .sample && reserved > rowsMax / 2
                guard thin, Double.random(in: 0..<1) * Double(rowsMax) > 2 * Double(rowsMax - reserved) else {
                    return Ticket(rows: count, keep: true, sample: policy.sample)
                }
                rows.wrappingDecrement(by: count, ordering: .relaxed)
                tallies.withLock { $0.sampled += count }
                return Ticket(rows: 0, keep: false, sample: 0)
            }
            rows.wrappingDecrement(by: count, ordering: .relaxed)
            switch policy.whenFull {
            case .drop: tallies.withLock { $0.dropped += count }
            case .sample: tallies.withLock { $0.sampled += count }
            case .block:
                guard attempt < waitMilliseconds else {
                    tallies.withLock { $0.refused += 1 }
                    throw KeelError(
                        .unavailable, "the prediction log cannot keep up",
                        hint: "try again in a second; or declare log.whenFull: sample or drop")
                }
                usleep(1000)
                continue
            }
            return Ticket(rows: 0, keep: false, sample: 0)
        }
        throw KeelError(.internal, "unreachable")
    }

    /// Gives back room that was not used.
    func release(_ ticket: Ticket) { rows.wrappingDecrement(by: ticket.rows, ordering: .relaxed) }

    func append(_ batch: InferenceBatch, _ ticket: Ticket) {
        guard ticket.keep else { return }
        push(.predictions(batch, sample: ticket.sample), urgent: false)
    }

    // MARK: Labels

    /// Joins labels to their predictions, behind everything that is queued. See `ServingRuntime.label`.
    func label(_ labels: [LabelInput], _ grant: Grant) async throws -> LabelCounts {
        try grant.require(.labelsWrite)
        for (i, label) in labels.enumerated() {
            guard label.value.isFinite else { throw KeelError.invalid("a label must be a finite number", path: "labels[\(i)].value") }
            guard !label.id.isEmpty, label.id.utf8.count <= 200 else {
                throw KeelError.invalid("an id has 1 to 200 bytes", path: "labels[\(i)].id")
            }
        }
        guard !labels.isEmpty else { return LabelCounts() }
        return try await withCheckedThrowingContinuation { push(.labels(labels, $0), urgent: true) }
    }

    /// Waits until everything queued so far is written and observed.
    public func flush() async { await withCheckedContinuation { push(.flush($0), urgent: true) } }

    private func push(_ entry: Entry, urgent: Bool) {
        let refused = state.withLock { state in
            guard !state.closed else { return true }
            state.entries.append(entry)
            if urgent { state.urgent = true }
            if urgent || state.entries.count == 1 { waker.yield() }
            return false
        }
        if refused { refuse(entry) }
    }

    private func refuse(_ entry: Entry) {
        switch entry {
        case .predictions(let batch, _):
            rows.wrappingDecrement(by: batch.ids.count, ordering: .relaxed)
            tallies.withLock { $0.lost += batch.ids.count }
        case .labels(_, let continuation):
            continuation.resume(throwing: KeelError(.unavailable, "the server is shutting down", hint: "post the labels again"))
        case .flush(let continuation): continuation.resume()
        }
    }

    // MARK: The writer

    /// Writes until the task is cancelled, then writes what is left. One task at a time runs this.
    public func run() async {
        await withTaskCancellationHandler {
            for await _ in wake {
                await linger()
                while await writeQueued() {}
            }
        } onCancel: {
            waker.finish()
        }
        // In a task of its own, which is not cancelled: what was answered must be on the disk.
        await Task { [self] in
            state.withLock { $0.closed = true }
            while await writeQueued() {}
        }.value
    }

    /// Gathers a batch, unless someone waits.
    private func linger() async {
        for _ in 0..<(PredictionLog.lingerMilliseconds / 5) {
            guard rows.load(ordering: .relaxed) < PredictionLog.batchRows, !state.withLock({ $0.urgent || $0.closed }), !Task.isCancelled
            else { return }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Writes one batch; false when nothing was queued.
    private func writeQueued() async -> Bool {
        let entries = state.withLock { state in
            var count = 0
            var end = 0
            while end < state.entries.count, count < PredictionLog.batchRows {
                if case .predictions(let batch, _) = state.entries[end] { count += batch.ids.count }
                end += 1
            }
            let taken: [Entry]
            if end == state.entries.count {
                taken = exchange(&state.entries, with: [])
            } else {
                taken = Array(state.entries.prefix(end))
                state.entries.removeFirst(end)
            }
            if state.entries.isEmpty { state.urgent = false }
            return taken
        }
        guard !entries.isEmpty else { return false }
        var attempt = 0
        while true {
            do {
                finish(entries, try await store(entries))
                return true
            } catch {
                attempt += 1
                tallies.withLock { $0.failures += 1 }
                // A full disk may be freed: predictions are tried again while the bounded queue holds callers back. At the end of the process
                // there is no later.
                if attempt >= 5, state.withLock({ $0.closed }) {
                    for entry in entries { refuse(entry) }
                    return true
                }
                if onlyLabels(entries) {
                    for case .labels(_, let continuation) in entries { continuation.resume(throwing: error) }
                    for case .flush(let continuation) in entries { continuation.resume() }
                    return true
                }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func onlyLabels(_ entries: [Entry]) -> Bool {
        entries.allSatisfy { if case .predictions = $0 { false } else { true } }
    }

    private func store(_ entries: [Entry]) async throws -> [PredictionStore.Outcome] {
        let steps: [PredictionStore.Step] = entries.map { entry in
            switch entry {
            case .predictions(let batch, let sample): .predictions(batch, sample: sample)
            case .labels(let labels, _): .labels(labels)
            case .flush: .nothing
            }
        }
        return try await database.write { transaction in try PredictionStore.write(steps, in: transaction) }
    }

    private func finish(_ entries: [Entry], _ outcomes: [PredictionStore.Outcome]) {
        let watching = observers.withLock { $0 }
        var records: [PredictionRecord] = []
        func tell() {
            guard !records.isEmpty else { return }
            for observer in watching { observer.observed(records) }
            records = []
        }
        for (entry, outcome) in zip(entries, outcomes) {
            tallies.withLock { tallies in
                tallies.written += outcome.records.count
                tallies.unsampled += outcome.unsampled
                tallies.repeated += outcome.repeated
                tallies.labelsJoined += outcome.counts.joined
                tallies.labelsUnknown += outcome.counts.unknown
            }
            records += outcome.records
            if !outcome.labelled.isEmpty {
                tell()
                for observer in watching { observer.observed(labels: outcome.labelled) }
            }
            if case .predictions(let batch, _) = entry { rows.wrappingDecrement(by: batch.ids.count, ordering: .relaxed) }
        }
        tell()
        // Callers last: who waited for a flush finds the observers told.
        for (entry, outcome) in zip(entries, outcomes) {
            switch entry {
            case .labels(_, let continuation): continuation.resume(returning: outcome.counts)
            case .flush(let continuation): continuation.resume()
            case .predictions: continue
            }
        }
    }
}
