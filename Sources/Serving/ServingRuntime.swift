import Atomics
import Contracts

/// The answer to an inference request.
public struct InferenceResult: Sendable, Hashable {
    /// One for each row: the caller's, or made here.
    public let ids: [String]
    public let release: Int
    public let model: String
    public let modelVersion: String
    /// One for each row.
    public let scores: [Float]
    /// The event time of each row where the features carry one.
    public let eventTimes: [Timestamp]?
    public let timing: InferenceTiming
}

/// Answers inference requests on the calling thread: no actor, no database, and no lock but the log's short one.
///
/// Each request reads one immutable routing table that deployments replace atomically.
public final class ServingRuntime: Sendable {
    private let routing = ManagedAtomic<RoutingTable>(RoutingTable([:]))
    private let clock: any Clock
    public let log: PredictionLog
    let shadows: ShadowQueue

    public init(log: PredictionLog, clock: any Clock = SystemClock(), shadowRowsMax: Int = 20_000) {
        self.log = log
        self.clock = clock
        shadows = ShadowQueue(log: log, rowsMax: shadowRowsMax)
    }

    /// Scores every row of `request`.
    ///
    /// One release answers all rows, chosen by the hash of the first id. While a rollout runs the other release scores the rows too, off the
    /// response path, so that the two are compared on the same requests. When the candidate fails on a request that the stable release can
    /// answer, the stable release answers and the failure counts against the candidate.
    ///
    /// - Parameter ids: one for each row, unique; made here when nil.
    /// - Throws: `notFound`, `failedPrecondition` (no release yet), `payloadTooLarge`, `unavailable`, or what the feature plan says of the request.
    public func infer(endpoint: String, request: Table, ids given: [String]? = nil) throws(KeelError) -> InferenceResult {
        let table = routing.load(ordering: .acquiring)
        guard let route = table.routes[endpoint] else {
            throw .notFound(
                "there is no endpoint '\(endpoint.prefix(128))'",
                hint: nearest(endpoint, in: table.routes.keys).map { "did you mean '\($0)'?" })
        }
        do throws(KeelError) {
            try check(request, given, route)
            return try admitted(route, request, given)
        } catch {
            route.door.refusals.count(error.code)
            throw error
        }
    }

    private func check(_ request: Table, _ given: [String]?, _ route: EndpointRoute) throws(KeelError) {
        let limits = route.spec.limits
        guard request.rowCount > 0 else { throw .invalid("the request has no rows") }
        guard request.rowCount <= limits.rows else {
            throw KeelError(.payloadTooLarge, "\(request.rowCount) rows in one request", hint: "this endpoint takes \(limits.rows) at once")
        }
        guard let given else { return }
        guard given.count == request.rowCount else { throw .invalid("\(given.count) ids for \(request.rowCount) rows", path: "ids") }
        for (i, id) in given.enumerated() where id.isEmpty || id.utf8.count > 200 {
            throw .invalid("an id has 1 to 200 bytes", path: "ids[\(i)]")
        }
        if given.count > 1, Set(given).count != given.count { throw .invalid("two rows have the same id", path: "ids") }
    }

    private func admitted(_ route: EndpointRoute, _ request: Table, _ given: [String]?) throws(KeelError) -> InferenceResult {
        guard let stable = route.stable else {
            throw KeelError(.failedPrecondition, "endpoint '\(route.spec.name)' has no release yet", hint: "release a model to it first")
        }
        let inFlight = route.door.inFlight
        defer { inFlight.wrappingDecrement(ordering: .relaxed) }
        guard inFlight.wrappingIncrementThenLoad(ordering: .relaxed) <= route.spec.limits.queue else {
            throw KeelError(.unavailable, "endpoint '\(route.spec.name)' is busy", hint: "try again in a second")
        }
        let ticket = try log.admit(rows: request.rowCount, route.spec.log)
        let now = clock.now()
        let ids = given ?? (0..<request.rowCount).map { _ in Identifier.uuid(at: now) }
        // The release that scores the request too, for comparison.
        var other = route.candidate
        var served = stable
        let scored: Scored
        do throws(KeelError) {
            if let candidate = route.candidate, route.answersByCandidate(ids[0]) {
                (scored, served) = try answer(by: candidate, or: stable, request)
                other = served === candidate ? stable : nil
            } else {
                scored = try score(stable, request)
            }
        } catch {
            log.release(ticket)
            throw error
        }
        served.meter.add(scored.timing, rows: request.rowCount, shadow: false)
        let batch = scored.batch(of: served, ids, request, at: now, shadow: false)
        if let other { shadows.add(ShadowJob(release: other, batch: batch, sharesFeatures: route.sharesFeatures, policy: route.spec.log)) }
        log.append(batch, ticket)
        return InferenceResult(
            ids: ids, release: served.release.number, model: served.release.model, modelVersion: served.release.modelVersion,
            scores: scored.scores,
            eventTimes: scored.eventTimes, timing: scored.timing)
    }

