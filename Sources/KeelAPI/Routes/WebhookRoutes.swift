import Contracts
import Foundation
import Hummingbird
import Platform
import Registry

/// Webhooks, and what they were sent.
func addWebhookRoutes(to router: some RouterMethods<KeelContext>, _ webhooks: WebhookService) {
    router.get("/webhooks") { request, context -> Response in
        let grant = try await context.authorize(.webhooksManage)
        let page = try await webhooks.list(pageSize: try request.limit(standard: 100), pageToken: request.query("page"), grant)
        var items: [JSON] = []
        for webhook in page.items {
            let last = try await webhooks.deliveries(id: webhook.id, limit: 1, grant).first
            items.append(ModelWire.webhook(webhook, last: last))
        }
        return Response(["webhooks": .array(items), "next": page.nextToken.map(JSON.string) ?? .null])
    }
    router.get("/webhooks/:id/deliveries") { request, context -> Response in
        let id = try context.name("id")
        let grant = try await context.authorize(.webhooksManage, on: "Webhook/\(id)")
        let limit = try request.limit(standard: 100)
        let deliveries = try await webhooks.deliveries(id: id, before: request.query("before"), limit: limit, grant)
        let next = deliveries.count == limit ? deliveries.last.map { JSON.string($0.id) } : nil
        return Response(["deliveries": .array(deliveries.map(ModelWire.delivery)), "next": next ?? .null])
    }
}
