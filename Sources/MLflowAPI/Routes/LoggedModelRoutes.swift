import Contracts
import SearchLanguage
import Tracking

func addLoggedModelRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("logged-models", .trackingWrite) { request, grant in
        let model = try await tracking.createLoggedModel(
            experimentID: request.text("experiment_id"), name: request.optionalText("name"), modelType: request.optionalText("model_type"),
            sourceRunID: request.optionalText("source_run_id").flatMap { $0.isEmpty ? nil : $0 },
            params: request.objects("params").map { try TrackingWire.keyValue($0) },
            tags: request.objects("tags").map { try TrackingWire.keyValue($0) }, grant)
        return ["model": TrackingWire.loggedModel(model)]
    }
    routes.post("logged-models/search", .trackingRead) { request, grant in
        let page = try await tracking.searchLoggedModels(
            LoggedModelSearch(
                experimentIDs: request.requiredTexts("experiment_ids"), filter: request.optionalText("filter"),
                datasets: request.objects("datasets").map { try TrackingWire.searchedDataset($0, isRequired: true) }.compactMap { $0 },
                orderBy: request.objects("order_by").map { try TrackingWire.order($0) },
                pageSize: request.optionalCount("max_results").flatMap { $0 == 0 ? nil : $0 }, pageToken: request.optionalText("page_token")
            ), grant)
        return object([("models", list(page.items.map(TrackingWire.loggedModel))), ("next_page_token", page.nextToken.map(JSON.string))])
    }
    routes.get("logged-models/{model_id}", .trackingRead) { request, grant in
        ["model": TrackingWire.loggedModel(try await tracking.loggedModel(id: request.text("model_id"), grant))]
    }
    routes.patch("logged-models/{model_id}", .trackingWrite) { request, grant in
        let model = try await tracking.finalizeLoggedModel(
            id: request.text("model_id"), status: request.requiredWord("status", LoggedModelStatus.self), grant)
        return ["model": TrackingWire.loggedModel(model)]
    }
    routes.delete("logged-models/{model_id}", .trackingWrite) { request, grant in
        try await tracking.deleteLoggedModel(id: request.text("model_id"), grant)
        return .object([])
    }
    routes.get("logged-models/{model_id}/artifacts/directories", .trackingRead) { request, grant in
        let path = try ArtifactWire.path(request.optionalText("artifact_directory_path") ?? request.optionalText("path") ?? "")
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
