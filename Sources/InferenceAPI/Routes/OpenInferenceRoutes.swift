import Contracts
import Hummingbird
import Serving
import WebAPI

/// The parts of the Open Inference Protocol that need no speed, with Triton's extensions for configurations and statistics.
func addOpenInferenceRoutes(to routes: APIRoutes, _ runtime: ServingRuntime, version: String) {
    routes.get("/v2", .serverRead) { request, _, _ in
        try await request.answer([
            "name": "keel", "version": .string(version),
            "extensions": [
                "classification", "model_configuration", "model_repository", "binary_tensor_data", "parameters", "statistics",
            ],
        ])
    }
    routes.getForEveryCaller("/v2/health/live") { request, _ in try await request.answer(["live": true]) }
    routes.getForEveryCaller("/v2/health/ready") { request, _ in try await request.answer(["ready": true]) }
    // A version is that of the model: an endpoint serves one, and a second while a rollout runs.
    for path in ["/v2/models/:name", "/v2/models/:name/versions/:version"] {
        routes.getForEveryCaller("\(path)/ready") { request, context in
            try await request.answer(["name": .string(NamedEndpoint(context, runtime).ref.qualifiedName), "ready": true])
        }
        routes.get(path, .predict, on: .endpoint) { request, context, _ in
            try await request.answer(NamedEndpoint(context, runtime).description(runtime).metadata)
        }
        routes.get("\(path)/config", .predict, on: .endpoint) { request, context, _ in
            try await request.answer(NamedEndpoint(context, runtime).description(runtime).configuration)
        }
        routes.get("\(path)/stats", .predict, on: .endpoint) { request, context, _ in
            let endpoint = try NamedEndpoint(context, runtime)
            let version = context.parameters.get("version")
            let entries = runtime.status(endpoint: endpoint.ref).map { ModelStatistics.json($0, version: version) } ?? []
            return try await request.answer(["model_stats": .array(entries)])
        }
    }
    routes.get("/v2/models/stats", .predict, on: .each) { request, _, grant in
        let entries = runtime.status().filter { grant.covers($0.ref) }.flatMap { ModelStatistics.json($0) }
        return try await request.answer(["model_stats": .array(entries)])
    }
}
