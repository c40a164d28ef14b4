import Contracts
import Tracking

private let runsMax = 100
private let sampleMax = 2500

/// Reading the histories of metrics.
func addMetricRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.get("metrics/get-history", .trackingRead) { request, grant in
        let page = try await tracking.metricHistory(
            runID: request.runID(), key: request.text("metric_key"), pageSize: request.optionalCount("max_results"),
            pageToken: request.optionalText("page_token"), grant)
        return object([("metrics", list(page.items.map(TrackingWire.metric))), ("next_page_token", page.nextToken.map(JSON.string))])
    }
    routes.get("metrics/get-history-bulk", .trackingRead) { request, grant in
        let runs = try request.texts("run_id")
        guard !runs.isEmpty else { throw KeelError.invalid("GetMetricHistoryBulk request must specify at least one run_id.") }
        guard runs.count <= runsMax else {
            throw KeelError.invalid(
                "GetMetricHistoryBulk request cannot specify more than \(runsMax) run_ids. Received \(runs.count) run_ids.")
        }
        guard let key = try request.optionalText("metric_key") else {
            throw KeelError.invalid("GetMetricHistoryBulk request must specify a metric_key.")
        }
        let limit = try request.optionalCount("max_results") ?? Int.max
        let found = try await tracking.metricHistories(runIDs: runs, key: key, limit: max(0, limit), grant)
        return ["metrics": .array(found.map(measured))]
    }
    routes.get("metrics/get-history-bulk-interval", .trackingRead) { request, grant in
        let runs = try request.texts("run_ids")
        guard !runs.isEmpty else { throw KeelError.invalid("Missing value for required parameter 'run_ids'. \(seeDocs)") }
        guard runs.count <= runsMax else {
            throw KeelError.invalid(
                "GetMetricHistoryBulkInterval request must specify at most \(runsMax) run_ids. Received \(runs.count) run_ids. \(seeDocs)")
        }
        let size = try request.optionalCount("max_results") ?? sampleMax
        guard (1...sampleMax).contains(size) else { throw KeelError.invalid("max_results must be between 1 and \(sampleMax). \(seeDocs)") }
        let found = try await tracking.metricSamples(
            runIDs: runs, key: request.text("metric_key"), steps: try steps(request), size: size, grant)
        return object([("metrics", list(found.map(measured)))])
    }
}

private let seeDocs = "See the API docs for more information about request parameters."

private func steps(_ request: MLflowRequest) throws(KeelError) -> ClosedRange<Int64>? {
    let (start, end) = (try request.optionalInt("start_step"), try request.optionalInt("end_step"))
    guard start != nil || end != nil else { return nil }
    guard let start, let end else { throw .invalid("If either start step or end step are specified, both must be specified.") }
    guard start <= end else {
        throw .invalid("end_step must be greater than start_step. Found start_step=\(start) and end_step=\(end).")
    }
    return start...end
}

private func measured(_ run: String, _ metric: Metric) -> JSON {
    var json = TrackingWire.metric(metric)
    json["run_id"] = .string(run)
    return json
}
