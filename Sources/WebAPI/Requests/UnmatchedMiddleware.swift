import HTTPTypes
import Hummingbird

/// Refuses what no route takes: 405 with `Allow` for a path that has other methods, else 404. It is the router's last middleware, which only
/// requests without a route reach; the APIs give the error their shape.
public struct UnmatchedMiddleware: RouterMiddleware {
    private let routes: [(method: HTTPRequest.Method, parts: [Substring])]

    /// - Parameter routes: a router's, and those that are answered before it.
    public init(routes: [(method: HTTPRequest.Method, path: String)]) {
        self.routes = routes.map { ($0.method, $0.path.split(separator: "/").map(Substring.init)) }
    }

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        let parts = request.uri.path.split(separator: "/")
        let allowed = Set(routes.filter { UnmatchedMiddleware.matches($0.parts, parts) }.map(\.method.rawValue)).sorted()
        guard !allowed.isEmpty else { throw HTTPError(.notFound) }
        let message =
            "the method \(request.method) is not allowed for \(request.uri.path.prefix(200)): use \(allowed.joined(separator: " or "))"
        throw HTTPError(.methodNotAllowed, headers: [.allow: allowed.joined(separator: ", ")], message: message)
    }

    static func matches(_ route: [Substring], _ parts: [Substring]) -> Bool {
        for (i, part) in route.enumerated() {
            if part == "**" { return parts.count > i }
            guard i < parts.count, part == parts[i] || isParameter(part) && parts[i].hasSuffix(ending(of: part)) else { return false }
        }
        return route.count == parts.count
    }

    /// What stands behind a parameter in its part: `:predict` of `{name}:predict`.
    private static func ending(of part: Substring) -> Substring {
        part.firstIndex(of: "}").map { part[part.index(after: $0)...] } ?? ""
    }

    static func isParameter(_ part: Substring) -> Bool { part.hasPrefix("{") || part.hasPrefix("@{") || part.hasPrefix(":") }
}
