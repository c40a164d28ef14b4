import Contracts
import Hummingbird
import NIOCore
import Platform
import Tracking

/// MLflow's artifact proxy. Bytes pass through in parts; no artifact is ever held whole.
func addArtifactProxyRoutes(_ group: RouterGroup<KeelContext>, _ tracking: TrackingService) {
    group.get("artifacts") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingRead)
            let path = try MLflowRequest(query: Query.pairs(request.uri.query ?? "")).optionalText("path") ?? ""
            return object([("files", list(try await tracking.listArtifacts(path: path, grant).map(TrackingWire.artifact)))])
        }
    }
    group.get("artifacts/**") { request, context in
        do {
            let grant = try await context.authorize(.trackingRead)
            let path = artifactPath(of: request)
            let size = try await tracking.artifactSize(path: path, grant)
            let body = ResponseBody(contentLength: Int(size)) { writer in
                try await tracking.readArtifact(path: path, grant) { part in try await writer.write(ByteBuffer(bytes: part)) }
                try await writer.finish(nil)
            }
            return Response(
                status: .ok, headers: [.contentType: "application/octet-stream", .contentDisposition: "attachment"], body: body)
        } catch { return MLflowRoutes.failure(error) }
    }
    group.put("artifacts/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            try await tracking.putArtifact(path: artifactPath(of: request), parts: request.body.map { Array($0.readableBytesView) }, grant)
            return .object([])
        }
    }
    group.delete("artifacts/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            try await tracking.deleteArtifact(path: artifactPath(of: request), grant)
            return .object([])
        }
    }
}

private func artifactPath(of request: Request) -> String {
    let marker = "/mlflow-artifacts/artifacts/"
    let path = request.uri.path
    guard let range = path.firstRange(of: marker) else { return "" }
    return Query.decode(path[range.upperBound...])
}
