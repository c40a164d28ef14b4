import Contracts
import SearchLanguage
import Tracking

func addExperimentRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("experiments/create", .trackingWrite) { request, grant in
        let id = try await tracking.createExperiment(
            name: request.text("name"), artifactLocation: request.optionalText("artifact_location"),
            tags: request.objects("tags").map { try TrackingWire.keyValue($0) }, grant)
        return ["experiment_id": .string(id)]
    }
    routes.get("experiments/get", .trackingRead) { request, grant in
        ["experiment": TrackingWire.experiment(try await tracking.experiment(id: request.text("experiment_id"), grant))]
    }
    routes.get("experiments/get-by-name", .trackingRead) { request, grant in
        ["experiment": TrackingWire.experiment(try await tracking.experiment(name: request.text("experiment_name"), grant))]
    }
    let search: MLflowRoutes.Handler = { request, grant in
        let page = try await tracking.searchExperiments(
            ExperimentSearch(
                filter: request.optionalText("filter"), view: request.word("view_type", ViewType.self) ?? .activeOnly,
                orderBy: request.texts("order_by"),
                pageSize: request.optionalCount("max_results"), pageToken: request.optionalText("page_token")), grant)
        return object([
            ("experiments", list(page.items.map(TrackingWire.experiment))), ("next_page_token", page.nextToken.map(JSON.string)),
        ])
    }
    routes.get("experiments/search", .trackingRead, search)
    routes.post("experiments/search", .trackingRead, search)
    routes.post("experiments/search-datasets", .trackingRead, searchDatasets(tracking))
    routes.post("experiments/delete", .trackingWrite) { request, grant in
        try await tracking.deleteExperiment(id: request.text("experiment_id"), grant)
        return .object([])
    }
    routes.post("experiments/restore", .trackingWrite) { request, grant in
        try await tracking.restoreExperiment(id: request.text("experiment_id"), grant)
        return .object([])
    }
    routes.post("experiments/update", .trackingWrite) { request, grant in
        try await tracking.renameExperiment(id: request.text("experiment_id"), to: request.text("new_name"), grant)
        return .object([])
    }
    routes.post("experiments/set-experiment-tag", .trackingWrite) { request, grant in
        try await tracking.setExperimentTag(id: request.text("experiment_id"), TrackingWire.keyValue(request), grant)
        return .object([])
    }
    routes.post("experiments/delete-experiment-tag", .trackingWrite) { request, grant in
        try await tracking.deleteExperimentTag(id: request.text("experiment_id"), key: request.text("key"), grant)
        return .object([])
    }
}

/// Which datasets the runs of some experiments have read.
func searchDatasets(_ tracking: TrackingService) -> MLflowRoutes.Handler {
    { request, grant in
        let summaries = try await tracking.datasetSummaries(experimentIDs: request.texts("experiment_ids"), grant)
        return object([("dataset_summaries", list(summaries.map(TrackingWire.datasetSummary)))])
    }
}
