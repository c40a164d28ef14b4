import Contracts
import Hummingbird
import WebAPI

/// The one table of MLflow's routes that Keel does not serve. Each answers 501 with the name of what is missing, so that a person who
/// meets it knows that nothing is broken; `docs/mlflow.md` lists the same routes, and a test compares the two.
enum UnservedRoutes {
    struct Feature {
        let name: String
        /// Under `/api` and `/ajax-api`, as `METHOD[,METHOD] path`.
        var paths: [String] = []
        /// Under `/ajax-api` alone: MLflow's web page asks them.
        var pagePaths: [String] = []
        /// At the server's root.
        var rootPaths: [String] = []
    }

    static let features: [Feature] = [
        Feature(
            name: "traces and assessments",
            paths: [
                "GET 2.0/mlflow/get-online-trace-details", "GET,POST 2.0/mlflow/traces", "POST 2.0/mlflow/traces/delete-traces",
                "POST 2.0/mlflow/traces/link-prompts", "POST 2.0/mlflow/traces/link-to-run", "PATCH 2.0/mlflow/traces/{request_id}",
                "GET 2.0/mlflow/traces/{request_id}/info", "DELETE,PATCH 2.0/mlflow/traces/{request_id}/tags",
                "GET 2.0/mlflow/unified-traces", "POST 3.0/mlflow/traces", "GET 3.0/mlflow/traces/batchGet",
                "POST 3.0/mlflow/traces/batchGetInfos", "POST 3.0/mlflow/traces/calculate-filter-correlation",
                "POST 3.0/mlflow/traces/delete-traces", "GET 3.0/mlflow/traces/get", "POST 3.0/mlflow/traces/metrics",
                "POST 3.0/mlflow/traces/search", "GET 3.0/mlflow/traces/{trace_id}", "POST 3.0/mlflow/traces/{trace_id}/assessments",
                "DELETE,GET,PATCH 3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
                "DELETE,PATCH 3.0/mlflow/traces/{trace_id}/tags",
            ], pagePaths: ["GET 2.0/mlflow/get-trace-artifact", "GET 3.0/mlflow/get-trace-artifact"], rootPaths: ["POST v1/traces"]),
        Feature(
            name: "the AI gateway",
            paths: verbs(
                "3.0/mlflow/gateway/budgets", "POST create", "DELETE delete", "GET get", "GET list", "POST update", "GET windows")
                + verbs(
                    "3.0/mlflow/gateway/endpoints", "POST bindings/create", "DELETE bindings/delete", "GET bindings/list", "POST create",
                    "DELETE delete", "DELETE delete-tag", "GET get", "GET list", "POST models/attach", "POST models/detach", "POST set-tag",
                    "POST update")
                + verbs(
                    "3.0/mlflow/gateway/guardrails", "POST add-to-endpoint", "POST create", "DELETE delete", "GET get", "GET list",
                    "GET list-for-endpoint", "DELETE remove-from-endpoint", "PATCH update-config")
                + verbs("3.0/mlflow/gateway/model-definitions", "POST create", "DELETE delete", "GET get", "GET list", "POST update")
                + verbs("3.0/mlflow/gateway/secrets", "POST create", "DELETE delete", "GET get", "GET list", "POST update"),
            pagePaths: ["GET,POST 2.0/mlflow/gateway-proxy"]
                + verbs(
                    "3.0/mlflow/gateway", "GET provider-config", "GET secrets/config", "GET supported-models", "GET supported-providers"),
            rootPaths: verbs(
                "gateway", "POST anthropic/v1/messages", "POST gemini/v1beta/models/{endpoint_name}", "POST mlflow/v1/chat/completions",
                "GET mlflow/v1/models", "POST openai/v1/chat/completions", "POST openai/v1/embeddings", "POST openai/v1/responses",
                "POST openai/v1/responses/compact", "POST proxy/{endpoint_name}/**", "POST typesafe/v1/systemone",
                "POST {endpoint_name}/mlflow/invocations")),
        Feature(
            name: "scorers",
            paths: verbs(
                "3.0/mlflow/scorers", "DELETE delete", "GET get", "GET list", "PUT online-config", "GET online-configs", "POST register",
                "GET versions"),
            pagePaths: ["POST 3.0/mlflow/scorer/invoke", "POST 3.0/mlflow/genai/evaluate/invoke"]),
        Feature(
            name: "issues", paths: ["POST 3.0/mlflow/issues", "POST 3.0/mlflow/issues/search", "GET,PATCH 3.0/mlflow/issues/{issue_id}"],
            pagePaths: ["POST 3.0/mlflow/issues/invoke"]),
        Feature(
            name: "MLflow's jobs",
            pagePaths: verbs("3.0/jobs", "GET {job_id}", "PATCH cancel/{job_id}", "POST search")
                + verbs("3.0/mlflow/jobs", "GET {job_id}", "PATCH cancel/{job_id}") + ["POST 3.0/jobs"]),
        Feature(
            name: "MLflow's assistant",
            pagePaths: verbs(
                "3.0/mlflow/assistant", "GET,PUT config", "POST message", "GET providers", "GET providers/{provider}/health",
                "GET providers/{provider}/models", "PATCH sessions/{session_id}", "POST sessions/{session_id}/permission",
                "GET sessions/{session_id}/stream", "POST sessions/{session_id}/tool-result", "POST skills/install")),
        Feature(
            name: "label schemas",
            paths: verbs(
                "3.0/mlflow/label-schemas", "POST create", "DELETE delete", "GET get", "GET get-by-name", "GET list", "PATCH update")),
        Feature(
            name: "review queues",
            paths: verbs(
                "3.0/mlflow/review-queues", "POST create", "POST delete", "GET get", "GET get-by-name", "POST get-or-create-user",
                "POST items/add", "GET items/list", "POST items/remove", "POST items/set-status", "GET list", "POST update")),
        Feature(
            name: "the registry of MCP servers",
            paths: ["GET,POST 3.0/mlflow/mcp-servers", "GET 3.0/mlflow/mcp-servers/endpoints"]
                + catalogue("3.0/mlflow/mcp-servers/{name}")
                + verbs("3.0/mlflow/mcp-servers/{name}", "GET,POST endpoints", "DELETE,GET,PATCH endpoints/{endpoint_id}")),
        Feature(
            name: "skills",
            paths: ["GET,POST 3.0/mlflow/skills", "POST 3.0/mlflow/skills/bulk-register"]
                + catalogue("3.0/mlflow/skills/{name}") + catalogue("3.0/mlflow/skills/@{organization}/{name}")),
        Feature(
            name: "prompt optimization",
            paths: verbs(
                "3.0/mlflow/prompt-optimization", "POST jobs", "GET,POST jobs/search", "DELETE,GET jobs/{job_id}",
                "POST jobs/{job_id}/cancel")),
        Feature(
            name: "MLflow's web page",
            pagePaths: [
                "POST 2.0/mlflow/runs/create-promptlab-run", "POST 3.0/mlflow/demo/delete", "POST 3.0/mlflow/demo/generate",
                "GET,POST 3.0/mlflow/ui-telemetry",
            ], rootPaths: ["GET build/{filename}", "GET static-files/**", "GET,POST graphql"]),
    ]

