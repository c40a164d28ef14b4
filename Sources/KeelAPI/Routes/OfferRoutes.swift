import Contracts
import Hummingbird
import Registry
import WebAPI

/// Model versions that one workspace lets another have.
func addOfferRoutes(to routes: APIRoutes, _ registry: RegistryService) {
    routes.post("/models/:name/versions/:version/offers", .modelsShare, on: .model) { request, context, grant in
        let name = try context.modelName()
        let version = try context.versionNumber()
        let reader = try FieldReader(try await request.json(), path: "")
        let target = try WorkspaceID(try reader.string("workspace"))
        let note = try reader.optionalString("note") ?? ""
        try reader.finish()
        return Response(try await registry.offer(model: name, version: version, to: target, note: note, grant).json, status: .created)
    }
    routes.get("/offers", .modelsShare) { _, _, grant in
        Response(["offers": .array(try await registry.offers(grant).map(\.json))])
    }
    routes.get("/offers/:id", .modelsShare) { _, context, grant in
        let offered = try await registry.offered(try context.plain("id"), grant)
        return Response([
            "offer": offered.offer.json, "version": TrackingJSON.version(offered.version), "evidence": offered.evidence?.json ?? .null,
        ])
    }
    routes.post("/offers/:id/accept", .modelsShare) { request, context, grant in
        let id = try context.plain("id")
        let reader = try FieldReader(try await request.json(), path: "")
        let name = try reader.optionalString("model")
        try reader.finish()
        return Response(TrackingJSON.version(try await registry.accept(offer: id, as: name, grant)), status: .created)
    }
    routes.delete("/offers/:id", .modelsShare) { _, context, grant in
        Response(try await registry.close(offer: try context.plain("id"), grant).json)
    }
}
