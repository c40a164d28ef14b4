import Contracts
import Governance
import Hummingbird
import Logging
import NIOCore
import Registry
import Tracking
import WebAPI

/// The version of MLflow whose protocol this API speaks; clients decide by it what they may ask.
let mlflowVersion = "3.17.2"

/// Adds MLflow's tracking and registry routes, under `/api/2.0` and the twin `/ajax-api/2.0` that its web page uses.
public func addMLflowRoutes(
    to api: APIRoutes, tracking: TrackingService, registry: RegistryService, webhooks: WebhookService, workspaces: WorkspaceService
) {
    let router = api.router
    for prefix in ["/api", "/ajax-api"] {
        let routes = MLflowRoutes(group: router.group(RouterPath("\(prefix)/2.0/mlflow")))
        addExperimentRoutes(routes, tracking)
        addRunRoutes(routes, tracking)
        addLoggedModelRoutes(routes, tracking)
        addModelRoutes(routes, registry)
        addVersionRoutes(routes, registry)
        addWebhookRoutes(routes, webhooks)
        // MLflow's own table of routes spells this one without the slash; its page asks for either.
        MLflowRoutes(group: router.group(RouterPath("\(prefix)/2.0mlflow"))).post(
            "experiments/search-datasets", .trackingRead, searchDatasets(tracking))
        addEvaluationDatasetRoutes(MLflowRoutes(group: router.group(RouterPath("\(prefix)/3.0/mlflow"))), tracking)
        addWorkspaceRoutes(MLflowRoutes(group: router.group(RouterPath("\(prefix)/3.0/mlflow"))), workspaces)
        addArtifactRoutes(routes, tracking)
        let proxy = router.group(RouterPath("\(prefix)/2.0/mlflow-artifacts"))
        addArtifactProxyRoutes(proxy, tracking)
        addMultipartRoutes(proxy, tracking)
        router.get(RouterPath("\(prefix)/3.0/mlflow/server-info")) { _, context in
            await MLflowRoutes.answering {
                _ = try await context.authorize(.trackingRead)
                return [
                    "store_type": "SqlStore", "workspaces_enabled": true, "trace_archival_enabled": false,
                    "multipart_uploads_enabled": true, "multipart_downloads_enabled": false,
                    // The routes are there; whether a place supports it is answered for each.
                    "presigned_upload_run_id_supported": true, "presigned_upload_model_id_supported": true,
                    "artifact_serving_enabled": true, "features_enabled": ["gateway": false],
                ]
            }
        }
    }
    addArtifactPageRoutes(to: router, tracking, registry)
    api.get("/version", .serverRead) { request, context, _ in mlflowVersion.response(from: request, context: context) }
    UnservedRoutes.add(to: router)
}

/// One family of routes: each names its method, its path and what the caller must be allowed to do, and turns a request into an answer.
struct MLflowRoutes {
    typealias Handler = @Sendable (MLflowRequest, Grant) async throws -> JSON

    let group: RouterGroup<KeelContext>
    private static let log = Logger(label: "keel.mlflow")
    static let bodyBytesMax = 16 * 1024 * 1024

    func get(_ path: RouterPath, _ action: Action, _ handler: @escaping Handler) { add(.get, path, action, handler) }
    func post(_ path: RouterPath, _ action: Action, _ handler: @escaping Handler) { add(.post, path, action, handler) }
    func patch(_ path: RouterPath, _ action: Action, _ handler: @escaping Handler) { add(.patch, path, action, handler) }
    func delete(_ path: RouterPath, _ action: Action, _ handler: @escaping Handler) { add(.delete, path, action, handler) }

    /// - Parameter status: that of the answer when all went well.
    func add(
        _ method: HTTPRequest.Method, _ path: RouterPath, _ action: Action, status: HTTPResponse.Status = .ok, _ handler: @escaping Handler
    ) {
        group.on(path, method: method) { request, context in
            await MLflowRoutes.answering(status) {
                let grant = try await context.authorize(action)
                return try await handler(MLflowRoutes.fields(of: request, context, method), grant)
            }
        }
    }

