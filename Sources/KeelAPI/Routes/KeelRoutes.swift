import Contracts
import Hummingbird
import Platform
import WebAPI

/// Adds Keel's own API under `/api/v1`, and what every server is asked: `/metrics`, `/version`.
public func addKeelRoutes(to routes: APIRoutes, platform: Platform, connections: ConnectionLimiter) {
    let api = routes.group("/api/v1")
    addGovernanceRoutes(to: api, platform)
    addDataRoutes(to: api, platform)
    addPipelineRoutes(to: api, platform)
    addTriggerRoutes(to: api, platform)
    addTrackingRoutes(to: api, platform.tracking)
    addRunRoutes(to: api, platform.tracking)
    addModelRoutes(to: api, platform)
    addWebhookRoutes(to: api, platform.webhooks)
    addServingRoutes(to: api, platform)
    addImportRoutes(to: api, platform)
    addStorageRoutes(to: api, platform)
    routes.get("/metrics", .serverRead) { _, _, grant in
        try grant.requireServer()
        let text = try await platform.metrics(connections: connections.count, connectionsMax: connections.total, grant)
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4"], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
