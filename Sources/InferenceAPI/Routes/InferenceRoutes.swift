import Contracts
import Foundation
import HTTPTypes
import Hummingbird
import Platform
import Serving
import WebAPI

/// The parts of the Open Inference Protocol that need no speed (metadata, readiness), and MLflow's scoring protocol.
public func addInferenceRoutes(to routes: APIRoutes, runtime: ServingRuntime, version: String) {
    for route in InferenceHandler.routes { routes.note(route.method, route.path, InferenceHandler.action) }
    routes.get("/v2", .serverRead) { _, _, _ in
        answer(["name": "keel", "version": .string(version), "extensions": ["binary_tensor_data"]])
    }
    routes.getForEveryCaller("/v2/health/live") { _, _ in Response(status: .ok) }
    routes.getForEveryCaller("/v2/health/ready") { _, _ in Response(status: .ok) }
    let named = APIRoutes.Subject { try asked($0).subject }
    // A version is that of the model: an endpoint serves one, and a second while a rollout runs.
    for path in ["/v2/models/:name", "/v2/models/:name/versions/:version"] {
        routes.getForEveryCaller("\(path)/ready") { _, context in
            _ = try endpoint(context, runtime)
            return Response(status: .ok)
        }
        routes.get(path, .predict, on: named) { _, context, _ in
            let (endpoint, fields) = try endpoint(context, runtime)
            let outputs = runtime.outputs(endpoint: endpoint)
            return answer([
                "name": .string(endpoint.qualifiedName), "versions": .array(runtime.versions(endpoint: endpoint).map(JSON.string)), "platform": "keel",
                "inputs": .array(fields.map { tensor($0.name, $0.type) }), "outputs": .array(outputs.map { tensor($0.name, $0.type) }),
            ])
        }
    }
    routes.post("/endpoints/:name/invocations", .predict, on: named) { request, context, _ in
        try await invoke(request, try endpoint(context, runtime).endpoint, runtime)
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
}

private func invoke(
    _ request: Request, _ endpoint: ResourceRef, _ runtime: ServingRuntime
) async throws -> Response {
    let type = request.headers[.contentType]?.split(separator: ";").first.map(String.init) ?? "application/json"
    guard type == "application/json" else {
        throw KeelError(.unsupportedMediaType, "'\(type.prefix(60))' is not accepted here", hint: "send application/json")
    }
    let body = Array(buffer: try await request.collected(upTo: runtime.bodyBytesMax(endpoint: endpoint), hint: "send fewer rows a request"))
    let fields = runtime.requestFields(endpoint: endpoint) ?? []
    let json = try await runtime.infer(endpoint: endpoint, bodyBytes: body.count) { () throws(KeelError) -> InferenceRequest<[UInt8]> in
        let invocation = try Invocation(parsing: body, fields: fields)
        return InferenceRequest(table: invocation.table, params: invocation.params) { result in
            let answer: JSON = [
                "predictions": Invocation.predictions(result.outputs), "ids": .array(result.ids.map(JSON.string)),
                "release": .string("\(endpoint.qualifiedName)/\(result.release)"),
            ]
            return answer.bytes
        }
    }
    return answer(json)
}

/// The endpoint that the path names, and the request columns that it takes.
/// - Throws: why the endpoint does not serve; `notFound` for a version of it that does not.
private func endpoint(_ context: KeelContext, _ runtime: ServingRuntime) throws -> (endpoint: ResourceRef, fields: [Field]) {
    let endpoint = try asked(context)
    guard let fields = runtime.requestFields(endpoint: endpoint) else { throw runtime.whyNotServing(endpoint) }
    let versions = runtime.versions(endpoint: endpoint)
    if let version = context.parameters.get("version"), !versions.contains(version) {
        throw KeelError.notFound(
            "endpoint '\(endpoint.qualifiedName)' serves no version '\(version.prefix(60))'", hint: "it serves \(versions.joined(separator: " and "))")
    }
    return (endpoint, fields)
}

/// The endpoint that the path names, as `delay` or `delay@staging`, whether there is one or not.
private func asked(_ context: KeelContext) throws -> ResourceRef {
    guard let access = context.access else { throw KeelError(.unauthenticated, "this request has no caller") }
    let text = try context.parameters.require("name")
    return ResourceRef(EndpointSpec.kind, stored: String((text.removingPercentEncoding ?? text).prefix(200)), in: access.caller.workspace)
}

private func answer(_ json: JSON) -> Response { answer(json.bytes) }

private func answer(_ bytes: [UInt8]) -> Response {
    Response(
        status: .ok, headers: [.contentType: "application/json", .contentLength: String(bytes.count)],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
}

/// An input or output as the protocol describes it: its first dimension is that of the rows.
private func tensor(_ name: String, _ type: DataType) -> JSON {
    var shape: [JSON] = [.int(-1)]
    switch type {
    case .tensor(_, let row): shape += row.map { .int(Int64($0)) }
    case .list: shape.append(.int(-1))
    default: break
    }
    return ["name": .string(name), "datatype": .string(Datatype(of: type).rawValue), "shape": .array(shape)]
}
