import Contracts
import Foundation
import Hummingbird
import Platform
import Registry

/// Registered models and their versions.
func addModelRoutes(to router: some RouterMethods<KeelContext>, _ registry: RegistryService) {
    router.get("/models") { request, context -> Response in
        let grant = try await context.authorize(.registryRead)
        let page = try await registry.searchModels(try request.registrySearch(filter: request.query("filter")), grant)
        return Response(["models": .array(page.items.map(TrackingJSON.model)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    router.get("/models/:name") { _, context -> Response in
        let name = try context.modelName()
        let grant = try await context.authorize(.registryRead, on: "Model/\(name)")
        return Response(TrackingJSON.model(try await registry.model(name: name, grant)))
    }
    router.get("/models/:name/versions") { request, context -> Response in
        let name = try context.modelName()
        let grant = try await context.authorize(.registryRead, on: "Model/\(name)")
        guard !name.contains("'") else { throw KeelError.notFound("there is no model '\(name.prefix(100))'") }
        let page = try await registry.searchVersions(try request.registrySearch(filter: "name = '\(name)'"), grant)
        return Response(["versions": .array(page.items.map(TrackingJSON.version)), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    router.get("/models/:name/versions/:version") { _, context -> Response in
        let name = try context.modelName()
        let grant = try await context.authorize(.registryRead, on: "Model/\(name)")
        guard let number = Int(try context.parameters.require("version")) else {
            throw KeelError.invalid("a version is named by its number", path: "version")
        }
        return Response(TrackingJSON.version(try await registry.version(model: name, version: number, grant)))
    }
}

extension KeelContext {
    /// Models may have names that paths escape.
    fileprivate func modelName() throws -> String {
        let name = try parameters.require("name")
        return name.removingPercentEncoding ?? name
    }
}

extension Request {
    fileprivate func registrySearch(filter: String?) throws(KeelError) -> RegistrySearch {
        RegistrySearch(filter: filter, pageSize: try limit(standard: 100), pageToken: query("page"))
    }
}
