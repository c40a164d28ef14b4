import Contracts
import HTTPTypes
import Hummingbird
import WebAPI

/// Whether a path is one of MLflow's, so that its errors have MLflow's shape whoever raises them.
enum MLflowPaths {
    private static let families = [
        "/api/2.0/", "/api/2.0mlflow/", "/api/3.0/", "/ajax-api/", "/gateway/", "/graphql", "/get-artifact", "/model-versions/get-artifact",
        "/v1/traces",
    ]

    static func contain(_ path: String) -> Bool { families.contains { path.hasPrefix($0) } }
}

/// Gives every error on MLflow's paths MLflow's shape: also those of the parts before its routes, such as authentication.
public struct MLflowErrorMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        guard MLflowPaths.contain(request.uri.path) else { return try await next(request, context) }
        do {
            return try await next(request, context)
        } catch let error as HTTPError where error.status == .notFound {
            return MLflowRoutes.failure(
                .notFound, "ENDPOINT_NOT_FOUND", "There is no endpoint \(request.method) \(request.uri.path.prefix(200)).")
        } catch let error as HTTPError where error.status == .methodNotAllowed {
            var response = MLflowRoutes.failure(
                .methodNotAllowed, "BAD_REQUEST", "Bad Request: \(error.body ?? "the method is not allowed").")
            response.headers[.allow] = error.headers[.allow]
            return response
        } catch let error as KeelError where error.code == .unsupportedMediaType {
            return MLflowRoutes.failure(MLflowRoutes.wrongType(of: request))
        } catch { return MLflowRoutes.failure(error) }
    }
}
