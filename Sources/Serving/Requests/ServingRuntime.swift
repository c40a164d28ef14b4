import Atomics
import Contracts
import Synchronization

/// The answer to an inference request.
public struct InferenceResult: Sendable, Hashable {
    /// One for each row: the caller's, or made here.
    public let ids: [String]
    public let release: Int
    public let model: String
    public let modelVersion: String
    /// What the model was given: the request's columns and the features that were read.
    public let inputs: Table
    /// What the model gave: as many rows as the request has.
    public let outputs: Table
    /// The primary output as a number a row; nil when the model has none.
    public let scores: [Float]?
    /// The event time of each row where the features carry one.
    public let eventTimes: [Timestamp]?
}

/// Answers inference requests: no actor, no database, and no lock but a short one.
///
/// Each request reads one immutable routing table that deployments replace atomically. What takes microseconds is done on the calling thread, which
/// may be an event loop; models that are no trees, many rows and large bodies go to pooled lanes.
public final class ServingRuntime: Sendable {
    private let routing = ManagedAtomic<RoutingTable>(RoutingTable([:]))
    let clock: any Clock
    private let tracer: (any RequestTracer)?
    public let log: PredictionLog
    let shadows: ShadowQueue
    /// Reads large bodies and scores many rows.
    let lane: PooledLane<@Sendable () -> Void>
    /// Jobs that may wait for a thread of the pooled lane.
    private static let waitingMax = 256
    /// Declared endpoints that could not be put in force, and why.
    private let disabled = Mutex<[ResourceRef: KeelError]>([:])

    /// - Parameters:
    ///   - threads: of the pooled lane for large bodies and many rows. Models that are no trees have threads of their own.
    ///   - tracer: takes traces of requests; nil when nobody wants them.
    public init(
        log: PredictionLog, clock: any Clock = SystemClock(), shadowRowsMax: Int = 20_000, threads: Int, tracer: (any RequestTracer)? = nil
    ) {
        self.tracer = tracer
        self.log = log
        self.clock = clock
        shadows = ShadowQueue(log: log, rowsMax: shadowRowsMax)
        lane = PooledLane(threads: threads, waitingMax: ServingRuntime.waitingMax) { for work in $0 { work() } }
    }

    /// Reads a request, scores every row, logs the scores as durably as the endpoint declares, and answers. It never blocks.
    ///
    /// One release answers all rows, chosen by the hash of the first id. While a rollout runs the other release scores the rows too, off the
    /// response path, so that the two are compared on the same requests. When the candidate fails on a request that the stable release can
    /// answer, the stable release answers and the failure counts against the candidate.
    ///
    /// - Parameters:
    ///   - version: the model version that must answer; nil leaves it to the rollout.
    ///   - bodyBytes: the size of what `read` reads; a large body is read off the calling thread.
    ///   - within: how long the caller waits; the endpoint's own deadline holds when it is shorter.
    ///   - parent: what the request says of its trace; asked for only when traces are recorded.
    ///   - read: called once, on the calling thread or one of the pooled lane.
    ///   - answer: called once, on any thread: `notFound`, `failedPrecondition` (no release yet), `payloadTooLarge`, `unavailable`,
    ///     `deadlineExceeded`, or what `read` and the feature plan say of the request.
    public func infer<Answer: Sendable>(
        endpoint: ResourceRef, version: String? = nil, bodyBytes: Int = 0, within: Duration? = nil,
        parent: @autoclosure () -> TraceParent? = nil,
        read: @escaping @Sendable () throws(KeelError) -> InferenceRequest<Answer>,
        answer: @escaping @Sendable (Result<Answer, KeelError>) -> Void
    ) {
        let trace = tracer.flatMap { OpenTrace($0, parent(), endpoint, at: clock.now()) }
        let table = routing.load(ordering: .acquiring)
        guard let route = table.routes[endpoint] else {
            let error = whyNotServing(endpoint)
            trace?.end(.failed(error.code))
            return answer(.failure(error))
        }
        do throws(KeelError) {
            guard let stable = route.stable else { throw whyNotServing(endpoint) }
            let pinned = try version.map { version throws(KeelError) in try route.release(ofVersion: version) } ?? nil
            guard route.load.inFlight.wrappingIncrementThenLoad(ordering: .relaxed) <= route.spec.limits.queue else {
                route.load.inFlight.wrappingDecrement(ordering: .relaxed)
                throw KeelError(.unavailable, "endpoint '\(endpoint.qualifiedName)' is busy", hint: "try again in a second")
            }
            InferenceCall(
                self, route, stable: stable, pinned: pinned, bodyBytes: bodyBytes, within: within, trace: trace, answer: answer
            ).start(read)
        } catch {
            route.load.refusals.count(error.code)
            trace?.end(.failed(error.code))
            answer(.failure(error))
        }
    }

