import Atomics
import Contracts
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
    /// Rows that a start found in the journal and put in the table.
    public var recovered = 0
    /// Rows whose id had been logged already for that release.
    public var repeated = 0
    public var labelsJoined = 0
    public var labelsUnknown = 0
    /// Rows that could not be put in the table before the process had to end: the journal holds them, and the next start puts them there.
    public var left = 0
    /// Failed attempts to write.
    public var failures = 0
}

/// The ordered, bounded way from the request path to the database. A prediction is first written to a journal, and answered then; one writer puts what
/// is in the journal in the tables, in batches, then tells the observers. What a killed process left in the journal is put there by the next start.
/// Labels go the same way without the journal: they are answered when they are in the tables.
public final class PredictionLog: Sendable {
    /// Room that a request was given before it was scored; 0 rows: it is not logged.
    struct Ticket: Sendable {
        let rows: Int
        let bytes: Int
        let policy: LogPolicy
    }

    enum Entry: Sendable {
        /// `end` is the journal's offset behind the batch, when an append ends with it.
        case predictions(LoggedBatch, Ticket, end: UInt64?)
        case labels(LabelsInput, CheckedContinuation<LabelCounts, any Error>)
        case flush(CheckedContinuation<Void, any Error>)
    }

    private struct State {
        var entries: [Entry] = []
        /// Someone waits for what is queued: the writer does not linger.
        var urgent = false
        var closed = false
    }

    private let database: Database
    private let journal: PredictionJournal
    private let rowsMax: Int
    /// The offset up to which the journal's files were removed.
    private let trimmed = ManagedAtomic<UInt64>(0)
    /// Until what an ended process left is in the table, the journal keeps everything.
    private let isRecovered = ManagedAtomic<Bool>(false)
    private let rows = ManagedAtomic<Int>(0)
    /// Of the requests whose rows are queued.
    private let bytes = ManagedAtomic<Int>(0)
    private static let bytesMax = 64 << 20
    private let state = Mutex(State())
    private let tallies = Mutex(PredictionLogCounters())
    private let observers = Mutex<[any PredictionObserver]>([])
    private let labelRules = Mutex(LabelRules())
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private static let batchRows = 1000
    private static let lingerMilliseconds = 50
    /// How often a closed log tries to write, 200 ms apart.
    private static let lastAttempts = 5

