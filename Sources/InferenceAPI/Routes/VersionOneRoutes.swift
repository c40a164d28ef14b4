import Contracts
import Hummingbird
import Serving
import WebAPI

/// The V1 protocol of KServe and TensorFlow Serving.
func addVersionOneRoutes(to routes: APIRoutes, _ runtime: ServingRuntime) {
    routes.get("/v1/models", .predict, on: .each) { request, _, grant in
        let names = runtime.status().filter { $0.stable != nil && grant.covers($0.ref) }.map { JSON.string($0.ref.qualifiedName) }
        return try await request.answer(["models": .array(names)])
    }
    for path in ["/v1/models/:name", "/v1/models/:name/versions/:version"] {
        routes.get(path, .predict, on: .endpoint) { request, context, _ in
            let endpoint = try NamedEndpoint(context, runtime)
            let versions = context.parameters.get("version").map { [$0] } ?? runtime.versions(endpoint: endpoint.ref)
            return try await request.answer([
                "name": .string(endpoint.ref.qualifiedName), "ready": true,
                "model_version_status": .array(
                    versions.map { ["version": .string($0), "state": "AVAILABLE", "status": ["error_code": "OK", "error_message": ""]] }),
            ])
        }
    }
    for path in ["/v1/models/{name}:predict", "/v1/models/:name/versions/{version}:predict"] {
        routes.post(path, .predict, on: .endpoint) { request, context, _ in
            let endpoint = try NamedEndpoint(context, runtime)
            let body = try await request.inflated(upTo: runtime.bodyBytesMax(endpoint: endpoint.ref))
            let version = context.parameters.get("version")
            let bytes = try await runtime.infer(
                endpoint: endpoint.ref, version: version, bodyBytes: body.count, parent: TraceParent(request.headers)
            ) {
                () throws(KeelError) -> InferenceRequest<[UInt8]> in
                let asked = try V1Request(parsing: body, fields: endpoint.fields, optional: endpoint.optional)
                return InferenceRequest(table: asked.table) { asked.answer($0.outputs).bytes }
            }
            return try await request.answer(bytes)
        }
    }
}
