import Contracts
import Hummingbird
import Registry
import WebAPI

/// What changes registered models: each route is one verb of the registry.
func addModelChangeRoutes(to routes: APIRoutes, _ registry: RegistryService) {
    routes.post("/models", .registryWrite, on: .each) { request, _, grant in
        let reader = try FieldReader(try await request.json(), path: "")
        let (name, description, tags) = (try reader.string("name"), try reader.optionalString("description"), try ModelWire.tags(reader))
        try reader.finish()
        let model = try await registry.createModel(name: name, description: description ?? "", tags: tags, grant)
        return Response(TrackingJSON.model(model), status: .created)
    }
    routes.patch("/models/:name", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let description = try await request.field("description")
        return Response(TrackingJSON.model(try await registry.updateModel(name: name, description: description, grant)))
    }
    routes.post("/models/:name/rename", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let newName = try await request.field("name")
        return Response(TrackingJSON.model(try await registry.renameModel(name: name, to: newName, grant)))
    }
    routes.delete("/models/:name", .registryWrite, on: .model) { _, context, grant in
        let name = try context.modelName()
        try await registry.deleteModel(name: name, grant)
        return Response([:])
    }
    routes.put("/models/:name/tags/:key", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        try await registry.setTag(model: name, try await request.tag(context), grant)
        return Response([:])
    }
    routes.delete("/models/:name/tags/:key", .registryWrite, on: .model) { _, context, grant in
        let name = try context.modelName()
        try await registry.deleteTag(model: name, key: try context.plain("key"), grant)
        return Response([:])
    }
    routes.put("/models/:name/aliases/:alias", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let body = try await request.json()
        return try await registry.move(try context.plain("alias"), of: name, body, grant)
    }
    routes.delete("/models/:name/aliases/:alias", .registryWrite, on: .model) { _, context, grant in
        let name = try context.modelName()
        try await registry.deleteAlias(model: name, alias: try context.plain("alias"), grant)
        return Response([:])
    }
}

/// What changes versions of models.
func addVersionChangeRoutes(to routes: APIRoutes, _ registry: RegistryService) {
    routes.post("/models/:name/versions", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let new = try NewVersion(try await request.json())
        let version = try await registry.createVersion(
            model: name, source: new.source, runID: new.run, tags: new.tags, description: new.description ?? "", runLink: new.runLink,
            modelID: new.loggedModel, creatingModel: new.createsModel, grant)
        return Response(TrackingJSON.version(version), status: .created)
    }
    routes.patch("/models/:name/versions/:version", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let description = try await request.field("description")
        let version = try await registry.updateVersion(model: name, version: try context.versionNumber(), description: description, grant)
        return Response(TrackingJSON.version(version))
    }
    routes.delete("/models/:name/versions/:version", .registryWrite, on: .model) { _, context, grant in
        let name = try context.modelName()
        try await registry.deleteVersion(model: name, version: try context.versionNumber(), grant)
        return Response([:])
    }
    routes.post("/models/:name/versions/:version/stage", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let move = try StageMove(try await request.json())
        let version = try await registry.setStage(
            model: name, version: try context.versionNumber(), move.stage, archivingOthers: move.archivesOthers, grant)
        return Response(TrackingJSON.version(version))
    }
    routes.put("/models/:name/versions/:version/tags/:key", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        try await registry.setTag(model: name, version: try context.versionNumber(), try await request.tag(context), grant)
        return Response([:])
    }
    routes.delete("/models/:name/versions/:version/tags/:key", .registryWrite, on: .model) { _, context, grant in
        let name = try context.modelName()
        try await registry.deleteTag(model: name, version: try context.versionNumber(), key: try context.plain("key"), grant)
        return Response([:])
    }
}

// Bodies are read by initializers of their own: the compiler cannot split routes that read many fields between their awaits.

private struct AliasMove {
    let version: Int
    let expecting: RegistryService.Expectation

    init(_ body: JSON) throws {
        let reader = try FieldReader(body, path: "")
        version = try reader.int("version")
        let expected = try reader.optionalInt("expecting")
        try reader.finish()
        expecting = expected.map { .version($0) } ?? (body["expecting"] == .null ? .unset : .anything)
    }
}

extension RegistryService {
    /// - Returns: the version before, or null.
    fileprivate func move(_ alias: String, of name: String, _ body: JSON, _ grant: Grant) async throws -> Response {
        let move = try AliasMove(body)
        let before = try await setAlias(model: name, alias: alias, version: move.version, expecting: move.expecting, grant)
        return Response(["before": before.map { .int(Int64($0)) } ?? .null])
    }
}

private struct StageMove {
    let stage: ModelStage
    let archivesOthers: Bool

    init(_ body: JSON) throws {
        let reader = try FieldReader(body, path: "")
        stage = try reader.word("stage")
        archivesOthers = try reader.optionalBool("archive_others") ?? false
        try reader.finish()
    }
}

private struct NewVersion {
    let source: String
    let run: String?
    let runLink: String?
    let loggedModel: String?
    let description: String?
    let tags: [ModelTag]
    let createsModel: Bool

    init(_ body: JSON) throws {
        let reader = try FieldReader(body, path: "")
        source = try reader.string("source")
        run = try reader.optionalString("run")
        runLink = try reader.optionalString("run_link")
        loggedModel = try reader.optionalString("logged_model")
        description = try reader.optionalString("description")
        tags = try ModelWire.tags(reader)
        createsModel = try reader.optionalBool("create_model") ?? false
        try reader.finish()
    }
}

extension Request {
    /// A body's only field.
    func field(_ name: String) async throws -> String { try Request.field(name, of: try await json()) }

    private static func field(_ name: String, of body: JSON) throws -> String {
        let reader = try FieldReader(body, path: "")
        let value = try reader.string(name)
        try reader.finish()
        return value
    }

    /// The tag whose key the path names.
    fileprivate func tag(_ context: KeelContext) async throws -> ModelTag {
        ModelTag(try context.plain("key"), try await field("value"))
    }
}
