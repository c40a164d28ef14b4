import Contracts
import Foundation
import HTTPTypes
import Hummingbird
import Platform
import Registry
import Storage

/// Models and versions as Keel knows them: with their contract, their history, and their card; and what webhooks were sent.
func addModelRoutes(to router: some RouterMethods<KeelContext>, _ platform: Platform) {
    router.get("/models") { request, context -> Response in
        let grant = try await context.authorize(.registryRead)
        let (limit, after) = (try request.limit(standard: 100), request.query("after").map(decoded))
        // An instant in the past is read from the ledger; now is read from what there is.
        let models = try await platform.registry.models(at: try request.instant("at") ?? .distantFuture, after: after, limit: limit, grant)
        return Response([
            "models": .array(models.map(ModelWire.past)), "next": models.count == limit ? models.last.map { .string($0.name) } ?? .null : .null,
        ])
    }
    router.get("/models/:name") { _, context -> Response in
        let grant = try await context.authorize(.registryRead)
        return Response(ModelWire.model(try await platform.registry.model(name: try name(context), grant)))
    }
    router.get("/models/:name/history") { request, context -> Response in
        let grant = try await context.authorize(.registryRead)
        let page = try await platform.registry.history(
            model: try name(context), version: try request.query("version").map(number), before: try request.query("before").map(sequence),
            limit: try request.limit(standard: 100), grant)
        return Response(["events": .array(page.events.map(ModelWire.change)), "next": page.next.map(JSON.int) ?? .null])
    }
    router.get("/models/:name/versions/:version") { _, context -> Response in
        let grant = try await context.authorize(.registryRead)
        return Response(ModelWire.version(try await platform.registry.version(model: try name(context), version: try version(context), grant)))
    }
    router.get("/models/:name/versions/:version/card") { _, context -> Response in
        let grants = (
            try await context.authorize(.registryRead), try await context.authorize(.trackingRead), try await context.authorize(.pipelinesRead)
        )
        let card = try await platform.card(
            model: try name(context), version: try version(context), registry: grants.0, tracking: grants.1, pipelines: grants.2)
        return Response(
            status: .ok, headers: [.contentType: "text/markdown; charset=utf-8"], body: ResponseBody(byteBuffer: ByteBuffer(string: card.markdown)))
    }
    router.get("/webhooks") { request, context -> Response in
        let grant = try await context.authorize(.webhooksManage)
        let page = try await platform.webhooks.list(pageSize: try request.limit(standard: 100), pageToken: request.query("token").map(decoded), grant)
        var items: [JSON] = []
        for webhook in page.items {
            let last = try await platform.webhooks.deliveries(id: webhook.id, limit: 1, grant).first
            items.append(ModelWire.webhook(webhook, last: last))
        }
        return Response(["webhooks": .array(items), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    router.get("/webhooks/:id/deliveries") { request, context -> Response in
        let grant = try await context.authorize(.webhooksManage)
        let limit = try request.limit(standard: 100)
        let deliveries = try await platform.webhooks.deliveries(
            id: try name(context, "id"), before: request.query("before").map(decoded), limit: limit, grant)
        return Response([
            "deliveries": .array(deliveries.map(ModelWire.delivery)),
            "next": deliveries.count == limit ? deliveries.last.map { .string($0.id) } ?? .null : .null,
        ])
    }
}

/// Names of models are freer than those of resources: spaces, dots, any letters.
private func name(_ context: KeelContext, _ parameter: String = "name") throws -> String { decoded(try context.parameters.require(parameter)) }

private func decoded(_ text: some StringProtocol) -> String { text.removingPercentEncoding ?? String(text) }

private func version(_ context: KeelContext) throws -> Int { try number(try context.parameters.require("version")) }

private func number(_ text: String) throws(KeelError) -> Int {
    guard let number = Int(text), number > 0 else { throw .invalid("'\(text.prefix(60))' is not a version: 1, 2, 3 …", path: "version") }
    return number
}

private func sequence(_ text: String) throws(KeelError) -> Int64 {
    guard let number = Int64(text), number > 0 else { throw .invalid("'\(text.prefix(60))' is not the number of an event", path: "before") }
    return number
}
