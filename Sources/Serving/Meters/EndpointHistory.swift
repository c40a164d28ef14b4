import Contracts
import Synchronization

/// What each release of each endpoint did minute by minute: requests, failures, latency by stage, and how its scores were spread.
///
/// The request path does nothing for it. `run` compares the counters that releases keep with what they were at the beginning of the minute, and the
/// writer of the log tells of scores. Kept in memory alone, so it begins anew with the process: at most a day, and at most `minutesMax` minutes of all
/// endpoints together, the oldest of which go first. A release that serves for less than `look` and goes again may be missed.
public final class EndpointHistory: PredictionObserver {
    /// How long a minute is kept.
    public static let kept = TimeSpan.days(1)
    /// About 10 MB.
    package static let minutesMax = 65_536
    /// Between looks at which releases serve.
    private static let look = Duration.seconds(5)

    /// Of whom minutes are told: a release, or with nil the requests that were answered with an error.
    private struct Key: Hashable {
        let endpoint: ResourceRef
        let release: Int?
    }

    private struct Source {
        let key: Key
        let meter: ReleaseMeter
        /// What the meter read when the minute began.
        var base: MeterReading
    }

    private struct Series {
        var minutes: [EndpointMinute] = []
        /// The scores of the minute under way.
        var scores = ScoreSample()

        mutating func add(_ records: ArraySlice<PredictionRecord>) {
            for record in records { if let score = record.score, score.isFinite { scores.add(score) } }
        }
    }

    private struct State {
        /// The minute under way, in minutes since 1970; nil before the first look.
        var open: Int64?
        var sources: [ObjectIdentifier: Source] = [:]
        var series: [Key: Series] = [:]
        var observers: [@Sendable ([ResourceRef]) -> Void] = []
    }

    private let runtime: ServingRuntime
    private let minutesMax: Int
    private let state = Mutex(State())

    package init(_ runtime: ServingRuntime, minutesMax: Int) {
        self.runtime = runtime
        self.minutesMax = minutesMax
    }

    public convenience init(_ runtime: ServingRuntime) { self.init(runtime, minutesMax: EndpointHistory.minutesMax) }

    /// Looks at the counters until the task is cancelled.
    public func run() async {
        repeat { look(at: runtime.clock.now()) } while (try? await Task.sleep(for: EndpointHistory.look)) != nil
    }

    /// Calls back when a minute has ended, with the endpoints that something happened to in it; never when nothing did. It must return at once.
    public func observe(_ told: @escaping @Sendable ([ResourceRef]) -> Void) { state.withLock { $0.observers.append(told) } }

    // MARK: Queries

    /// The minutes of each release since an instant, oldest first and the one under way last, without their scores. Minutes in which nothing happened are left
    /// out. What has no release counts the requests that were answered with an error, whatever the reason, as its `failures`.
    public func traffic(
        of endpoint: ResourceRef, since: Timestamp, _ grant: Grant
    ) throws(KeelError) -> [(release: Int?, minutes: [EndpointMinute])] {
        try grant.require(.releasesRead, on: endpoint)
        return minutes(of: endpoint, since: since).map { release, minutes in (release: release, minutes: minutes.map(\.withoutScores)) }
    }

    /// How the scores of each release were spread in each minute since an instant, those in shadow too, oldest first.
    public func scores(
        of endpoint: ResourceRef, since: Timestamp, _ grant: Grant
    ) throws(KeelError) -> [(release: Int, minutes: [(start: Timestamp, spread: ScoreSpread)])] {
        try grant.require(.predictionsRead, on: endpoint)
        var out: [(release: Int, minutes: [(start: Timestamp, spread: ScoreSpread)])] = []
        for (release, minutes) in minutes(of: endpoint, since: since) {
            guard let release else { continue }
            var spreads: [(start: Timestamp, spread: ScoreSpread)] = []
            for minute in minutes { if let spread = minute.scores { spreads.append((minute.start, spread)) } }
            if !spreads.isEmpty { out.append((release, spreads)) }
        }
        return out
    }

    private func minutes(of endpoint: ResourceRef, since: Timestamp) -> [(Int?, [EndpointMinute])] {
        let first = EndpointHistory.minute(of: since)
        let kept = state.withLock { state -> [Int?: [EndpointMinute]] in
            let open = state.open ?? 0
            let readings = state.sources.filter { $0.value.key.endpoint == endpoint }.mapValues { MeterReading($0.meter) }
            let current = EndpointHistory.counted(state, open, readings)
            var found: [Int?: [EndpointMinute]] = [:]
            for (key, series) in state.series where key.endpoint == endpoint {
                found[key.release] = series.minutes.filter { $0.number >= first }
            }
            for (key, minute) in current where open >= first { found[key.release, default: []].append(minute) }
            return found
        }
        return kept.filter { !$0.value.isEmpty }.sorted { ($0.key ?? .max) < ($1.key ?? .max) }.map { ($0.key, $0.value) }
    }

    // MARK: Counting