    /// Notes which endpoints of a workspace could not be put in force: requests to them are told why.
    public func setDisabled(_ reasons: [ResourceRef: KeelError], in workspace: WorkspaceID) {
        disabled.withLock { known in known = known.filter { $0.key.workspace != workspace }.merging(reasons) { $1 } }
    }

    /// Notes that one endpoint could not be put in force.
    func disable(_ endpoint: ResourceRef, _ reason: KeelError) { disabled.withLock { $0[endpoint] = reason } }

    /// What a request to an endpoint that does not serve is told: `unavailable` when it is damaged, `failedPrecondition` when nothing was released
    /// to it yet, `notFound` when nobody declared it.
    public func whyNotServing(_ endpoint: ResourceRef) -> KeelError {
        let name = String(endpoint.qualifiedName.prefix(128))
        if let reason = disabled.withLock({ $0[endpoint] }) {
            return KeelError(
                .unavailable, "endpoint '\(name)' is disabled: \(reason.message)", hint: reason.hint ?? "keel get damage")
        }
        let routes = routing.load(ordering: .acquiring).routes
        if routes[endpoint]?.isStarting == true {
            return KeelError(.unavailable, "endpoint '\(name)' is starting: the processes of its model are not ready yet", hint: "try again in a few seconds")
        }
        guard routes[endpoint] == nil else {
            return KeelError(.failedPrecondition, "endpoint '\(name)' has no release yet", hint: "release a model to it first")
        }
        let others = routes.keys.filter { $0.workspace == endpoint.workspace }.map(\.qualifiedName)
        return KeelError.notFound("there is no endpoint '\(name)'", hint: nearest(name, in: others).map { "did you mean '\($0)'?" })
    }