    private func answer(by candidate: ServedRelease, or stable: ServedRelease, _ request: Table) throws(KeelError) -> (
        Scored, ServedRelease
    ) {
        do throws(KeelError) { return (try Scored(candidate, request), candidate) } catch {
            // A request that both refuse is at fault itself; one that only the candidate refuses tells of the candidate.
            let scored = try score(stable, request)
            candidate.meter.failedRows.wrappingIncrement(by: request.rowCount, ordering: .relaxed)
            candidate.meter.count(error.code)
            return (scored, stable)
        }
    }

    private func score(_ served: ServedRelease, _ request: Table) throws(KeelError) -> Scored {
        do throws(KeelError) { return try Scored(served, request) } catch {
            if error.code != .invalidArgument, error.code != .contractViolation {
                served.meter.failedRows.wrappingIncrement(by: request.rowCount, ordering: .relaxed)
            }
            throw error
        }
    }

    /// Joins labels to their predictions by id, behind everything that was answered before: a prediction still on its way to the log is found.
    ///
    /// Every logged score of the id is labelled, those in shadow too. A label of an id that is not logged is kept and joins when its prediction
    /// is. A label posted again replaces the one before.
    /// - Throws: `invalidArgument` for a value that is not finite or an id that is empty; then none is taken.
    public func label(_ labels: [LabelInput], _ grant: Grant) async throws -> LabelCounts {
        await shadows.flush()
        return try await log.label(labels, grant)
    }

    // MARK: Deployments

    /// Puts one endpoint's route in place of the one there; nil removes it. Called by one deployer at a time.
    func swap(_ name: String, to route: EndpointRoute?) {
        var routes = routing.load(ordering: .acquiring).routes
        routes[name] = route
        routing.store(RoutingTable(routes), ordering: .releasing)
    }

    func route(_ name: String) -> EndpointRoute? { routing.load(ordering: .acquiring).routes[name] }

    /// The largest request body that an endpoint takes; the default's for an endpoint that is not there.
    public func bodyBytesMax(endpoint: String) -> Int { route(endpoint)?.spec.limits.bodyBytes ?? EndpointLimits().bodyBytes }

    /// Request columns that the endpoint's stable release takes, for a door that must know types; nil when it has none.
    public func requestFields(endpoint: String) -> [Field]? { route(endpoint)?.stable?.plan.requestFields }

    /// The reference profile, signature and metrics of a release that serves now.
    public func bundle(endpoint: String, release: Int) -> ModelBundle? {
        let route = route(endpoint)
        return [route?.stable, route?.candidate].compactMap { $0 }.first { $0.release.number == release }?.model.bundle
    }

    /// The counters of every endpoint, by name.
    public func status() -> [EndpointStatus] {
        routing.load(ordering: .acquiring).routes.values.map { route in
            EndpointStatus(
                name: route.spec.name, environment: route.spec.environment,
                stable: route.stable.map { ReleaseStatus($0, share: 1 - route.share) },
                candidate: route.candidate.map { ReleaseStatus($0, share: route.share) },
                phase: route.candidate == nil ? "steady" : route.share == 0 ? "shadow" : "canary", refused: route.door.refusals.errorCounts,
                inFlight: route.door.inFlight.load(ordering: .relaxed))
        }.sorted { $0.name < $1.name }
    }

    /// Rows that were answered but not scored by the other release of a rollout, because it could not keep up.
    public var shadowRowsDropped: Int { shadows.dropped.load(ordering: .relaxed) }

    /// Waits until every shadow score and every logged prediction so far is written.
    public func flush() async {
        await shadows.flush()
        await log.flush()
    }
}

/// A request's matrix and scores by one release.
struct Scored {
    let features: [Float]
    let eventTimes: [Timestamp]?
    let scores: [Float]
    let timing: InferenceTiming

    /// Reads the features (unless `reusing` has them) and runs the model.
    init(_ served: ServedRelease, _ request: Table, reusing known: InferenceBatch? = nil) throws(KeelError) {
        let start = ContinuousClock.now
        if let known {
            (features, eventTimes) = (known.features, known.eventTimes)
        } else {
            let size = request.rowCount * served.width
            var (times, failure): ([Timestamp]?, KeelError?)
            features = [Float](unsafeUninitializedCapacity: size) { buffer, count in
                buffer.initialize(repeating: .nan)
                do throws(KeelError) {
                    times = try served.plan.fill(request, into: UnsafeMutableBufferPointer(rebasing: buffer[0..<size]))
                } catch { failure = error }
                count = size
            }
            if let failure { throw failure }
            eventTimes = times
        }
        let read = ContinuousClock.now
        scores = try served.model.predict(features, rows: request.rowCount)
        let end = ContinuousClock.now
        timing = InferenceTiming(features: nanoseconds(start, read), model: nanoseconds(read, end), total: nanoseconds(start, end))
    }

    func batch(of served: ServedRelease, _ ids: [String], _ request: Table, at: Timestamp, shadow: Bool) -> InferenceBatch {
        InferenceBatch(
            endpoint: served.release.endpoint, release: served.release.number, shadow: shadow, at: at, ids: ids, eventTimes: eventTimes,
            scores: scores,
            features: features, width: served.width, request: request, latencyNanoseconds: timing.total)
    }
}

private func nanoseconds(_ from: ContinuousClock.Instant, _ to: ContinuousClock.Instant) -> Int {
    let (seconds, attoseconds) = (to - from).components
    return Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
}
