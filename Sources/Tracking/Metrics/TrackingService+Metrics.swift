import Contracts
import Storage

/// The shape of a metric's history.
public struct MetricOutline: Sendable {
    /// How many points were logged.
    public let count: Int
    /// By step, time and value.
    public let points: [Metric]
}

extension TrackingService {
    /// Every value of one metric, by time, step and value.
    public func metricHistory(
        runID: String, key: String, pageSize: Int? = nil, pageToken: String? = nil, _ grant: Grant
    ) async throws -> Page<Metric> {
        try grant.require(.trackingRead)
        if let pageSize, pageSize <= 0 {
            throw KeelError.invalid("Invalid value \(pageSize) for parameter 'max_results' supplied. It must be a positive integer.")
        }
        let limit = min(pageSize ?? TrackingLimits.historyPerPageMax, TrackingLimits.historyPerPageMax)
        return try await database.read(in: grant.workspace) { db in
            _ = try RunStore.find(db, id: runID)
            return try MetricStore.history(db, run: runID, key: key, limit: limit, after: pageToken)
        }
    }

    /// The beginning of one metric's histories in several runs, run by run in the order of their ids; runs that are not there have none.
    public func metricHistories(runIDs: [String], key: String, limit: Int, _ grant: Grant) async throws -> [(run: String, metric: Metric)] {
        try grant.require(.trackingRead)
        let limit = min(limit, TrackingLimits.historyPerPageMax)
        return try await database.read(in: grant.workspace) { db in
            var out: [(run: String, metric: Metric)] = []
            let own = try RunStore.ids(db, among: Array(Set(runIDs)))
            for id in own.sorted() where out.count < limit {
                out += try MetricStore.history(db, run: id, key: key, limit: limit - out.count).items.map { (id, $0) }
            }
            return out
        }
    }

    /// For each run at most `size` points of one metric, evenly chosen among all of them or those of `steps`, the last always among them.
    public func metricSamples(
        runIDs: [String], key: String, steps: ClosedRange<Int64>? = nil, size: Int, _ grant: Grant
    ) async throws -> [(run: String, metric: Metric)] {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { db in
            for id in runIDs { _ = try RunStore.find(db, id: id) }
            return try runIDs.flatMap { id -> [(run: String, metric: Metric)] in
                guard let series = try MetricStore.series(db, run: id, key: key) else { return [] }
                return try MetricSampling(db, series: series, steps: steps).even(size).map { (id, $0.metric(key)) }
            }
        }
    }

    /// At most about `size` points that draw the same chart as all of them: the lowest and the highest of each part, the first and the last.
    /// - Throws: `notFound` when nothing was logged under `key`.
    public func metricOutline(runID: String, key: String, size: Int, _ grant: Grant) async throws -> MetricOutline {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { db in
            _ = try RunStore.find(db, id: runID)
            guard let series = try MetricStore.series(db, run: runID, key: key) else {
                throw KeelError.notFound("the run \(runID) has no metric '\(key.prefix(250))'")
            }
            let sampling = try MetricSampling(db, series: series)
            return MetricOutline(count: sampling.count, points: try sampling.outline(size).map { $0.metric(key) })
        }
    }
}
