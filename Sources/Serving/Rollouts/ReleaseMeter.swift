import Atomics
import Contracts

/// Counts what one release did since this process loaded it. Written on the request path with relaxed atomics.
final class ReleaseMeter: Sendable {
    let requests = ManagedAtomic<Int>(0)
    let rows = ManagedAtomic<Int>(0)
    let shadowRows = ManagedAtomic<Int>(0)
    /// Rows that the release could not score though the other release could, or that failed for no fault of the request.
    let failedRows = ManagedAtomic<Int>(0)
    /// Times that a pooled model was run, for one request or several.
    let pooledRuns = ManagedAtomic<Int>(0)
    /// Requests that the release was chosen for and did not answer, and how long they took.
    let failedRequests = ManagedAtomic<Int>(0)
    let failedNanoseconds = ManagedAtomic<Int>(0)
    /// When it last answered, in µs since 1970; 0 when it never did.
    let lastAnswer = ManagedAtomic<Int64>(0)
    /// How long answers and scores in shadow took to score.
    let answered = LatencyHistogram()
    let shadowed = LatencyHistogram()
    /// Of answered requests: the stages and the whole.
    let decode = DurationHistogram()
    let features = DurationHistogram()
    let queue = DurationHistogram()
    let model = DurationHistogram()
    let encode = DurationHistogram()
    let logging = DurationHistogram()
    let whole = DurationHistogram()
    private let errors: [ManagedAtomic<Int>] = KeelError.Code.allCases.map { _ in ManagedAtomic(0) }
    private static let positions = Dictionary(uniqueKeysWithValues: KeelError.Code.allCases.enumerated().map { ($1, $0) })

    func count(_ code: KeelError.Code) {
        if let i = ReleaseMeter.positions[code] { errors[i].wrappingIncrement(ordering: .relaxed) }
    }

    func addFailure(nanoseconds: Int) {
        failedRequests.wrappingIncrement(ordering: .relaxed)
        failedNanoseconds.wrappingIncrement(by: nanoseconds, ordering: .relaxed)
    }

    /// Counts a request that was answered.
    func add(_ timing: InferenceTiming, rows count: Int, at now: Timestamp) {
        requests.wrappingIncrement(ordering: .relaxed)
        rows.wrappingIncrement(by: count, ordering: .relaxed)
        lastAnswer.store(now.microseconds, ordering: .relaxed)
        answered.add(nanoseconds: timing.scoring)
        decode.add(nanoseconds: timing.decode)
        features.add(nanoseconds: timing.features)
        if let waited = timing.queue { queue.add(nanoseconds: waited) }
        model.add(nanoseconds: timing.model)
        encode.add(nanoseconds: timing.encode)
        logging.add(nanoseconds: timing.log)
        whole.add(nanoseconds: timing.whole)
    }

    /// Counts rows that were scored for comparison.
    func addShadow(_ timing: InferenceTiming, rows count: Int) {
        shadowRows.wrappingIncrement(by: count, ordering: .relaxed)
        shadowed.add(nanoseconds: timing.scoring)
    }

    func histogram(of stage: RequestStage) -> DurationHistogram {
        switch stage {
        case .decode: decode
        case .features: features
        case .queue: queue
        case .model: model
        case .encode: encode
        case .log: logging
        }
    }

    /// Failures of all codes together.
    var failures: Int { errors.reduce(0) { $0 + $1.load(ordering: .relaxed) } }

    var errorCounts: [String: Int] {
        var out: [String: Int] = [:]
        for (code, counter) in zip(KeelError.Code.allCases, errors) {
            let count = counter.load(ordering: .relaxed)
            if count > 0 { out[code.rawValue] = count }
        }
        return out
    }

    /// Rows scored for callers and in shadow, and rows failed.
    var scoredRows: Int { rows.load(ordering: .relaxed) + shadowRows.load(ordering: .relaxed) }

    /// The 99th percentile over answers and shadow scores in seconds.
    var p99: Double? { LatencyHistogram.quantile(0.99, of: zip(answered.counts, shadowed.counts).map { $0 + $1 }) }
}

/// The counters of one release of an endpoint, for `/metrics` and `keel get endpoints`.
public struct ReleaseStatus: Sendable, Hashable {
    public let release: Int
    public let model: String
    public let modelVersion: String
    /// The share of requests it answers.
    public let share: Double
    public let requests: Int
    public let rows: Int
    public let shadowRows: Int
    /// By error code.
    public let errors: [String: Int]
    /// How long answered requests took, and each of their stages.
    public let durations: DurationCounts
    public let stages: [RequestStage: DurationCounts]
    public let totals: ReleaseTotals
    /// Of several models that answer one after another, how long each took; empty for one.
    public let parts: [PartTiming]
    /// Counts of answered requests by how long scoring took; `bucketSeconds[i]` is the upper bound of `latencyCounts[i]`.
    public let latencyCounts: [Int]

    /// Seconds; nil before the first request.
    public var p50: Double? { LatencyHistogram.quantile(0.5, of: latencyCounts) }
    public var p99: Double? { LatencyHistogram.quantile(0.99, of: latencyCounts) }
    public static let bucketSeconds: [Double] = (0..<192).map(LatencyHistogram.seconds(upTo:))

    init(_ served: ServedRelease, share: Double) {
        let meter = served.meter
        release = served.release.number
        model = served.release.model
        modelVersion = served.release.modelVersion
        self.share = share
        requests = meter.requests.load(ordering: .relaxed)
        rows = meter.rows.load(ordering: .relaxed)
        shadowRows = meter.shadowRows.load(ordering: .relaxed)
        errors = meter.errorCounts
        durations = meter.whole.snapshot
        stages = Dictionary(uniqueKeysWithValues: RequestStage.allCases.map { ($0, meter.histogram(of: $0).snapshot) })
        totals = ReleaseTotals(meter, isPooled: served.isPooled)
        parts = served.model.partTimings
        latencyCounts = meter.answered.counts
    }
}

/// One endpoint as it serves now.
public struct EndpointStatus: Sendable, Hashable {
    public let ref: ResourceRef
    public let stable: ReleaseStatus?
    public let candidate: ReleaseStatus?
    /// `steady`, `shadow` or `canary`; `starting` while the releases are loaded that served before.
    public let phase: String
    /// Requests that were answered with an error, by its code, whether a release was reached or not.
    public let refused: [String: Int]
    public let inFlight: Int

    init(_ route: EndpointRoute) {
        ref = route.spec.ref
        stable = route.stable.map { ReleaseStatus($0, share: 1 - route.share) }
        candidate = route.candidate.map { ReleaseStatus($0, share: route.share) }
        phase = route.isStarting ? "starting" : route.candidate == nil ? "steady" : route.share == 0 ? "shadow" : "canary"
        refused = route.load.refusals.errorCounts
        inFlight = route.load.inFlight.load(ordering: .relaxed)
    }
}