    /// Takes in which releases serve, and ends the minute when its time is over.
    package func look(at now: Timestamp) {
        let minute = EndpointHistory.minute(of: now)
        let meters = runtime.meters()
        let (told, observers) = state.withLock { state -> ([ResourceRef], [@Sendable ([ResourceRef]) -> Void]) in
            var told: [ResourceRef] = []
            // What is new began to count from nothing, in this minute.
            for served in meters where state.sources[ObjectIdentifier(served.meter)] == nil {
                let key = Key(endpoint: served.endpoint, release: served.release)
                state.sources[ObjectIdentifier(served.meter)] = Source(key: key, meter: served.meter, base: MeterReading())
            }
            if let open = state.open, minute != open {
                told = end(open, at: minute, &state)
                let serving = Set(meters.map { ObjectIdentifier($0.meter) })
                state.sources = state.sources.filter { serving.contains($0.key) }
                // A clock that was set back: what it has yet to tell is not there twice.
                if minute < open { for key in state.series.keys { state.series[key]?.minutes.removeAll { $0.number >= minute } } }
            }
            state.open = minute
            return (told, told.isEmpty ? [] : state.observers)
        }
        for observer in observers { observer(told) }
    }

    public func observed(_ predictions: [PredictionRecord]) {
        state.withLock { state in
            // Rows of one release come together.
            var start = 0
            while start < predictions.count {
                let first = predictions[start]
                let end =
                    predictions[start...].firstIndex { $0.release != first.release || $0.endpoint != first.endpoint } ?? predictions.count
                let key = Key(endpoint: first.endpoint, release: first.release)
                state.series[key, default: Series()].add(predictions[start..<end])
                start = end
            }
        }
    }

    public func observed(labels: [LabelledPrediction]) {}

    private static func minute(of time: Timestamp) -> Int64 { floorDivide(time.microseconds, EndpointMinute.microseconds) }

    /// The minute under way as far as it is, by what meters read now, of those to whom something happened.
    private static func counted(_ state: State, _ number: Int64, _ readings: [ObjectIdentifier: MeterReading]) -> [Key: EndpointMinute] {
        var changes: [Key: MeterReading] = [:]
        var endpoints: Set<ResourceRef> = []
        for (id, reading) in readings {
            guard let source = state.sources[id] else { continue }
            endpoints.insert(source.key.endpoint)
            let change = reading - source.base
            if change.isSomething { changes[source.key] = changes[source.key].map { $0 + change } ?? change }
        }
        // The log's writer comes after the answers: it may tell of scores of the minute before.
        for (key, series) in state.series where series.scores.count > 0 && endpoints.contains(key.endpoint) && changes[key] == nil {
            changes[key] = MeterReading()
        }
        var out: [Key: EndpointMinute] = [:]
        for (key, change) in changes { out[key] = EndpointMinute(number, change, state.series[key]?.scores.spread) }
        return out
    }

    /// - Returns: the endpoints that something happened to.
    private func end(_ number: Int64, at now: Int64, _ state: inout State) -> [ResourceRef] {
        let readings = state.sources.mapValues { MeterReading($0.meter) }
        let counted = EndpointHistory.counted(state, number, readings)
        for (key, minute) in counted { state.series[key, default: Series()].minutes.append(minute) }
        for (id, reading) in readings { state.sources[id]?.base = reading }
        let oldest = max(number, now) - EndpointHistory.kept.microseconds / EndpointMinute.microseconds
        for key in state.series.keys {
            state.series[key]?.scores = ScoreSample()
            if let first = state.series[key]?.minutes.first, first.number <= oldest {
                state.series[key]?.minutes.removeAll { $0.number <= oldest }
            }
        }
        var excess = state.series.values.reduce(0) { $0 + $1.minutes.count } - minutesMax
        while excess > 0, let oldest = state.series.values.compactMap({ $0.minutes.first?.number }).min() {
            for key in state.series.keys where state.series[key]?.minutes.first?.number == oldest {
                state.series[key]?.minutes.removeFirst()
                excess -= 1
            }
        }
        state.series = state.series.filter { !$0.value.minutes.isEmpty }
        return Set(counted.keys.map(\.endpoint)).sorted { $0.subject < $1.subject }
    }
}

/// One minute of a release.
public struct EndpointMinute: Sendable {
    static let microseconds: Int64 = 60_000_000

    /// Minutes since 1970.
    let number: Int64
    /// Requests that the release answered, and those that it failed at for no fault of theirs: of a candidate the stable release answers these.
    public let requests: Int
    public let failures: Int
    public let rows: Int
    public let shadowRows: Int
    /// Rows that the release failed to score, in shadow too, for no fault of theirs.
    public let failedRows: Int
    /// Seconds that scoring took, in shadow too; nil when nothing was scored.
    public let p50: Float?
    public let p99: Float?
    /// The mean of each stage of answered requests in seconds, in the order of `RequestStage.allCases`, then of the whole; NaN for a stage that none had.
    private let means: SIMD8<Float>
    public private(set) var scores: ScoreSpread?

    public var start: Timestamp { Timestamp(microseconds: number * EndpointMinute.microseconds) }

    /// The share of rows, those in shadow too, that the release failed to score; nil when there was none.
    public var errorShare: Double? {
        let all = rows + shadowRows + failedRows
        return all > 0 ? Double(failedRows) / Double(all) : nil
    }

