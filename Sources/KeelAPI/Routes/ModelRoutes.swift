import Contracts
import Foundation
import Hummingbird
import Platform
import Registry
import SearchLanguage
import WebAPI
import Workflows

/// Registered models and their versions.
func addModelRoutes(to routes: APIRoutes, _ platform: Platform) {
    let registry = platform.registry
    routes.get("/models", .registryRead, on: .each) { request, _, grant in
        if let time = try request.instant("at") {
            let after = request.query("page") ?? ""
            let page = try await registry.models(at: time, after: after, limit: try request.limit(standard: 100), grant)
            return Response(["models": .array(page.models.map(ModelWire.past)), "next": page.next.map(JSON.string) ?? .null])
        }
        let search = try RegistrySearch(
            .models, filter: request.query("filter"), pageSize: try request.limit(standard: 100), pageToken: request.query("page"))
        let page = try await registry.searchModels(search, grant)
        return Response(["models": .array(page.items.map(TrackingJSON.model)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.get("/models/:name", .registryRead, on: .model) { _, context, grant in
        let name = try context.modelName()
        return Response(TrackingJSON.model(try await registry.model(name: name, grant)))
    }
    routes.get("/models/:name/versions", .registryRead, on: .model) { request, context, grant in
        let search = RegistrySearch(
            clauses: [SearchClause(.attribute, "name", .equal, .text(try context.modelName()))],
            pageSize: try request.limit(standard: 100), pageToken: request.query("page"))
        let page = try await registry.searchVersions(search, grant)
        return Response(["versions": .array(page.items.map(TrackingJSON.version)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.get("/models/:name/versions/:version", .registryRead, on: .model) { _, context, grant in
        let name = try context.modelName()
        return Response(TrackingJSON.version(try await registry.version(model: name, version: try context.versionNumber(), grant)))
    }
    addModelChangeRoutes(to: routes, registry)
    addVersionChangeRoutes(to: routes, registry)
    addEvidenceRoutes(to: routes, registry)
    addSignatureRoutes(to: routes, platform.signing)
    addHistoryRoutes(to: routes, platform)
    addOfferRoutes(to: routes, registry)
}

/// What is signed of a version's files.
private func addSignatureRoutes(to routes: APIRoutes, _ signing: ModelSigning) {
    routes.get("/models/:name/versions/:version/manifest", .registryRead, on: .model) { _, context, grant in
        let manifest = try await signing.manifest(model: try context.modelName(), version: try context.versionNumber(), grant)
        return Response(["manifest": .string(manifest.text), "digest": .string(manifest.digest.hex)])
    }
    routes.post("/models/:name/versions/:version/signatures", .registryWrite, on: .model) { request, context, grant in
        let name = try context.modelName()
        let version = try context.versionNumber()
        let (key, signature) = try signed(try await request.json())
        return Response(try await signing.sign(model: name, version: version, key: key, signature: signature, grant).content, status: .created)
    }
}

private func signed(_ body: JSON) throws(KeelError) -> (key: String, signature: String) {
    let reader = try FieldReader(body, path: "")
    let key = try reader.string("key")
    let signature = try reader.string("signature")
    try reader.finish()
    return (key, signature)
}

/// What Keel saw of a version, and who takes responsibility for it.
private func addEvidenceRoutes(to routes: APIRoutes, _ registry: RegistryService) {
    routes.get("/models/:name/versions/:version/evidence", .registryRead, on: .model) { _, context, grant in
        let version = try await registry.version(model: try context.modelName(), version: try context.versionNumber(), grant)
        guard let evidence = try await registry.evidence(of: version, grant) else { throw RegistryService.noBundle(version) }
        return Response(evidence.json)
    }
    routes.post("/models/:name/versions/:version/approvals", .modelsApprove, on: .model) { request, context, grant in
        let name = try context.modelName()
        let version = try context.versionNumber()
        let reason = try await request.field("reason")
        return Response(try await registry.approve(model: name, version: version, reason: reason, grant).content, status: .created)
    }
}

/// What happened to a model, and its card.
private func addHistoryRoutes(to routes: APIRoutes, _ platform: Platform) {
    routes.get("/models/:name/history", .registryRead, on: .model) { request, context, grant in
        let name = try context.modelName()
        let page = try await platform.registry.history(
            model: name, version: try request.number("version").map(Int.init), before: try request.number("before"),
            limit: try request.limit(standard: 100), grant)
        return Response(["events": .array(page.events.map(ModelWire.change)), "next": page.next.map(JSON.int) ?? .null])
    }
    routes.get("/models/:name/versions/:version/card", .registryRead, on: .model) { _, context, grant in
        let name = try context.modelName()
        let grants = CardGrants(
            registry: grant, tracking: try await context.authorize(.trackingRead), pipelines: try await context.authorize(.pipelinesRead),
            releases: try await context.authorize(.releasesRead), resources: try await context.authorize(.resourcesRead))
        let card = try await platform.cards.card(model: name, version: try context.versionNumber(), grants)
        return Response(
            status: .ok, headers: [.contentType: "text/markdown; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: card.markdown)))
    }
}

extension KeelContext {
    /// Models may have names that paths escape.
    func modelName() throws -> String { try plain("name") }

    func versionNumber() throws -> Int {
        guard let number = Int(try parameters.require("version")) else {
            throw KeelError.invalid("a version is named by its number", path: "version")
        }
        return number
    }

    /// A component of the path without its escapes.
    func plain(_ parameter: String) throws -> String {
        let text = try parameters.require(parameter)
        return text.removingPercentEncoding ?? text
    }
}

extension Request {
    /// A positive number in the query.
    fileprivate func number(_ name: String) throws(KeelError) -> Int64? {
        guard let text = query(name) else { return nil }
        guard let number = Int64(text), number > 0 else { throw .invalid("'\(text.prefix(60))' is not a number above 0", path: name) }
        return number
    }
}
