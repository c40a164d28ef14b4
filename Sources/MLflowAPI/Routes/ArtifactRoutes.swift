import Contracts
import Hummingbird
import NIOCore
import Registry
import Tracking
import WebAPI

/// MLflow's artifact proxy. Bytes pass through in parts; no artifact is ever held whole.
func addArtifactProxyRoutes(_ group: RouterGroup<KeelContext>, _ tracking: TrackingService) {
    group.get("artifacts") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingRead)
            let path = try MLflowRequest(query: Query.pairs(request.uri.query ?? "")).optionalText("path") ?? ""
            return object([
                ("files", list(try await tracking.listArtifacts(path: ArtifactWire.path(path), grant).map(TrackingWire.artifact)))
            ])
        }
    }
    group.get("artifacts/**") { request, context in
        await answeringContent(request) {
            let grant = try await context.authorize(.trackingRead)
            return try await tracking.openArtifact(path: artifactPath(of: request, after: "artifacts"), grant)
        }
    }
    group.put("artifacts/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            try MemoryReservation.take(MemoryReservation.uploadBytes, for: .uploads)
            try await tracking.putArtifact(
                path: artifactPath(of: request, after: "artifacts"), declaredBytes: request.declaredBytes,
                parts: request.body.map(\.readableBytesView), grant)
            return .object([])
        }
    }
    group.delete("artifacts/**") { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            try await tracking.deleteArtifact(path: artifactPath(of: request, after: "artifacts"), grant)
            return .object([])
        }
    }
    group.get("presigned/**") { request, context in
        await MLflowRoutes.answering {
            _ = try await context.authorize(.trackingRead)
            _ = try artifactPath(of: request, after: "presigned")
            throw KeelError(.notImplemented, "Multipart download is not supported for the current artifact repository")
        }
    }
}

/// Artifacts by the run, logged model or model version they belong to.
func addArtifactRoutes(_ routes: MLflowRoutes, _ tracking: TrackingService) {
    routes.post("artifacts/presigned-upload-url", .trackingWrite) { request, grant in
        let path = try request.text("path")
        let (run, model) = (try request.optionalText("run_id") ?? "", try request.optionalText("model_id") ?? "")
        guard run.isEmpty != model.isEmpty else { throw KeelError.invalid("Exactly one of run_id and model_id must be provided.") }
        _ = try ArtifactWire.path(path)
        let uri =
            run.isEmpty ? try await tracking.artifactURI(loggedModelID: model, grant) : try await tracking.artifactURI(runID: run, grant)
        throw notPresigned("Presigned upload is not supported for proxied artifact storage", uri, "a direct cloud storage artifact URI")
    }
    routes.post("artifacts/presigned-download-url", .trackingRead) { request, grant in
        let (run, path) = (try request.text("run_id"), try request.text("path"))
        _ = try ArtifactWire.path(path)
        let expiration = try request.optionalInt("expiration") ?? 900
        guard (1...604_800).contains(expiration) else {
            throw KeelError.invalid("expiration must be between 1 and 604800 seconds (got \(expiration)).")
        }
        let uri = try await tracking.artifactURI(runID: run, grant)
        throw notPresigned(
            "Presigned download is not supported for runs with proxied artifact storage", uri,
            "a run with a direct cloud storage artifact URI")
    }
}

private func notPresigned(_ message: String, _ uri: String, _ needs: String) -> KeelError {
    let scheme = uri.prefix { $0 != ":" }
    guard ["http", "https", "mlflow-artifacts"].contains(String(scheme)) else {
        return KeelError(
            .notImplemented,
            "Presigned \(message.contains("upload") ? "upload" : "download") is not supported for the current artifact repository")
    }
    return .invalid("\(message) (artifact URI scheme: \(scheme)). This endpoint requires \(needs).")
}