    /// A route whose answer is large enough to be written as bytes at once, without a tree between.
    func postBytes(_ path: RouterPath, _ action: Action, _ handler: @escaping @Sendable (MLflowRequest, Grant) async throws -> [UInt8]) {
        group.on(path, method: .post) { request, context in
            do {
                let grant = try await context.authorize(action)
                return MLflowRoutes.respond(.ok, try await handler(MLflowRoutes.fields(of: request, context, .post), grant))
            } catch { return MLflowRoutes.failure(error) }
        }
    }

    /// A POST whose handler reads the body from its bytes: what clients send most.
    func post(bytes path: RouterPath, _ action: Action, _ handler: @escaping @Sendable (ByteBuffer, Grant) async throws -> JSON) {
        group.on(path, method: .post) { request, context in
            await MLflowRoutes.answering {
                let grant = try await context.authorize(action)
                return try await handler(MLflowRoutes.body(of: request, .post), grant)
            }
        }
    }

    /// The answer of `body` as JSON, or its error in MLflow's shape.
    static func answering(_ status: HTTPResponse.Status = .ok, _ body: () async throws -> JSON) async -> Response {
        do {
            let json = try await body()
            return status == .noContent ? Response(status: status) : respond(status, json.bytes)
        } catch { return failure(error) }
    }

    static func failure(_ error: any Error, status: HTTPResponse.Status? = nil) -> Response {
        if !(error is KeelError), !(error is CancellationError) { log.error("an MLflow route failed: \(error)") }
        let error = KeelError.shown(error)
        return respond(status ?? error.code.status, ErrorWire.body(error).bytes)
    }

    static func failure(_ status: HTTPResponse.Status, _ code: String, _ message: String) -> Response {
        respond(status, (["error_code": .string(code), "message": .string(message)] as JSON).bytes)
    }

    private static func respond(_ status: HTTPResponse.Status, _ json: [UInt8]) -> Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        if status == .serviceUnavailable || status == .tooManyRequests { headers[.retryAfter] = "1" }
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: json)))
    }

    /// The body's fields, or the query's for GET (and for DELETE without a body), with the path's parameters added.
    static func fields(of request: Request, _ context: KeelContext, _ method: HTTPRequest.Method) async throws -> MLflowRequest {
        var fields = try await given(by: request, method)
        for (key, value) in context.parameters { fields.add(String(key), Query.decode(value)) }
        return fields
    }

    private static func given(by request: Request, _ method: HTTPRequest.Method) async throws -> MLflowRequest {
        guard method != .get else { return MLflowRequest(query: Query.pairs(request.uri.query ?? "")) }
        let body = try await body(of: request, method)
        return body.readableBytes == 0 ? MLflowRequest(query: Query.pairs(request.uri.query ?? "")) : try await parsed(body)
    }

    private static func parsed(_ body: ByteBuffer) async throws -> MLflowRequest {
        try await Blocking.unlessSmall(body.readableBytes) { try parse(body) }
    }

    private static func parse(_ body: ByteBuffer) throws -> MLflowRequest { try MLflowRequest(body: Array(body.readableBytesView)) }

    private static func body(of request: Request, _ method: HTTPRequest.Method) async throws -> ByteBuffer {
        try checkType(of: request, method)
        return try await request.collected(upTo: bodyBytesMax)
    }

    /// MLflow asks for the type of what is posted, also of an empty body.
    private static func checkType(of request: Request, _ method: HTTPRequest.Method) throws {
        guard method == .post || method == .put else { return }
        guard request.headers[.contentType]?.split(separator: ";").first?.lowercased() == "application/json" else {
            throw wrongType(of: request)
        }
    }

    static func wrongType(of request: Request) -> KeelError {
        request.headers[.contentType] == nil
            ? .invalid("Bad Request. Content-Type header is missing.")
            : .invalid("Bad Request. Content-Type must be one of ['application/json'].")
    }
}

/// Queries and paths as clients write them.
enum Query {
    static func pairs(_ query: String) -> [(key: String, value: String)] {
        query.split(separator: "&").map { part in
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (decode(sides[0], plusIsSpace: true), sides.count == 2 ? decode(sides[1], plusIsSpace: true) : "")
        }
    }

    static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String { percentDecoded(text, plusIsSpace: plusIsSpace) }
}