    /// - Parameters:
    ///   - journal: the folder of the journal.
    ///   - rowsMax: how many rows may wait to be put in the table.
    ///   - report: told of damage to the journal, from any thread.
    public init(
        database: Database, journal folder: String, rowsMax: Int = 20_000, report: @escaping @Sendable (KeelError) -> Void = { _ in }
    ) throws {
        (self.database, self.rowsMax) = (database, rowsMax)
        journal = try PredictionJournal(folder: folder, report: report)
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    public func observe(_ observer: any PredictionObserver) { observers.withLock { $0.append(observer) } }

    public var counters: PredictionLogCounters {
        var out = tallies.withLock { $0 }
        out.queued = rows.load(ordering: .relaxed)
        return out
    }

    // MARK: The request path

    /// Asks for room, as the policy says. It never waits.
    /// - Parameter size: the bytes of the request, for which its rows are kept.
    /// - Throws: `unavailable` when there is no room under `block`.
    func admit(rows count: Int, bytes size: Int, _ policy: LogPolicy) throws(KeelError) -> Ticket {
        let ticket = Ticket(rows: count, bytes: size, policy: policy)
        let reserved = rows.wrappingIncrementThenLoad(by: count, ordering: .relaxed)
        let reservedBytes = bytes.wrappingIncrementThenLoad(by: size, ordering: .relaxed)
        // A request larger than the whole queue goes in alone.
        if reserved <= rowsMax && reservedBytes <= PredictionLog.bytesMax || reserved == count {
            let thin = policy.whenFull == .sample && reserved > rowsMax / 2
            guard thin, Double.random(in: 0..<1) * Double(rowsMax) > 2 * Double(rowsMax - reserved) else { return ticket }
        } else if policy.whenFull == .block {
            release(ticket)
            tallies.withLock { $0.refused += 1 }
            throw KeelError(
                .unavailable, "the prediction log cannot keep up",
                hint: "try again in a second; or declare log.whenFull: sample or drop")
        }
        release(ticket)
        leftOut(count, policy)
        return Ticket(rows: 0, bytes: 0, policy: policy)
    }

    /// Counts rows that are answered and not logged.
    private func leftOut(_ count: Int, _ policy: LogPolicy) {
        tallies.withLock { tallies in
            if policy.whenFull == .sample { tallies.sampled += count } else { tallies.dropped += count }
        }
    }

    /// Gives back room that was not used.
    func release(_ ticket: Ticket) {
        rows.wrappingDecrement(by: ticket.rows, ordering: .relaxed)
        bytes.wrappingDecrement(by: ticket.bytes, ordering: .relaxed)
    }

    /// Logs a batch as durably as its policy says, then calls `written`, on this thread or another: nil, or why the caller must be refused.
    func append(_ batch: InferenceBatch, _ ticket: Ticket, written: @escaping @Sendable (KeelError?) -> Void) {
        guard ticket.rows > 0 else { return written(nil) }
        let policy = ticket.policy
        let logged = LoggedBatch(batch, sample: policy.sample)
        let unsampled = ticket.rows - logged.rows.count
        if unsampled > 0 { tallies.withLock { $0.unsampled += unsampled } }
        guard !logged.rows.isEmpty else {
            release(ticket)
            return written(nil)
        }
        journal.add(
            PredictionJournal.Entry(
                batch: logged, durability: policy.durability,
                answer: { [self] error in written(error.flatMap { refusal($0, ticket) }) },
                logged: { [self] end in push(.predictions(logged, ticket, end: end), urgent: false) }))
    }

    /// Counts a batch that could not be logged.
    /// - Returns: why its caller is refused; nil when the policy answers it all the same.
    private func refusal(_ error: KeelError, _ ticket: Ticket) -> KeelError? {
        release(ticket)
        guard ticket.policy.whenFull == .block else {
            leftOut(ticket.rows, ticket.policy)
            return nil
        }
        tallies.withLock { tallies in
            tallies.refused += 1
            tallies.failures += 1
        }
        return error
    }

    // MARK: Start

    /// Puts what an ended process left in the journal in the table. Call it before anything is predicted. When it fails, the next start tries again.
    public func recover() async throws {
        let (from, oldNames) = try await database.read { (try PredictionStore.drained(in: $0), try DeploymentService.oldNames(in: $0)) }
        let batches = (try journal.batches(from: from) + journal.left).map { batch in
            guard batch.hasOldName, let environment = oldNames[batch.endpoint.name] else { return batch }
            var batch = batch
            batch.endpoint = ResourceRef(EndpointSpec.kind, batch.endpoint.name, environment: environment)
            return batch
        }
        let end = journal.end
        var start = 0
        while start < batches.count {
            let steps = batches[start..<min(start + PredictionLog.batchRows, batches.count)].map(PredictionStore.Step.predictions)
            let outcomes = try await database.write { try PredictionStore.write(steps, LabelRules(), drained: nil, in: $0) }
            tallies.withLock { $0.recovered += outcomes.reduce(0) { $0 + $1.records.count } }
            start += steps.count
        }
        // After a power cut the journal may end before the offset that the table knew: what comes next lies behind its end.
        if end != from { try await database.write { try PredictionStore.setDrained(end, in: $0) } }
        trimmed.store(end, ordering: .relaxed)
        try journal.trim(before: end)
        isRecovered.store(true, ordering: .relaxed)
    }

    // MARK: Labels

    /// Says of which endpoints of a workspace labels are 0 or 1: those whose performance is measured by metrics of such labels. A label of theirs with
    /// another value is refused.
    public func setBinaryEndpoints(_ endpoints: Set<ResourceRef>, in workspace: WorkspaceID) {
        labelRules.withLock { $0.binary = $0.binary.filter { $0.workspace != workspace }.union(endpoints) }
    }

    /// Says how long after a prediction's event time its label may become known, on those endpoints of a workspace that bound it. A later label is refused.
    func setLabelHorizons(_ within: [ResourceRef: TimeSpan], in workspace: WorkspaceID) {
        labelRules.withLock { rules in
            rules.within = rules.within.filter { $0.key.workspace != workspace }.merging(within) { $1 }
        }
    }

    /// Joins labels to their predictions, behind everything that is queued. See `ServingRuntime.label`.
    func label(_ labels: [LabelInput], of endpoint: ResourceRef?, _ grant: Grant) async throws -> LabelCounts {
        if let endpoint { try grant.require(.labelsWrite, on: endpoint) } else { try grant.require(.labelsWrite) }
        for (i, label) in labels.enumerated() {
            do throws(KeelError) { try label.value.check() } catch { throw error.at("labels[\(i)].value") }
            guard !label.id.isEmpty, label.id.utf8.count <= 200 else {
                throw KeelError.invalid("an id has 1 to 200 bytes", path: "labels[\(i)].id")
            }
        }
        guard !labels.isEmpty else { return LabelCounts() }
        let input = LabelsInput(labels: labels, workspace: grant.workspace, endpoint: endpoint)
        return try await withCheckedThrowingContinuation { continuation in pushInOrder(.labels(input, continuation)) }
    }

    /// Waits until everything logged so far is in the table and observed.
    /// - Throws: `unavailable` when the table cannot be written now.
    public func flush() async throws {
        try await withCheckedThrowingContinuation { continuation in pushInOrder(.flush(continuation)) }
    }

    /// Behind the predictions that are on their way into the journal.
    private func pushInOrder(_ entry: Entry) { journal.inOrder { [self] in push(entry, urgent: true) } }

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
        case .predictions(let batch, let ticket, _):
            release(ticket)
            tallies.withLock { $0.left += batch.rows.count }
        case .labels(_, let continuation):
            continuation.resume(throwing: KeelError(.unavailable, "the server is shutting down", hint: "post the labels again"))
        case .flush(let continuation):
            continuation.resume(throwing: KeelError(.unavailable, "the server is shutting down"))
        }
    }

    /// Takes nothing more; `run` writes what is queued, tries a few times if it must, and ends.
    private func close() {
        state.withLock { $0.closed = true }
        waker.finish()
    }

    // MARK: The writer

    /// Writes until the log is closed or the task is cancelled, then writes what is left. One task at a time runs this.
    public func run() async {
        await withTaskCancellationHandler {
            for await _ in wake {
                await linger()
                while await writeQueued() {}
            }
        } onCancel: {
            // Behind the predictions that are on their way into the journal. A write that is being tried again ends then.
            journal.inOrder { [self] in close() }
        }
        // In a task of its own, which is not cancelled.
        await Task { [self] in
            await withCheckedContinuation { continuation in
                journal.inOrder { [self] in
                    close()
                    continuation.resume()
                }
            }
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
        var entries = state.withLock { state in
            var count = 0
            var end = 0
            while end < state.entries.count, count < PredictionLog.batchRows {
                if case .predictions(_, let ticket, _) = state.entries[end] { count += ticket.rows }
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
                // Who waits is told. Predictions are tried again, since a full disk may be freed, while the bounded queue holds callers back; at the
                // end of the process they stay in the journal.
                entries = failWaiting(entries, error)
                _ = failWaiting(state.withLock { state in PredictionLog.takeWaiting(&state.entries) }, error)
                if attempt >= PredictionLog.lastAttempts, state.withLock({ $0.closed }) {
                    for entry in entries { refuse(entry) }
                    return true
                }
                if entries.isEmpty { return true }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// Takes the labels and flushes out of the queue.
    private static func takeWaiting(_ entries: inout [Entry]) -> [Entry] {
        func isPrediction(_ entry: Entry) -> Bool { if case .predictions = entry { true } else { false } }
        defer { entries = entries.filter(isPrediction) }
        return entries.filter { !isPrediction($0) }
    }

    /// Fails the labels and flushes; returns the predictions.
    private func failWaiting(_ entries: [Entry], _ error: any Error) -> [Entry] {
        entries.filter { entry in
            switch entry {
            case .predictions: return true
            case .labels(_, let continuation): continuation.resume(throwing: error)
            case .flush(let continuation): continuation.resume(throwing: error)
            }
            return false
        }
    }

    private func store(_ entries: [Entry]) async throws -> [PredictionStore.Outcome] {
        var drained: UInt64?
        let rules = labelRules.withLock { $0 }
        let steps: [PredictionStore.Step] = entries.map { entry in
            switch entry {
            case .predictions(let batch, _, let end):
                drained = end ?? drained
                return .predictions(batch)
            case .labels(let labels, _): return .labels(labels)
            case .flush: return .nothing
            }
        }
        let upTo = isRecovered.load(ordering: .relaxed) ? drained : nil
        let outcomes = try await database.write { transaction in try PredictionStore.write(steps, rules, drained: upTo, in: transaction) }
        if let upTo, upTo >= trimmed.load(ordering: .relaxed) + UInt64(PredictionJournal.segmentBytes) {
            trimmed.store(upTo, ordering: .relaxed)
            // Files that stay only take room, and are tried again with the next.
            try? journal.trim(before: upTo)
        }
        return outcomes
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
                tallies.repeated += outcome.repeated
                tallies.labelsJoined += outcome.counts.joined
                tallies.labelsUnknown += outcome.counts.unknown
            }
            records += outcome.records
            if !outcome.labelled.isEmpty {
                tell()
                for observer in watching { observer.observed(labels: outcome.labelled) }
            }
            if case .predictions(_, let ticket, _) = entry { release(ticket) }
        }
        tell()
        // Callers last: whoever waited for a flush finds the observers told.
        for (entry, outcome) in zip(entries, outcomes) {
            switch entry {
            case .labels(_, let continuation): continuation.resume(returning: outcome.counts)
            case .flush(let continuation): continuation.resume()
            case .predictions: continue
            }
        }
    }
}