    /// As `infer` with `answer`, for callers that may wait.
    public func infer<Answer: Sendable>(
        endpoint: ResourceRef, version: String? = nil, bodyBytes: Int = 0, parent: @autoclosure () -> TraceParent? = nil,
        read: @escaping @Sendable () throws(KeelError) -> InferenceRequest<Answer>
    ) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            infer(endpoint: endpoint, version: version, bodyBytes: bodyBytes, parent: parent(), read: read) { continuation.resume(with: $0) }
        }
    }

    /// Scores a table.
    public func infer(endpoint: ResourceRef, request: Table, ids: [String]? = nil) async throws -> InferenceResult {
        try await infer(endpoint: endpoint) { InferenceRequest(table: request, ids: ids) { $0 } }
    }

    func check(_ request: Table, _ given: [String]?, _ route: EndpointRoute) throws(KeelError) {
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

    /// Joins labels to their predictions by id, behind everything that was answered before: a prediction still on its way to the log is found.
    ///
    /// Every logged score of the id is labelled, those in shadow too. A label of an id that is not logged is kept and joins when its prediction
    /// is. A label that names an endpoint is of that endpoint's predictions alone. A label posted again replaces the one before. One that its endpoint cannot have (`PredictionLog.setBinaryEndpoints`) is refused alone.
    /// - Throws: `invalidArgument` for a value that is not finite or an id that is empty, `notFound` for an endpoint that is not declared; then none is taken.
    public func label(_ labels: [LabelInput], of endpoint: ResourceRef? = nil, _ grant: Grant) async throws -> LabelCounts {
        if let endpoint, route(endpoint) == nil {
            let reason = whyNotServing(endpoint)
            // A label of an endpoint that is out of force comes for what it answered before.
            if reason.code == .notFound { throw reason }
        }
        await shadows.flush()
        return try await log.label(labels, of: endpoint, grant)
    }

    // MARK: Deployments

    /// Puts one endpoint's route in place of the one there; nil removes it. Called by one deployer at a time.
    func swap(_ endpoint: ResourceRef, to route: EndpointRoute?) {
        var routes = routing.load(ordering: .acquiring).routes
        routes[endpoint] = route
        routing.store(RoutingTable(routes), ordering: .releasing)
    }

    func route(_ endpoint: ResourceRef) -> EndpointRoute? { routing.load(ordering: .acquiring).routes[endpoint] }

    /// The largest request body that an endpoint takes; the default's for an endpoint that is not there.
    public func bodyBytesMax(endpoint: ResourceRef) -> Int { route(endpoint)?.spec.limits.bodyBytes ?? EndpointLimits().bodyBytes }

    /// The largest request body that any endpoint of a workspace takes: the limit while it is not yet read which endpoint a request is for.
    public func bodyBytesMax(in workspace: WorkspaceID) -> Int {
        routing.load(ordering: .acquiring).routes.values.lazy.filter { $0.spec.ref.workspace == workspace }.map(\.spec.limits.bodyBytes).max()
            ?? EndpointLimits().bodyBytes
    }

    /// Request columns that the endpoint's stable release takes, for an API that must know types; nil when it has none.
    public func requestFields(endpoint: ResourceRef) -> [Field]? { route(endpoint)?.stable?.plan.requestFields }

    /// The request columns that a row may leave out, of the endpoint's stable release.
    public func optionalColumns(endpoint: ResourceRef) -> [String] {
        route(endpoint)?.stable?.model.bundle.signature.inputs.filter(\.isOptional).map(\.name) ?? []
    }

    /// What the endpoint's stable release gives; empty when it has none.
    public func outputs(endpoint: ResourceRef) -> [Signature.Output] { route(endpoint)?.stable?.model.outputs ?? [] }

    /// The reference profile, signature and metrics of a release that serves now.
    public func bundle(endpoint: ResourceRef, release: Int) -> ModelBundle? {
        let route = route(endpoint)
        return [route?.stable, route?.candidate].compactMap { $0 }.first { $0.release.number == release }?.model.bundle
    }

    /// The releases that serve an endpoint now: the stable one, then the candidate.
    public func serving(_ endpoint: ResourceRef) -> [(release: Release, bundle: ModelBundle)] {
        let route = route(endpoint)
        return [route?.stable, route?.candidate].compactMap { $0 }.map { ($0.release, $0.model.bundle) }
    }

    /// The counters of every endpoint in every workspace, by workspace and name.
    public func status() -> [EndpointStatus] {
        routing.load(ordering: .acquiring).routes.values.map(EndpointStatus.init).sorted { ($0.ref.workspace.name, $0.ref.qualifiedName) < ($1.ref.workspace.name, $1.ref.qualifiedName) }
    }

    /// The meters of what serves now.
    func meters() -> [ServedMeter] {
        var meters: [ServedMeter] = []
        for (endpoint, route) in routing.load(ordering: .acquiring).routes {
            meters.append(ServedMeter(endpoint: endpoint, release: nil, meter: route.load.refusals))
            for served in [route.stable, route.candidate].compactMap({ $0 }) {
                meters.append(ServedMeter(endpoint: endpoint, release: served.release.number, meter: served.meter))
            }
        }
        return meters
    }

    /// The counters of one endpoint; nil when there is none.
    public func status(endpoint: ResourceRef) -> EndpointStatus? { route(endpoint).map(EndpointStatus.init) }

    /// What one endpoint accepts; nil when there is none.
    public func limits(endpoint: ResourceRef) -> EndpointLimits? { route(endpoint)?.spec.limits }

    /// Rows that were answered but not scored by the other release of a rollout, because it could not keep up.
    public var shadowRowsDropped: Int { shadows.dropped.load(ordering: .relaxed) }

    /// The model versions that an endpoint serves now: the stable one, then the candidate's.
    public func versions(endpoint: ResourceRef) -> [String] {
        guard let route = route(endpoint), let stable = route.stable?.release.modelVersion else { return [] }
        guard let candidate = route.candidate?.release.modelVersion, candidate != stable else { return [stable] }
        return [stable, candidate]
    }

    /// Waits until every shadow score and every logged prediction so far is in the table.
    /// - Throws: `unavailable` when the table cannot be written now.
    public func flush() async throws {
        await shadows.flush()
        try await log.flush()
    }
}
