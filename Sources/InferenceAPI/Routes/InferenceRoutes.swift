import Serving
import WebAPI

/// The protocols that ask endpoints for predictions, but for the routes that `InferenceHandler` answers before the router.
public func addInferenceRoutes(to routes: APIRoutes, runtime: ServingRuntime, version: String) {
    for route in InferenceHandler.routes { routes.note(route.method, route.path, InferenceHandler.action) }
    addOpenInferenceRoutes(to: routes, runtime, version: version)
    addRepositoryRoutes(to: routes, runtime)
    addVersionOneRoutes(to: routes, runtime)
    addScoringRoutes(to: routes, runtime)
}