/// What MLflow's web page asks: one file of a run, of a model version or of a logged model, and the upload of a small one.
func addArtifactPageRoutes(to router: some RouterMethods<KeelContext>, _ tracking: TrackingService, _ registry: RegistryService) {
    router.get("/get-artifact") { request, context in
        await answeringContent(request) {
            let grant = try await context.authorize(.trackingRead)
            let fields = MLflowRequest(query: Query.pairs(request.uri.query ?? ""))
            let (run, path) = (try fields.runID(), try ArtifactWire.path(fields.text("path")))
            let uri = try await tracking.artifactURI(runID: run, grant)
            return try await tracking.openArtifact(path: TrackingService.artifactPath(of: uri, below: path), grant)
        }
    }
    router.get("/model-versions/get-artifact") { request, context in
        await answeringContent(request) {
            let (registryGrant, grant) = (try await context.authorize(.registryRead), try await context.authorize(.trackingRead))
            let fields = MLflowRequest(query: Query.pairs(request.uri.query ?? ""))
            let (name, version, path) = (try fields.text("name"), try fields.text("version"), try ArtifactWire.path(fields.text("path")))
            guard let number = Int(version) else {
                throw KeelError.invalid("Parameter 'version' must be an integer, got '\(version.prefix(100))'.")
            }
            let uri = try await registry.version(model: name, version: number, registryGrant).storageLocation
            return try await tracking.openArtifact(path: TrackingService.artifactPath(of: uri, below: path), grant)
        }
    }
    router.get("/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files") { request, context in
        await answeringContent(request) {
            let grant = try await context.authorize(.trackingRead)
            guard let text = try MLflowRequest(query: Query.pairs(request.uri.query ?? "")).optionalText("artifact_file_path"),
                !text.isEmpty
            else {
                throw KeelError.invalid("Request must include the \"artifact_file_path\" query parameter.")
            }
            let uri = try await tracking.artifactURI(loggedModelID: Query.decode(try context.parameters.require("model_id")), grant)
            return try await tracking.openArtifact(path: TrackingService.artifactPath(of: uri, below: ArtifactWire.path(text)), grant)
        }
    }
    router.post(RouterPath(pageUploadPath)) { request, context in
        await MLflowRoutes.answering {
            let grant = try await context.authorize(.trackingWrite)
            try await upload(request, tracking, grant)
            return .object([])
        }
    }
}

/// Takes files, so bodies of any type.
public let pageUploadPath = "/ajax-api/2.0/mlflow/upload-artifact"
private let pageUploadBytesMax = 10 << 20

private func upload(_ request: Request, _ tracking: TrackingService, _ grant: Grant) async throws {
    let fields = MLflowRequest(query: Query.pairs(request.uri.query ?? ""))
    guard let run = try fields.optionalText("run_uuid"), !run.isEmpty else { throw KeelError.invalid("Request must specify run_uuid.") }
    guard let text = try fields.optionalText("path"), !text.isEmpty else { throw KeelError.invalid("Request must specify path.") }
    let path = try ArtifactWire.path(text)
    let tooLarge = KeelError.invalid("Artifact size is too large. Max size is 10MB.")
    if let declared = request.declaredBytes, declared > pageUploadBytesMax { throw tooLarge }
    let body: ByteBuffer
    do { body = try await request.collected(upTo: pageUploadBytesMax) } catch let error as KeelError where error.code == .payloadTooLarge {
        throw tooLarge
    }
    guard body.readableBytes > 0 else { throw KeelError.invalid("Request must specify data.") }
    let uri = try await tracking.artifactURI(runID: run, grant)
    let parts = AsyncThrowingStream<ByteBufferView, any Error> { source in
        source.yield(body.readableBytesView)
        source.finish()
    }
    try await tracking.putArtifact(
        path: TrackingService.artifactPath(of: uri, below: path), declaredBytes: request.declaredBytes, parts: parts, grant)
}

private func answeringContent(_ request: Request, _ content: () async throws -> ArtifactContent) async -> Response {
    do {
        let memory = try MemoryReservation.take(MemoryReservation.downloadBytes, for: .responses)
        return ArtifactResponse.make(try await content(), for: request, holding: memory)
    } catch { return MLflowRoutes.failure(error) }
}

/// What follows a word of the proxy's path, as a path of artifacts.
func artifactPath(of request: Request, after word: String) throws(KeelError) -> String {
    guard let range = request.uri.path.firstRange(of: "/mlflow-artifacts/\(word)/") else { return "" }
    return try ArtifactWire.path(Query.decode(request.uri.path[range.upperBound...]))
}

extension Request {
    /// How large the body is said to be.
    var declaredBytes: Int64? { headers[.contentLength].flatMap { Int64($0) } }
}
