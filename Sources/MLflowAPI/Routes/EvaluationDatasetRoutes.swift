import Contracts
import SearchLanguage
import Tracking

/// Evaluation datasets. MLflow's messages carry tags and records as JSON inside texts.
func addEvaluationDatasetRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("datasets/create", .trackingWrite) { request, grant in
        let dataset = try await tracking.createEvaluationDataset(
            name: request.text("name"), experimentIDs: request.texts("experiment_ids"),
            tags: EvaluationWire.tags(request, isRequired: false), grant)
        return ["dataset": EvaluationWire.dataset(dataset, withExperiments: true)]
    }
    let search: MLflowRoutes.Handler = { request, grant in
        let page = try await tracking.searchEvaluationDatasets(
            EvaluationDatasetSearch(
                experimentIDs: request.texts("experiment_ids"), filter: request.optionalText("filter_string"),
                orderBy: request.texts("order_by"), pageSize: EvaluationWire.pageSize(request),
                pageToken: request.optionalText("page_token")),
            grant)
        return object([
            ("datasets", list(page.items.map { EvaluationWire.dataset($0) })), ("next_page_token", page.nextToken.map(JSON.string)),
        ])
    }
    routes.get("datasets/search", .trackingRead, search)
    routes.post("datasets/search", .trackingRead, search)
    routes.get("datasets/{dataset_id}", .trackingRead) { request, grant in
        ["dataset": EvaluationWire.dataset(try await tracking.evaluationDataset(id: request.text("dataset_id"), grant))]
    }
    routes.delete("datasets/{dataset_id}", .trackingWrite) { request, grant in
        try await tracking.deleteEvaluationDataset(id: request.text("dataset_id"), grant)
        return .object([])
    }
    routes.patch("datasets/{dataset_id}/tags", .trackingWrite) { request, grant in
        try await tracking.setEvaluationDatasetTags(id: request.text("dataset_id"), EvaluationWire.tags(request, isRequired: true), grant)
        return .object([])
    }
    routes.delete("datasets/{dataset_id}/tags/{key}", .trackingWrite) { request, grant in
        try await tracking.deleteEvaluationDatasetTag(id: request.text("dataset_id"), key: request.text("key"), grant)
        return .object([])
    }
    routes.get("datasets/{dataset_id}/experiment-ids", .trackingRead) { request, grant in
        let dataset = try await tracking.evaluationDataset(id: request.text("dataset_id"), grant)
        return object([("experiment_ids", list(dataset.experimentIDs.map(JSON.string)))])
    }
    routes.post("datasets/{dataset_id}/add-experiments", .trackingWrite) { request, grant in
        let dataset = try await tracking.addEvaluationDataset(
            id: request.text("dataset_id"), toExperiments: request.texts("experiment_ids"), grant)
        return ["dataset": EvaluationWire.dataset(dataset)]
    }
    routes.post("datasets/{dataset_id}/remove-experiments", .trackingWrite) { request, grant in
        let dataset = try await tracking.removeEvaluationDataset(
            id: request.text("dataset_id"), fromExperiments: request.texts("experiment_ids"), grant)
        return ["dataset": EvaluationWire.dataset(dataset)]
    }
    addEvaluationRecordRoutes(routes, tracking)
}

private func addEvaluationRecordRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.get("datasets/{dataset_id}/records", .trackingRead) { request, grant in
        let page = try await tracking.evaluationRecords(
            datasetID: request.text("dataset_id"), pageSize: EvaluationWire.pageSize(request),
            pageToken: request.optionalText("page_token"), grant)
        return object([
            ("records", .string(JSON.array(page.items.map(EvaluationWire.record)).text)),
            ("next_page_token", page.nextToken.map(JSON.string)),
        ])
    }
    routes.post("datasets/{dataset_id}/records", .trackingWrite) { request, grant in
        let counts = try await tracking.upsertEvaluationRecords(
            datasetID: request.text("dataset_id"), EvaluationWire.records(request), grant)
        return ["inserted_count": .int(Int64(counts.inserted)), "updated_count": .int(Int64(counts.updated))]
    }
    routes.delete("datasets/{dataset_id}/records", .trackingWrite) { request, grant in
        let deleted = try await tracking.deleteEvaluationRecords(
            datasetID: request.text("dataset_id"), ids: request.texts("dataset_record_ids"), grant)
        return ["deleted_count": .int(Int64(deleted))]
    }
}
