import Contracts
import Hummingbird
import Platform

/// Adds Keel's own API under `/api/v1`, and what every server is asked: `/metrics`, `/version`.
public func addKeelRoutes(to router: Router<KeelContext>, platform: Platform) {
    let api = router.group("/api/v1")
    addGovernanceRoutes(to: api, platform)
    addDataRoutes(to: api, platform)
    addPipelineRoutes(to: api, platform)
    addTrackingRoutes(to: api, platform.tracking)
    addRunRoutes(to: api, platform.tracking)
    addModelRoutes(to: api, platform)
    addWebhookRoutes(to: api, platform.webhooks)
    addServingRoutes(to: api, platform)
    addImportRoutes(to: api, platform)
    addStorageRoutes(to: api, platform)
    router.get("/metrics") { _, context -> Response in
        _ = try await context.authorize(.serverRead)
        let text = try await platform.metrics()
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4"], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
