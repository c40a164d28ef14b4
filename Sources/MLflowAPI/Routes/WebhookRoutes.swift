import Contracts
import Registry

func addWebhookRoutes(_ routes: MLflowRoutes, _ webhooks: WebhookService) {
    routes.post("webhooks", .webhooksManage) { request, grant in
        let webhook = try await webhooks.create(
            name: request.text("name"), url: request.text("url"),
            events: request.requiredObjects("events").map { try WebhookWire.event($0) },
            description: request.optionalText("description"), secret: request.optionalText("secret"),
            status: request.word("status", WebhookStatus.self) ?? .active, grant)
        return ["webhook": WebhookWire.webhook(webhook)]
    }
    routes.get("webhooks", .webhooksManage) { request, grant in
        let page = try await webhooks.list(
            pageSize: request.optionalCount("max_results"), pageToken: request.optionalText("page_token"), grant)
        return object([("webhooks", list(page.items.map(WebhookWire.webhook))), ("next_page_token", page.nextToken.map(JSON.string))])
    }
    routes.get("webhooks/{webhook_id}", .webhooksManage) { request, grant in
        ["webhook": WebhookWire.webhook(try await webhooks.webhook(id: request.text("webhook_id"), grant))]
    }
    routes.patch("webhooks/{webhook_id}", .webhooksManage) { request, grant in
        let events = try request.objects("events").map { try WebhookWire.event($0) }
        func given(_ name: String) throws -> String? { try request.optionalText(name).flatMap { $0.isEmpty ? nil : $0 } }
        let webhook = try await webhooks.update(
            id: request.text("webhook_id"), name: given("name"), url: given("url"), events: events.isEmpty ? nil : events,
            description: request.optionalText("description"), secret: request.optionalText("secret"),
            status: request.word("status", WebhookStatus.self), grant)
        return ["webhook": WebhookWire.webhook(webhook)]
    }
    routes.delete("webhooks/{webhook_id}", .webhooksManage) { request, grant in
        try await webhooks.delete(id: request.text("webhook_id"), grant)
        return .object([])
    }
    routes.post("webhooks/{webhook_id}/test", .webhooksManage) { request, grant in
        let event = request.fields["event"] == nil ? nil : try WebhookWire.event(request.object("event"))
        let test = try await webhooks.test(id: request.text("webhook_id"), event: event, grant)
        return ["result": WebhookWire.test(test)]
    }
}
