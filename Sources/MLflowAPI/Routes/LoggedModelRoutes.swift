import Contracts
import Tracking

func addLoggedModelRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("logged-models", .trackingWrite) { request, grant in
        let model = try await tracking.createLoggedModel(
            experimentID: request.text("experiment_id"), name: request.optionalText("name"), modelType: request.optionalText("model_type"),
            sourceRunID: request.optionalText("source_run_id").flatMap { $0.isEmpty ? nil : $0 }, params: request.objects("params").map { try TrackingWire.keyValue($0) },
            tags: request.objects("tags").map { try TrackingWire.keyValue($0) }, grant)
        return ["model": TrackingWire.loggedModel(model)]
    }
    routes.post("logged-models/search", .trackingRead) { request, grant in
        let order = try request.objects("order_by").map {
            LoggedModelSearch.Order(
                try $0.text("field_name"), ascending: try $0.flag("ascending", default: true),
                datasetName: try TrackingWire.given($0.optionalText("dataset_name")),
                datasetDigest: try TrackingWire.given($0.optionalText("dataset_digest")))
        }
        let datasets = try request.objects("datasets").map {
            LoggedModelSearch.Dataset(
                name: try $0.optionalText("dataset_name") ?? "", digest: try TrackingWire.given($0.optionalText("dataset_digest")))
        }
        let page = try await tracking.searchLoggedModels(
            LoggedModelSearch(
                experimentIDs: request.texts("experiment_ids"), filter: request.optionalText("filter"), datasets: datasets, orderBy: order,
                pageSize: request.optionalCount("max_results"), pageToken: request.optionalText("page_token")), grant)
        return object([("models", list(page.items.map(TrackingWire.loggedModel))), ("next_page_token", page.nextToken.map(JSON.string))])
    }
    routes.get("logged-models/{model_id}", .trackingRead) { request, grant in
        ["model": TrackingWire.loggedModel(try await tracking.loggedModel(id: request.text("model_id"), grant))]
    }
    routes.patch("logged-models/{model_id}", .trackingWrite) { request, grant in
        guard let status = try request.word("status", LoggedModelStatus.self) else {
            throw KeelError.invalid("Missing value for required parameter 'status'.")
        }
        return [
            "model": TrackingWire.loggedModel(try await tracking.finalizeLoggedModel(id: request.text("model_id"), status: status, grant))
        ]
    }
    routes.delete("logged-models/{model_id}", .trackingWrite) { request, grant in
        try await tracking.deleteLoggedModel(id: request.text("model_id"), grant)
        return .object([])
    }
    routes.get("logged-models/{model_id}/artifacts/directories", .trackingRead) { request, grant in
        let path = try request.optionalText("artifact_directory_path") ?? request.optionalText("path")
        let (root, files) = try await tracking.listArtifacts(loggedModelID: request.text("model_id"), path: path, grant)
        return object([("root_uri", .string(root)), ("files", list(files.map(TrackingWire.artifact)))])
    }
    routes.post("logged-models/{model_id}/params", .trackingWrite) { request, grant in
        try await tracking.logLoggedModelParams(
            id: request.text("model_id"), request.objects("params").map { try TrackingWire.keyValue($0) }, grant)
        return .object([])
    }
    routes.patch("logged-models/{model_id}/tags", .trackingWrite) { request, grant in
        _ = try await tracking.setLoggedModelTags(
            id: request.text("model_id"), request.objects("tags").map { try TrackingWire.keyValue($0) }, grant)
        return .object([])
    }
    routes.delete("logged-models/{model_id}/tags/{tag_key}", .trackingWrite) { request, grant in
        try await tracking.deleteLoggedModelTag(id: request.text("model_id"), key: request.text("tag_key"), grant)
        return .object([])
    }
}
