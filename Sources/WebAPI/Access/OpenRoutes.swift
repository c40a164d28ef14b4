import HTTPTypes

/// The routes that need no caller: those that were registered before the middleware that asks for one.
public struct OpenRoutes: Sendable {
    private let routes: [(method: HTTPRequest.Method, prefix: String, parts: [Substring])]

    public init(_ routes: [(method: HTTPRequest.Method, path: String)]) {
        self.routes = routes.map { route in
            let parts = route.path.split(separator: "/")
            let fixed = parts.prefix { !UnmatchedMiddleware.isParameter($0) }
            return (route.method, "/" + fixed.joined(separator: "/"), parts)
        }
    }

    func contains(_ head: HTTPRequest) -> Bool {
        guard let target = head.path else { return false }
        return routes.contains { route in
            guard route.method == head.method, target.hasPrefix(route.prefix) else { return false }
            return UnmatchedMiddleware.matches(route.parts, target.prefix { $0 != "?" }.split(separator: "/"))
        }
    }
}
