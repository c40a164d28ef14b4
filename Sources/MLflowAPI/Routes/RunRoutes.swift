import Contracts
import NIOCore
import SearchLanguage
import Tracking

private let batchBytesMax = 1_000_000

func addRunRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    addRunLifeRoutes(routes, tracking)
    addLoggingRoutes(routes, tracking)
    addMetricRoutes(routes, tracking)
    routes.postBytes("runs/search", .trackingRead) { request, grant in
        let page = try await tracking.searchRuns(
            RunSearch(
                experimentIDs: request.texts("experiment_ids"), filter: request.optionalText("filter"),
                view: request.word("run_view_type", ViewType.self) ?? .activeOnly, orderBy: request.texts("order_by"),
                pageSize: request.optionalCount("max_results", atMost: 50_000), pageToken: request.optionalText("page_token")), grant)
        return RunWriter.page(page.items, nextToken: page.nextToken)
    }
    routes.get("artifacts/list", .trackingRead) { request, grant in
        let (root, files) = try await tracking.listArtifacts(
            runID: request.runID(), path: ArtifactWire.path(request.optionalText("path") ?? ""), grant)
        return object([("root_uri", .string(root)), ("files", list(files.map(TrackingWire.artifact)))])
    }
}

private func addRunLifeRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("runs/create", .trackingWrite) { request, grant in
        let run = try await tracking.createRun(
            experimentID: request.optionalText("experiment_id") ?? "0", name: request.optionalText("run_name"),
            userID: request.optionalText("user_id"),
            startedAt: request.optionalTime("start_time"), tags: request.objects("tags").map { try TrackingWire.keyValue($0) }, grant)
        return ["run": TrackingWire.run(run, isNew: true)]
    }
    routes.get("runs/get", .trackingRead) { request, grant in ["run": TrackingWire.run(try await tracking.run(id: request.runID(), grant))]
    }
    routes.post("runs/update", .trackingWrite) { request, grant in
        let run = try await tracking.updateRun(
            id: request.runID(), status: request.word("status", RunStatus.self), endedAt: request.optionalTime("end_time"),
            name: request.optionalText("run_name"), grant)
        return ["run_info": TrackingWire.info(run)]
    }
    routes.post("runs/delete", .trackingWrite) { request, grant in
        try await tracking.deleteRun(id: request.runID(), grant)
        return .object([])
    }
    routes.post("runs/restore", .trackingWrite) { request, grant in
        try await tracking.restoreRun(id: request.runID(), grant)
        return .object([])
    }
}

private func addLoggingRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post(bytes: "runs/log-metric", .trackingWrite) { body, grant in
        let logged = try body.withBytes { LogRequest(metric: $0) } ?? LogRequest(metric: MLflowRequest(body: Array(body.readableBytesView)))
        for metric in logged.metrics { try await tracking.logMetric(runID: logged.runID, metric, grant) }
        return .object([])
    }
    routes.post("runs/log-parameter", .trackingWrite) { request, grant in
        try await tracking.logParam(runID: request.runID(), TrackingWire.keyValue(request), grant)
        return .object([])
    }
    routes.post("runs/set-tag", .trackingWrite) { request, grant in
        try await tracking.setTag(runID: request.runID(), TrackingWire.keyValue(request), grant)
        return .object([])
    }
    routes.post("runs/delete-tag", .trackingWrite) { request, grant in
        try await tracking.deleteTag(runID: request.runID(), key: request.text("key"), grant)
        return .object([])
    }
    routes.post(bytes: "runs/log-batch", .trackingWrite) { body, grant in
        guard body.readableBytes <= batchBytesMax else {
            throw KeelError.invalid(
                "Batched logging API requests must be at most \(batchBytesMax) bytes, got a request of size \(body.readableBytes).")
        }
        let logged = try body.withBytes { LogRequest(batch: $0) } ?? LogRequest(batch: MLflowRequest(body: Array(body.readableBytesView)))
        try await tracking.logBatch(runID: logged.runID, metrics: logged.metrics, params: logged.params, tags: logged.tags, grant)
        return .object([])
    }
    routes.post("runs/log-model", .trackingWrite) { request, grant in
        try await tracking.recordModel(runID: request.runID(), json: request.text("model_json"), grant)
        return .object([])
    }
    routes.post("runs/log-inputs", .trackingWrite) { request, grant in
        try await tracking.logInputs(
            runID: request.runID(), datasets: request.objects("datasets").map { try TrackingWire.dataset($0) },
            models: request.objects("models").map { try TrackingWire.link($0) }, grant)
        return .object([])
    }
    routes.post("runs/outputs", .trackingWrite) { request, grant in
        try await tracking.logOutputs(
            runID: request.runID(), models: request.requiredObjects("models").map { try TrackingWire.link($0) }, grant)
        return .object([])
    }
}

extension ByteBuffer {
    /// Calls `body` with the readable bytes where they lie.
    fileprivate func withBytes<T>(_ body: (UnsafeBufferPointer<UInt8>) throws -> T) rethrows -> T {
        try withUnsafeReadableBytes { raw in try raw.withMemoryRebound(to: UInt8.self, body) }
    }
}