    private static func verbs(_ folder: String, _ verbs: String...) -> [String] {
        verbs.map { verb in
            let space = verb.firstIndex(of: " ") ?? verb.endIndex
            return "\(verb[..<space]) \(folder)/\(verb[space...].dropFirst())"
        }
    }

    /// What a thing with versions, tags and aliases has.
    private static func catalogue(_ thing: String) -> [String] {
        ["DELETE,GET,PATCH \(thing)"]
            + verbs(
                thing, "POST aliases", "DELETE,GET aliases/{alias}", "POST tags", "DELETE tags/{key}", "GET,POST versions",
                "DELETE,GET,PATCH versions/{version}", "POST versions/{version}/tags", "DELETE versions/{version}/tags/{key}")
    }

    static func add(to router: some RouterMethods<KeelContext>) {
        for feature in features {
            for path in feature.rootPaths { add("/", path, feature, to: router) }
            for path in feature.pagePaths { add("/ajax-api/", path, feature, to: router) }
            for prefix in ["/api/", "/ajax-api/"] {
                for path in feature.paths { add(prefix, path, feature, to: router) }
            }
        }
    }

    private static func add(_ prefix: String, _ entry: String, _ feature: Feature, to router: some RouterMethods<KeelContext>) {
        let parts = entry.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        for method in parts[0].split(separator: ",").compactMap({ HTTPRequest.Method(String($0)) }) {
            router.on(RouterPath(prefix + parts[1]), method: method) { request, context in
                await MLflowRoutes.answering {
                    _ = try await context.authorize(.trackingRead)
                    throw KeelError(
                        .notImplemented,
                        "\(request.method) \(request.uri.path.prefix(200)) belongs to \(feature.name), which Keel does not serve.",
                        hint: "docs/mlflow.md lists what it serves; 'keel runs' and 'keel models' show runs and models")
                }
            }
        }
    }
}
