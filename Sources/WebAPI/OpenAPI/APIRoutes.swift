import Contracts
import HTTPTypes
import Hummingbird

/// Registers the routes that the API's document describes. Each says once what its caller must be allowed to do: that is asked before its
/// handler runs, and the document states it.
///
/// What a handler needs besides, another permission or one that depends on the body, it asks of its context. The document does not state
/// that.
public struct APIRoutes {
    /// Answers a request whose caller was granted the route's action.
    public typealias Handler = @Sendable (Request, KeelContext, Grant) async throws -> Response

    /// What a route acts on: the subject of its grant, read from the path before the permission is asked for.
    public struct Subject: Sendable {
        let text: @Sendable (KeelContext) throws -> String
        /// Whether a caller is refused that may do the action to some things only.
        let isWhole: Bool

        /// - Parameter text: `Kind/name`; what it throws is the answer.
        public init(_ text: @escaping @Sendable (KeelContext) throws -> String) { self.init(isWhole: false, text) }
        private init(isWhole: Bool, _ text: @escaping @Sendable (KeelContext) throws -> String) {
            self.isWhole = isWhole
            self.text = text
        }

        /// Nothing of its own: its handler may answer with everything.
        public static let any = Subject(isWhole: true) { _ in "*" }
        /// Things that the path does not say: the verb behind it looks at each.
        public static let each = Subject(isWhole: false) { _ in "*" }
    }

    /// For routes of protocols that have a documentation of their own.
    public let router: Router<KeelContext>
    public let demands: RouteDemands
    private let prefix: String

    public init(_ router: Router<KeelContext>) { self.init(router, RouteDemands(), prefix: "") }

    private init(_ router: Router<KeelContext>, _ demands: RouteDemands, prefix: String) {
        (self.router, self.demands, self.prefix) = (router, demands, prefix)
    }

    /// Registers routes under a path.
    public func group(_ path: String) -> APIRoutes { APIRoutes(router, demands, prefix: prefix + path) }

    public func get(_ path: String, _ action: Action, on subject: Subject = .any, _ handler: @escaping Handler) {
        add(.get, path, action, subject, handler)
    }
    public func post(_ path: String, _ action: Action, on subject: Subject = .any, _ handler: @escaping Handler) {
        add(.post, path, action, subject, handler)
    }
    public func put(_ path: String, _ action: Action, on subject: Subject = .any, _ handler: @escaping Handler) {
        add(.put, path, action, subject, handler)
    }
    public func patch(_ path: String, _ action: Action, on subject: Subject = .any, _ handler: @escaping Handler) {
        add(.patch, path, action, subject, handler)
    }
    public func delete(_ path: String, _ action: Action, on subject: Subject = .any, _ handler: @escaping Handler) {
        add(.delete, path, action, subject, handler)
    }

    /// A GET that every caller with a token may ask.
    public func getForEveryCaller(_ path: String, _ handler: @escaping @Sendable (Request, KeelContext) async throws -> Response) {
        router.on(demanding(.token, .get, path), method: .get, use: handler)
    }

    /// Notes a route that is answered before the router, and asks for nothing.
    public func noteOpen(_ method: HTTPRequest.Method, _ path: String) { _ = demanding(.nothing, method, path) }

    /// Notes a route that is answered before the router; who answers it asks for `action`.
    public func note(_ method: HTTPRequest.Method, _ path: String, _ action: Action) { _ = demanding(.action(action), method, path) }

    private func add(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action, _ subject: Subject, _ handler: @escaping Handler
    ) {
        let path = demanding(.action(action), method, path)
        router.on(path, method: method) { [demands] request, context -> Response in
            let thing = try subject.text(context)
            let grant = try await context.authorize(action, on: thing, isWhole: subject.isWhole)
            try await demands.enforced(method.rawValue, path.description)?.check(request)
            return try await handler(request, context, grant)
        }
    }

    private func demanding(_ demand: RouteDemand, _ method: HTTPRequest.Method, _ path: String) -> RouterPath {
        let path = RouterPath(prefix + path)
        demands.add(demand, of: method.rawValue, path.description)
        return path
    }
}
