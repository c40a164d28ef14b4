import Contracts
import Registry
import SearchLanguage

func addModelRoutes(_ routes: MLflowRoutes, _ registry: RegistryService) {
    routes.post("registered-models/create", .registryWrite) { request, grant in
        let model = try await registry.createModel(
            name: request.text("name"), description: request.optionalText("description") ?? "",
            tags: request.objects("tags").map { try RegistryWire.tag($0) }, grant)
        return ["registered_model": RegistryWire.model(model)]
    }
    routes.get("registered-models/get", .registryRead) { request, grant in
        ["registered_model": RegistryWire.model(try await registry.model(name: request.text("name"), grant))]
    }
    routes.get("registered-models/search", .registryRead) { request, grant in
        let page = try await registry.searchModels(search(request, .models, atMost: 1000), grant)
        return object([
            ("registered_models", list(page.items.map(RegistryWire.model))), ("next_page_token", page.nextToken.map(JSON.string)),
        ])
    }
    routes.patch("registered-models/update", .registryWrite) { request, grant in
        let model = try await registry.updateModel(
            name: request.text("name"), description: request.optionalText("description") ?? "", grant)
        return ["registered_model": RegistryWire.model(model)]
    }
    routes.post("registered-models/rename", .registryWrite) { request, grant in
        [
            "registered_model": RegistryWire.model(
                try await registry.renameModel(name: request.text("name"), to: request.text("new_name"), grant))
        ]
    }
    routes.delete("registered-models/delete", .registryWrite) { request, grant in
        try await registry.deleteModel(name: request.text("name"), grant)
        return .object([])
    }
    routes.post("registered-models/set-tag", .registryWrite) { request, grant in
        try await registry.setTag(model: request.text("name"), RegistryWire.tag(request), grant)
        return .object([])
    }
    routes.delete("registered-models/delete-tag", .registryWrite) { request, grant in
        try await registry.deleteTag(model: request.text("name"), key: request.text("key"), grant)
        return .object([])
    }
    routes.post("registered-models/alias", .registryWrite) { request, grant in
        try await registry.setAlias(
            model: request.text("name"), alias: request.text("alias"), version: RegistryWire.versionNumber(request), grant)
        return .object([])
    }
    routes.delete("registered-models/alias", .registryWrite) { request, grant in
        try await registry.deleteAlias(model: request.text("name"), alias: request.text("alias"), grant)
        return .object([])
    }
    routes.get("registered-models/alias", .registryRead) { request, grant in
        [
            "model_version": RegistryWire.version(
                try await registry.version(model: request.text("name"), alias: request.text("alias"), grant))
        ]
    }
    let latest: MLflowRoutes.Handler = { request, grant in
        let stages = try request.texts("stages").map { try RegistryWire.stage($0) }
        let versions = try await registry.latestVersions(model: request.text("name"), stages: stages, grant)
        return object([("model_versions", list(versions.map(RegistryWire.version)))])
    }
    routes.get("registered-models/get-latest-versions", .registryRead, latest)
    routes.post("registered-models/get-latest-versions", .registryRead, latest)
}

func addVersionRoutes(_ routes: MLflowRoutes, _ registry: RegistryService) {
    routes.post("model-versions/create", .registryWrite) { request, grant in
        let version = try await registry.createVersion(
            model: request.text("name"), source: request.text("source"), runID: request.optionalText("run_id"),
            tags: request.objects("tags").map { try RegistryWire.tag($0) }, description: request.optionalText("description") ?? "",
            runLink: request.optionalText("run_link"), modelID: request.optionalText("model_id"), grant)
        return ["model_version": RegistryWire.version(version)]
    }
    routes.get("model-versions/get", .registryRead) { request, grant in
        [
            "model_version": RegistryWire.version(
                try await registry.version(model: request.text("name"), version: RegistryWire.versionNumber(request), grant))
        ]
    }
    routes.get("model-versions/get-download-uri", .registryRead) { request, grant in
        let version = try await registry.version(model: request.text("name"), version: RegistryWire.versionNumber(request), grant)
        return ["artifact_uri": .string(version.storageLocation)]
    }
    routes.get("model-versions/search", .registryRead) { request, grant in
        let page = try await registry.searchVersions(search(request, .versions, atMost: 200_000), grant)
        return object([
            ("model_versions", list(page.items.map(RegistryWire.listed))), ("next_page_token", page.nextToken.map(JSON.string)),
        ])
    }
    routes.patch("model-versions/update", .registryWrite) { request, grant in
        let version = try await registry.updateVersion(
            model: request.text("name"), version: RegistryWire.versionNumber(request),
            description: request.optionalText("description") ?? "", grant)
        return ["model_version": RegistryWire.version(version)]
    }
    routes.delete("model-versions/delete", .registryWrite) { request, grant in
        try await registry.deleteVersion(model: request.text("name"), version: RegistryWire.versionNumber(request), grant)
        return .object([])
    }
    routes.post("model-versions/transition-stage", .registryWrite) { request, grant in
        let version = try await registry.setStage(
            model: request.text("name"), version: RegistryWire.versionNumber(request), RegistryWire.stage(request.text("stage")),
            archivingOthers: request.flag("archive_existing_versions", default: false), grant)
        return ["model_version": RegistryWire.version(version)]
    }
    routes.post("model-versions/set-tag", .registryWrite) { request, grant in
        try await registry.setTag(
            model: request.text("name"), version: RegistryWire.versionNumber(request), RegistryWire.tag(request), grant)
        return .object([])
    }
    routes.delete("model-versions/delete-tag", .registryWrite) { request, grant in
        try await registry.deleteTag(
            model: request.text("name"), version: RegistryWire.versionNumber(request), key: request.text("key"), grant)
        return .object([])
    }
}

private func search(_ request: MLflowRequest, _ grammar: SearchGrammar, atMost limit: Int) throws -> RegistrySearch {
    try RegistrySearch(
        grammar, filter: try request.optionalText("filter"), orderBy: try request.texts("order_by"),
        pageSize: try request.optionalCount("max_results", atMost: limit),
        pageToken: try request.optionalText("page_token"))
}
