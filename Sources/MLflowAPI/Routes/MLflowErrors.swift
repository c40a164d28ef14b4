import Contracts
import HTTPTypes
import Hummingbird
import Platform

/// Whether a path is one of MLflow's, so that its errors have MLflow's shape whoever raises them.
enum MLflowPaths {
    private static let families = [
        "/api/2.0/", "/api/2.0mlflow/", "/api/3.0/", "/ajax-api/", "/gateway/", "/graphql", "/get-artifact", "/model-versions/get-artifact", "/v1/traces",
    ]

    static func contain(_ path: String) -> Bool { families.contains { path.hasPrefix($0) } }
}

/// Gives every error on MLflow's paths MLflow's shape: also those of the parts before its routes, such as authentication.
public struct MLflowErrorMiddleware: RouterMiddleware {
    private let workspace = HTTPField.Name("X-MLFLOW-WORKSPACE")

    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        guard MLflowPaths.contain(request.uri.path) else { return try await next(request, context) }
        do {
            // What was meant for another workspace must not land in this one.
            if let workspace, let name = request.headers[workspace]?.lowercased(), !["", "default"].contains(name) {
                throw KeelError(
                    .notImplemented, "There is no workspace '\(name.prefix(100))': this server has one, 'default'.",
                    hint: "unset MLFLOW_WORKSPACE")
            }
            return try await next(request, context)
        } catch { return MLflowRoutes.failure(error) }
    }
}

/// Answers what no route of MLflow's takes: 405 for a path that has other methods, else 404. It is the router's last middleware, which
/// only requests without a route reach.
struct UnmatchedMiddleware: RouterMiddleware {
    private let routes: [(method: HTTPRequest.Method, parts: [Substring])]

    init(routes: [(method: HTTPRequest.Method, path: String)]) {
        self.routes = routes.map { ($0.method, $0.path.split(separator: "/").map(Substring.init)) }
    }

    func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        guard MLflowPaths.contain(path) else { return try await next(request, context) }
        let parts = path.split(separator: "/")
        let allowed = routes.filter { UnmatchedMiddleware.matches($0.parts, parts) }.map(\.method.rawValue)
        if allowed.isEmpty {
            return MLflowRoutes.failure(.notFound, "ENDPOINT_NOT_FOUND", "There is no endpoint \(request.method) \(path.prefix(200)).")
        }
        var response = MLflowRoutes.failure(
            .methodNotAllowed, "BAD_REQUEST",
            "The method \(request.method) is not allowed for \(path.prefix(200)): use \(allowed.sorted().joined(separator: " or ")).")
        response.headers[.allow] = allowed.sorted().joined(separator: ", ")
        return response
    }

    private static func matches(_ route: [Substring], _ parts: [Substring]) -> Bool {
        for (i, part) in route.enumerated() {
            if part == "**" { return parts.count > i }
            guard i < parts.count, part.hasPrefix("{") || part.hasPrefix("@{") || part.hasPrefix(":") || part == parts[i] else { return false }
        }
        return route.count == parts.count
    }
}
