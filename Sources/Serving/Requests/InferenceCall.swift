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
    private let start: ContinuousClock.Instant
    private let deadline: ContinuousClock.Instant
    private let bodyBytes: Int
    private let answer: @Sendable (Result<Answer, KeelError>) -> Void
    private let isClaimed = ManagedAtomic<Bool>(false)
    /// A body that is larger is read off the event loop.
    private static var inlineBytesMax: Int { 64 << 10 }

    /// The caller has counted it as in flight.
    init(
        _ runtime: ServingRuntime, _ route: EndpointRoute, stable: ServedRelease, pinned: ServedRelease?, bodyBytes: Int, within: Duration?,
        answer: @escaping @Sendable (Result<Answer, KeelError>) -> Void
    ) {
        self.runtime = runtime
        self.route = route
        self.stable = stable
        self.pinned = pinned
        self.bodyBytes = bodyBytes
        self.answer = answer
        start = .now
        let limit = Duration.microseconds(route.spec.limits.deadline.microseconds)
        deadline = start + min(within ?? limit, limit)
    }

    deinit { route.load.inFlight.wrappingDecrement(ordering: .relaxed) }

    func start(_ read: @escaping @Sendable () throws(KeelError) -> InferenceRequest<Answer>) {
        if bodyBytes > Self.inlineBytesMax {
            pool { [self] in self.read(read, isInline: false) }
        } else {
            self.read(read, isInline: true)
        }
    }

    private func pool(_ work: @escaping @Sendable () -> Void) {
        do throws(KeelError) {
            try runtime.lane.submit(work, until: deadline) { [self] error in fail(error) }
        } catch { fail(error) }
    }

    private func read(_ read: () throws(KeelError) -> InferenceRequest<Answer>, isInline: Bool) {
        do throws(KeelError) {
            let request = try read()
            try runtime.check(request.table, request.ids, route)
            if isInline, request.table.rowCount > pinned?.featureRowsMax ?? route.featureRowsMax {
                pool { [self] in score(request) }
            } else {
                score(request)
            }
        } catch { fail(error) }
    }

    private func score(_ request: InferenceRequest<Answer>) {
        do throws(KeelError) {
            let ticket = try runtime.log.admit(rows: request.table.rowCount, bytes: bodyBytes, route.spec.log)
            let now = runtime.clock.now()
            let ids = request.ids ?? (0..<request.table.rowCount).map { _ in Identifier.uuid(at: now) }
            choose(request, ids[0]) { [self] result in
                switch result {
                case .success((let scored, let served)): finish(request, scored, by: served, ids, at: now, ticket)
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
        served.meter.add(scored.timing, rows: request.table.rowCount, at: now, shadow: false)
        let batch = scored.batch(of: served, ids, request.table, at: now, shadow: false)
        compare(batch, request.params, served)
        let result = InferenceResult(
            ids: ids, release: served.release.number, model: served.release.model, modelVersion: served.release.modelVersion,
            inputs: scored.inputs.table, outputs: scored.outputs, scores: scored.scores, eventTimes: scored.inputs.eventTimes, timing: scored.timing)
        let encoded = request.encode(result)
        runtime.log.append(batch, ticket) { [self] error in
            if let error { refuse(error) } else { answer(.success(encoded)) }
        }
    }

    /// Scores by the release that is to answer. The stable one answers for a candidate that fails.
    private func choose(
        _ request: InferenceRequest<Answer>, _ id: String,
        done: @escaping @Sendable (Result<(scored: Scored, served: ServedRelease), KeelError>) -> Void
    ) {
        guard pinned == nil, let candidate = route.candidate, route.answersByCandidate(id) else {
            return score(pinned ?? stable, request, done: done)
        }
        Scored.make(by: candidate, request.table, request.params, until: deadline) { [self] result in
            switch result {
            case .success(let scored): done(.success((scored, candidate)))
            case .failure(let error):
                // A request that both refuse is at fault itself; one that only the candidate refuses tells of the candidate.
                score(stable, request) { result in
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
        _ served: ServedRelease, _ request: InferenceRequest<Answer>,
        done: @escaping @Sendable (Result<(scored: Scored, served: ServedRelease), KeelError>) -> Void
    ) {
        Scored.make(by: served, request.table, request.params, until: deadline) { [start] result in
            if case .failure(let error) = result {
                served.meter.addFailure(nanoseconds: nanoseconds(start, .now))
                if error.code != .invalidArgument, error.code != .contractViolation {
                    served.meter.failedRows.wrappingIncrement(by: request.table.rowCount, ordering: .relaxed)
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
        answer(.failure(error))
    }
}