    /// Seconds; nil when no request had the stage. Without a stage: the whole request.
    public func mean(_ stage: RequestStage?) -> Double? {
        let i = stage.flatMap { RequestStage.allCases.firstIndex(of: $0) } ?? RequestStage.allCases.count
        return means[i].isNaN ? nil : Double(means[i])
    }

    var withoutScores: EndpointMinute {
        var copy = self
        copy.scores = nil
        return copy
    }

    init(_ number: Int64, _ reading: MeterReading, _ scores: ScoreSpread?) {
        self.number = number
        requests = reading.requests
        failures = reading.failures
        rows = reading.rows
        shadowRows = reading.shadowRows
        failedRows = reading.failedRows
        p50 = LatencyHistogram.quantile(0.5, of: reading.latencies).map { Float($0) }
        p99 = LatencyHistogram.quantile(0.99, of: reading.latencies).map { Float($0) }
        var means = SIMD8<Float>(repeating: .nan)
        for (i, stage) in reading.stages.enumerated() where stage.count > 0 {
            means[i] = Float(Double(stage.nanoseconds) / Double(stage.count) / 1e9)
        }
        self.means = means
        self.scores = scores
    }
}

/// How the scores of a minute were spread: of up to 256 of them, drawn evenly, the values that 5, 25, 50, 75 and 95 % do not exceed.
public struct ScoreSpread: Sendable, Hashable {
    /// All scores of the minute.
    public let count: Int
    public let low: Float
    public let lower: Float
    public let median: Float
    public let upper: Float
    public let high: Float
}

/// A sample of a stream of scores in which each has the same chance to be (Vitter's algorithm R).
struct ScoreSample: Sendable {
    private static let size = 256
    private(set) var count = 0
    private var sample: [Float] = []

    mutating func add(_ score: Float) {
        count += 1
        if sample.count < ScoreSample.size { return sample.append(score) }
        // Which are drawn is the same in every process: nobody gains by knowing it.
        let place = Int(truncatingIfNeeded: mix(UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15) % UInt64(count))
        if place < ScoreSample.size { sample[place] = score }
    }

    var spread: ScoreSpread? {
        guard !sample.isEmpty else { return nil }
        let sorted = sample.sorted()
        func quantile(_ percent: Int) -> Float { sorted[(sorted.count - 1) * percent / 100] }
        return ScoreSpread(
            count: count, low: quantile(5), lower: quantile(25), median: quantile(50), upper: quantile(75), high: quantile(95))
    }
}

/// A meter of an endpoint that serves: of a release, or with nil of the requests that were answered with an error.
struct ServedMeter: Sendable {
    let endpoint: ResourceRef
    let release: Int?
    let meter: ReleaseMeter
}

/// What a release's meter reads at one moment, or what it counted between two.
struct MeterReading: Sendable {
    var requests = 0
    var failures = 0
    var rows = 0
    var shadowRows = 0
    var failedRows = 0
    /// Of each stage in the order of `RequestStage.allCases`, then of the whole.
    var stages = [(count: Int, nanoseconds: Int)](repeating: (0, 0), count: RequestStage.allCases.count + 1)
    /// Of answers and scores in shadow.
    var latencies: [Int] = []

    init() {}

    init(_ meter: ReleaseMeter) {
        requests = meter.requests.load(ordering: .relaxed)
        failures = meter.failures
        rows = meter.rows.load(ordering: .relaxed)
        shadowRows = meter.shadowRows.load(ordering: .relaxed)
        failedRows = meter.failedRows.load(ordering: .relaxed)
        let histograms = RequestStage.allCases.map(meter.histogram(of:)) + [meter.whole]
        stages = histograms.map(\.snapshot).map { (count: $0.count, nanoseconds: $0.nanoseconds) }
        latencies = zip(meter.answered.counts, meter.shadowed.counts).map { $0 + $1 }
    }

    var isSomething: Bool { requests + failures + rows + shadowRows + failedRows > 0 }

    static func - (a: MeterReading, b: MeterReading) -> MeterReading { combined(a, b) { $0 - $1 } }
    static func + (a: MeterReading, b: MeterReading) -> MeterReading { combined(a, b) { $0 + $1 } }

    private static func combined(_ a: MeterReading, _ b: MeterReading, _ combine: (Int, Int) -> Int) -> MeterReading {
        var out = MeterReading()
        out.requests = combine(a.requests, b.requests)
        out.failures = combine(a.failures, b.failures)
        out.rows = combine(a.rows, b.rows)
        out.shadowRows = combine(a.shadowRows, b.shadowRows)
        out.failedRows = combine(a.failedRows, b.failedRows)
        out.stages = zip(a.stages, b.stages).map { a, b in
            (count: combine(a.count, b.count), nanoseconds: combine(a.nanoseconds, b.nanoseconds))
        }
        let size = max(a.latencies.count, b.latencies.count)
        out.latencies = (0..<size).map {
            combine($0 < a.latencies.count ? a.latencies[$0] : 0, $0 < b.latencies.count ? b.latencies[$0] : 0)
        }
        return out
    }
}
