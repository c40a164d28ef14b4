import Contracts
import Hummingbird
import Serving
import WebAPI

/// Triton's model repository extension. What serves is decided by releases, which pass gates: so the index is whole, loading says whether the endpoint
/// serves already, and unloading is refused with what does it.
func addRepositoryRoutes(to routes: APIRoutes, _ runtime: ServingRuntime) {
    routes.post("/v2/repository/index", .predict, on: .each) { request, _, grant in
        let reader = try FieldReader(try await body(of: request), path: "")
        let readyOnly = try reader.optionalBool("ready") ?? false
        try reader.finish()
        let entries = runtime.status().filter { grant.covers($0.ref) }.flatMap { index($0, runtime) }
        return try await request.answer(.array(entries.filter { !readyOnly || $0["state"] == "READY" }))
    }
    routes.post("/v2/repository/models/:name/load", .predict, on: .endpoint) { request, context, _ in
        let reader = try FieldReader(try await body(of: request), path: "")
        let parameters = reader.optional("parameters")?.members ?? []
        try reader.finish()
        if let first = parameters.first {
            throw KeelError.invalid(
                "a model cannot be given a configuration or files here", hint: "register it, and release it to the endpoint",
                path: "parameters.\(first.key.prefix(60))")
        }
        let endpoint = try NamedEndpoint.asked(context)
        guard !runtime.versions(endpoint: endpoint).isEmpty else {
            let why = runtime.whyNotServing(endpoint)
            throw KeelError.invalid(
                "\(why.message): models are not loaded but released", hint: "keel deploy models:/NAME/VERSION --endpoint \(endpoint.qualifiedName)")
        }
        return Response(status: .ok)
    }
    routes.post("/v2/repository/models/:name/unload", .predict, on: .endpoint) { _, context, _ in
        let endpoint = try NamedEndpoint.asked(context)
        guard runtime.status(endpoint: endpoint) != nil else { throw runtime.whyNotServing(endpoint) }
        throw KeelError.invalid(
            "what serves is not unloaded through this protocol",
            hint: "keel delete endpoint \(endpoint.qualifiedName) takes the endpoint away; a rollback goes back to the release before")
    }
}

/// Clients send no body, an empty one or an object.
private func body(of request: Request) async throws -> JSON {
    let bytes = try await request.inflated(upTo: 1 << 20)
    return bytes.isEmpty ? .object([]) : try JSON.parse(bytes)
}

/// An entry for each version that serves, or one that says why none does.
private func index(_ status: EndpointStatus, _ runtime: ServingRuntime) -> [JSON] {
    let name = JSON.string(status.ref.qualifiedName)
    let versions = runtime.versions(endpoint: status.ref)
    guard !versions.isEmpty else {
        return [["name": name, "version": "", "state": "UNAVAILABLE", "reason": .string(runtime.whyNotServing(status.ref).message)]]
    }
    return versions.map { ["name": name, "version": .string($0), "state": "READY", "reason": ""] }
}
