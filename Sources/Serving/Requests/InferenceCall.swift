import Atomics
import Contracts

/// A request as an API has read it.
public struct InferenceRequest<Answer: Sendable>: Sendable {
    public let table: Table
    /// What the caller sets of the model's params: an object, or null.
    public let params: JSON
    /// One for each row, unique; made by the runtime when nil.
    public let ids: [String]?
    /// Makes the API's answer of the result. It runs where the request was scored.
    public let encode: @Sendable (InferenceResult) -> Answer
    /// Gives an error about a column (`x`, `x[3]`) the place that it has in the API's request.
    public let locate: @Sendable (KeelError) -> KeelError

    public init(
        table: Table, params: JSON = .null, ids: [String]? = nil, locate: @escaping @Sendable (KeelError) -> KeelError = { $0 },
        encode: @escaping @Sendable (InferenceResult) -> Answer
    ) {
        self.table = table
        self.params = params
        self.ids = ids
        self.encode = encode
        self.locate = locate
    }
}

/// One request on its way: read, scored, logged and answered, each on the thread where it may be.
///
/// It is answered exactly once: with its result when that is logged, with an error, or at its deadline, whichever is first. It counts as in flight
/// until the last thread has let go of it.
final class InferenceCall<Answer: Sendable>: Sendable {
    private let runtime: ServingRuntime
    private let route: EndpointRoute
    private let stable: ServedRelease
    /// The release that must answer; nil: as the rollout has it.
    private let pinned: ServedRelease?
    /// When the request had come as a whole.
    private let start = Tick.now
    private let deadline: ContinuousClock.Instant
    private let bodyBytes: Int
    /// Nil for nearly every request: nothing is recorded of it.
    private let trace: OpenTrace?
    private let answer: @Sendable (Result<Answer, KeelError>) -> Void
    private let isClaimed = ManagedAtomic<Bool>(false)
    /// A body that is larger is read off the event loop.
    private static var inlineBytesMax: Int { 64 << 10 }

    /// The caller has counted it as in flight.
    init(
        _ runtime: ServingRuntime, _ route: EndpointRoute, stable: ServedRelease, pinned: ServedRelease?, bodyBytes: Int, within: Duration?,
        trace: OpenTrace?, answer: @escaping @Sendable (Result<Answer, KeelError>) -> Void
    ) {
        self.runtime = runtime
        self.route = route
        self.stable = stable
        self.pinned = pinned
        self.bodyBytes = bodyBytes
        self.trace = trace
        self.answer = answer
        let limit = Duration.microseconds(route.spec.limits.deadline.microseconds)
        deadline = .now + min(within ?? limit, limit)
    }

    deinit { route.load.inFlight.wrappingDecrement(ordering: .relaxed) }

    func start(_ read: @escaping @Sendable () throws(KeelError) -> InferenceRequest<Answer>) {
        if bodyBytes > Self.inlineBytesMax {
            pool { [self] in
                let begin = Tick.now
                trace?.add(.queue, from: start, to: begin)
                self.read(read, from: begin, waited: begin - start)
            }
        } else {
            self.read(read, from: start, waited: nil)
        }
    }

    private func pool(_ work: @escaping @Sendable () -> Void) {
        do throws(KeelError) {
            try runtime.lane.submit(work, until: deadline) { [self] error in fail(error) }
        } catch { fail(error) }
    }

    /// - Parameter waited: how long the request waited for this thread; nil on the thread where it came.
    private func read(_ read: () throws(KeelError) -> InferenceRequest<Answer>, from begin: Tick, waited: Int?) {
        do throws(KeelError) {
            let request = try read()
            try runtime.check(request.table, request.ids, route)
            guard waited == nil, request.table.rowCount > pinned?.featureRowsMax ?? route.featureRowsMax else {
                return score(request, from: begin, waited: waited)
            }
            let left = Tick.now
            pool { [self] in
                let resumed = Tick.now
                trace?.add(.decode, from: begin, to: left)
                trace?.add(.queue, from: left, to: resumed)
                score(request, from: resumed, decoded: left - begin, waited: resumed - left)
            }
        } catch { fail(error) }
    }

