import Contracts
import Foundation
import Hummingbird
import Registry
import WebAPI

/// Webhooks, and what they were sent.
func addWebhookRoutes(to routes: APIRoutes, _ webhooks: WebhookService) {
    routes.get("/webhooks", .webhooksManage) { request, _, grant in
        let page = try await webhooks.list(pageSize: try request.limit(standard: 100), pageToken: request.query("page"), grant)
        var items: [JSON] = []
        for webhook in page.items {
            let last = try await webhooks.deliveries(id: webhook.id, limit: 1, grant).first
            items.append(ModelWire.webhook(webhook, last: last))
        }
        return Response(["webhooks": .array(items), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    routes.get("/webhooks/:id/deliveries", .webhooksManage, on: .named("Webhook", by: "id")) { request, context, grant in
        let id = try context.name("id")
        let limit = try request.limit(standard: 100)
        let deliveries = try await webhooks.deliveries(id: id, before: request.query("before"), limit: limit, grant)
        let next = deliveries.count == limit ? deliveries.last.map { JSON.string($0.id) } : nil
        return Response(["deliveries": .array(deliveries.map(ModelWire.delivery)), "next": next ?? .null])
    }
}
