import Contracts
import Hummingbird
import Serving
import WebAPI

/// MLflow's scoring protocol, and Keel's own.
func addScoringRoutes(to routes: APIRoutes, _ runtime: ServingRuntime) {
    routes.getForEveryCaller("/ping") { _, _ in Response(status: .ok) }
    routes.post("/endpoints/:name/invocations", .predict, on: .endpoint) { request, context, _ in
        try await invoke(request, try NamedEndpoint(context, runtime).ref, runtime)
    }
    routes.post("/invocations", .predict, on: .each) { request, _, grant in
        let endpoints = runtime.status().map(\.ref).filter(grant.covers)
        guard endpoints.count == 1, let endpoint = endpoints.first else {
            throw KeelError.invalid(
                "there are \(endpoints.count) endpoints here",
                hint: "post to /endpoints/NAME/invocations: \(endpoints.map(\.qualifiedName).joined(separator: ", "))")
        }
        return try await invoke(request, endpoint, runtime)
    }
    routes.post("/api/v1/endpoints/:name/predict", .predict, on: .endpoint) { request, context, grant in
        try await predict(request, context, grant, runtime)
    }
}

/// The types that MLflow's server takes and this one.
private enum ScoringType {
    case json, csv

    /// As MLflow's server reads `Content-Type`: no charset but UTF-8, and no other parameter.
    init(_ request: Request) throws {
        let parts = (request.headers[.contentType] ?? "application/json").split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
        switch parts.first {
        case "application/json": self = .json
        case "text/csv": self = .csv
        default:
            throw KeelError(
                .unsupportedMediaType, "'\((parts.first ?? "").prefix(60))' is not accepted here", hint: "send application/json or text/csv")
        }
        if let stranger = parts.dropFirst().first(where: { $0 != "charset=utf-8" && $0 != "charset=\"utf-8\"" }) {
            throw KeelError(.unsupportedMediaType, "'\(stranger.prefix(60))' of the Content-Type is not accepted here", hint: "send charset=utf-8, or none")
        }
    }
}

private func invoke(_ request: Request, _ endpoint: ResourceRef, _ runtime: ServingRuntime) async throws -> Response {
    let type = try ScoringType(request)
    let body = try await request.inflated(upTo: runtime.bodyBytesMax(endpoint: endpoint))
    let fields = runtime.requestFields(endpoint: endpoint) ?? []
    let optional = runtime.optionalColumns(endpoint: endpoint)
    let bytes = try await runtime.infer(endpoint: endpoint, bodyBytes: body.count, parent: TraceParent(request.headers)) {
        () throws(KeelError) -> InferenceRequest<[UInt8]> in
        let invocation = try type == .csv ? Invocation(csv: body, fields: fields) : Invocation(parsing: body, fields: fields, optional: optional)
        return InferenceRequest(table: invocation.table, params: invocation.params) { result in
            let answer: JSON = [
                "predictions": Invocation.predictions(result.outputs), "ids": .array(result.ids.map(JSON.string)),
                "release": .string("\(endpoint.qualifiedName)/\(result.release)"),
            ]
            return answer.bytes
        }
    }
    return try await request.answer(bytes)
}

private func predict(_ request: Request, _ context: KeelContext, _ grant: Grant, _ runtime: ServingRuntime) async throws -> Response {
    let endpoint = try NamedEndpoint(context, runtime)
    let body = try await request.inflated(upTo: runtime.bodyBytesMax(endpoint: endpoint.ref))
    let asked = try await Blocking.unlessSmall(body.count) { try PredictRequest(parsing: body, fields: endpoint.fields, optional: endpoint.optional) }
    // Stored features are more than the caller sent: the log of predictions, which has them too, asks for the same.
    if asked.showsFeatures { _ = try await context.authorize(.predictionsRead, on: endpoint.ref.subject) }
    let bytes = try await runtime.infer(endpoint: endpoint.ref, version: asked.version, bodyBytes: body.count, parent: TraceParent(request.headers)) {
        () throws(KeelError) -> InferenceRequest<[UInt8]> in
        InferenceRequest(
            table: asked.table, params: asked.params, ids: asked.ids, locate: { PredictRequest.locate($0, in: asked.table) }
        ) { result in
            asked.answer(
                endpoint: endpoint.ref.qualifiedName, release: result.release, model: result.model, version: result.modelVersion, ids: result.ids,
                inputs: result.inputs, outputs: result.outputs
            ).bytes
        }
    }
    return try await request.answer(bytes)
}