    /// - Parameters:
    ///   - begin: when this thread began with the request.
    ///   - decoded: how long another thread read the request before that.
    ///   - waited: how long the request waited between the threads.
    private func score(_ request: InferenceRequest<Answer>, from begin: Tick, decoded: Int = 0, waited: Int?) {
        do throws(KeelError) {
            let ticket = try runtime.log.admit(rows: request.table.rowCount, bytes: bodyBytes, route.spec.log)
            let now = runtime.clock.now()
            let ids = request.ids ?? (0..<request.table.rowCount).map { _ in Identifier.uuid(at: now) }
            let read = Tick.now
            trace?.add(.decode, from: begin, to: read)
            choose(request, ids[0], from: read) { [self] result in
                switch result {
                case .success((var scored, let served)):
                    scored.timing.decode = decoded + (read - begin)
                    if let waited { scored.timing.queue = waited + (scored.timing.queue ?? 0) }
                    finish(request, scored, by: served, ids, at: now, ticket)
                case .failure(let error):
                    runtime.log.release(ticket)
                    fail(request.locate(error))
                }
            }
        } catch { fail(error) }
    }

    private func finish(
        _ request: InferenceRequest<Answer>, _ scored: Scored, by served: ServedRelease, _ ids: [String], at now: Timestamp,
        _ ticket: PredictionLog.Ticket
    ) {
        // Past the deadline it was answered already, and what was answered otherwise is not logged.
        guard claim() else { return runtime.log.release(ticket) }
        let rows = request.table.rowCount
        let batch = scored.batch(of: served, ids, request.table, at: now, shadow: false)
        compare(batch, request.params, served)
        let result = InferenceResult(
            ids: ids, release: served.release.number, model: served.release.model, modelVersion: served.release.modelVersion,
            inputs: scored.inputs.table, outputs: scored.outputs, scores: scored.scores, eventTimes: scored.inputs.eventTimes)
        let encoded = request.encode(result)
        let made = Tick.now
        var timing = scored.timing
        timing.encode = made - scored.end
        trace?.add(.encode, from: scored.end, to: made)
        runtime.log.append(batch, ticket) { [self, timing] error in
            if let error { return refuse(error) }
            let end = Tick.now
            var timing = timing
            timing.log = end - made
            timing.whole = end - start
            served.meter.add(timing, rows: rows, at: now)
            if let trace {
                trace.add(.log, from: made, to: end)
                trace.end(
                    .answered(
                        release: served.release.number, model: served.release.model, modelVersion: served.release.modelVersion, rows: rows,
                        firstID: ids[0]))
            }
            answer(.success(encoded))
        }
    }

    /// Scores by the release that is to answer. The stable one answers for a candidate that fails.
    private func choose(
        _ request: InferenceRequest<Answer>, _ id: String, from start: Tick,
        done: @escaping @Sendable (Result<(scored: Scored, served: ServedRelease), KeelError>) -> Void
    ) {
        guard pinned == nil, let candidate = route.candidate, route.answersByCandidate(id) else {
            return score(pinned ?? stable, request, from: start, done: done)
        }
        Scored.make(by: candidate, request.table, request.params, from: start, until: deadline, trace: trace) { [self] result in
            switch result {
            case .success(let scored): done(.success((scored, candidate)))
            case .failure(let error):
                // A request that both refuse is at fault itself; one that only the candidate refuses tells of the candidate.
                score(stable, request, from: .now) { result in
                    if case .success = result {
                        candidate.meter.failedRows.wrappingIncrement(by: request.table.rowCount, ordering: .relaxed)
                        candidate.meter.count(error.code)
                    }
                    done(result)
                }
            }
        }
    }

    private func score(
        _ served: ServedRelease, _ request: InferenceRequest<Answer>, from begin: Tick,
        done: @escaping @Sendable (Result<(scored: Scored, served: ServedRelease), KeelError>) -> Void
    ) {
        Scored.make(by: served, request.table, request.params, from: begin, until: deadline, trace: trace) { [start] result in
            if case .failure(let error) = result {
                served.meter.addFailure(nanoseconds: .now - start)
                if error.code != .invalidArgument, error.code != .contractViolation {
                    served.meter.failedRows.wrappingIncrement(by: request.table.rowCount, ordering: .relaxed)
                    served.meter.count(error.code)
                }
            }
            done(result.map { ($0, served) })
        }
    }

    /// While a rollout runs the release that did not answer scores the request too.
    private func compare(_ batch: InferenceBatch, _ params: JSON, _ served: ServedRelease) {
        guard let candidate = route.candidate else { return }
        runtime.shadows.add(
            ShadowJob(
                release: served === candidate ? stable : candidate, batch: batch, params: params, bytes: bodyBytes,
                sharesFeatures: route.sharesFeatures, policy: route.spec.log,
                duration: .microseconds(route.spec.limits.deadline.microseconds)))
    }

    private func claim() -> Bool { !isClaimed.exchange(true, ordering: .relaxed) }

    private func fail(_ error: KeelError) { if claim() { refuse(error) } }

    private func refuse(_ error: KeelError) {
        route.load.refusals.count(error.code)
        trace?.end(.failed(error.code))
        answer(.failure(error))
    }
}
