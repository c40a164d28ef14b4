import Contracts
import HTTPTypes
import Hummingbird
import Platform
import WebAPI

/// Registers pages. Each says what its caller must be allowed to do, which is asked before its handler runs, as routes of the API do.
public struct ConsoleRoutes {
    public typealias PageHandler = @Sendable (PageRequest) async throws -> Page
    /// - Returns: the address of the page that shows what was done.
    public typealias FormHandler = @Sendable (PageRequest, Form) async throws -> String
    public typealias DataHandler = @Sendable (PageRequest) async throws -> JSON

    private let routes: APIRoutes
    public let console: Console

    init(_ routes: APIRoutes, _ console: Console) {
        self.routes = routes
        self.console = console
    }

    /// A page: `GET /console/PATH`.
    public func page(_ path: String, _ action: Action, on subject: APIRoutes.Subject = .any, _ handler: @escaping PageHandler) {
        routes.get("/console" + path, action, on: subject) { [console] request, context, grant in
            let page = try await handler(PageRequest(request, context, grant, console))
            return try console.render(page, request, grant.caller)
        }
    }

    /// What a page posts: `POST /console/PATH`, with the form's token. The answer is 303 to the page that shows what was done.
    public func form(_ path: String, _ action: Action, on subject: APIRoutes.Subject = .any, _ handler: @escaping FormHandler) {
        routes.post("/console" + path, action, on: subject) { [console] request, context, grant in
            let form = try await Form.read(request)
            try console.requireOwnForm(request.head, form, grant.caller)
            return ConsoleAnswer.redirect(to: try await handler(PageRequest(request, context, grant, console), form))
        }
    }

    /// A page that is shown in answer to a form, because nothing was changed that a reload could repeat: `POST /console/PATH`.
    public func formPage(
        _ path: String, _ action: Action, on subject: APIRoutes.Subject = .any,
        _ handler: @escaping @Sendable (PageRequest, Form) async throws -> Page
    ) {
        routes.post("/console" + path, action, on: subject) { [console] request, context, grant in
            let form = try await Form.read(request)
            try console.requireOwnForm(request.head, form, grant.caller)
            return try console.render(try await handler(PageRequest(request, context, grant, console), form), request, grant.caller)
        }
    }

    /// Numbers that a page's module asks for: `GET /console/PATH`, JSON.
    public func data(_ path: String, _ action: Action, on subject: APIRoutes.Subject = .any, _ handler: @escaping DataHandler) {
        routes.get("/console" + path, action, on: subject) { [console] request, context, grant in
            ConsoleAnswer.json(try await handler(PageRequest(request, context, grant, console)))
        }
    }

    /// Anything else under `/console` that is asked with GET, such as files.
    public func get(
        _ path: String, _ action: Action, on subject: APIRoutes.Subject = .any,
        _ handler: @escaping @Sendable (PageRequest) async throws -> Response
    ) {
        routes.get("/console" + path, action, on: subject) { [console] request, context, grant in
            try await handler(PageRequest(request, context, grant, console))
        }
    }

    // MARK: For every caller

    /// A page that every caller sees, whatever its role; it shows what the caller may see.
    func pageForEveryCaller(_ path: String, _ handler: @escaping @Sendable (CallerRequest) async throws -> Page) {
        routes.getForEveryCaller("/console" + path) { [console] request, context in
            let asked = try CallerRequest(request, context, console)
            return try console.render(try await handler(asked), request, asked.caller)
        }
    }

    /// What the frame of every page posts. The handler answers itself.
    func postForEveryCaller(_ path: String, _ handler: @escaping @Sendable (CallerRequest, Form) async throws -> Response) {
        routes.router.post(RouterPath("/console" + path)) { [console] request, context in
            let form = try await Form.read(request)
            let asked = try CallerRequest(request, context, console)
            try console.requireOwnForm(request.head, form, asked.caller)
            return try await handler(asked, form)
        }
    }

    func getForEveryCaller(_ path: String, _ handler: @escaping @Sendable (CallerRequest) async throws -> Response) {
        routes.getForEveryCaller("/console" + path) { [console] request, context in
            try await handler(CallerRequest(request, context, console))
        }
    }
}

/// A request of a caller of whom nothing is asked.
struct CallerRequest: Sendable {
    let request: Request
    let caller: Caller
    let console: Console
    let query: PageQuery

    init(_ request: Request, _ context: KeelContext, _ console: Console) throws(KeelError) {
        guard let access = context.access else { throw KeelError(.unauthenticated, "this request has no caller") }
        self.request = request
        self.console = console
        caller = access.caller
        query = PageQuery(path: request.uri.path, query: request.uri.query ?? "")
    }

    var platform: Platform { console.platform }
    var now: Timestamp { console.platform.database.clock.now() }

    /// The grant for a part of the page; nil when the caller may not see it.
    func grant(_ action: Action, on subject: String = "*") -> Grant? { try? Grant.check(caller, may: action, on: subject) }
}

extension Form {
    /// - Throws: `unsupportedMediaType` for anything but a form; `payloadTooLarge` beyond a mebibyte.
    static func read(_ request: Request) async throws -> Form {
        let type = request.headers[.contentType].map { $0.prefix { $0 != ";" }.lowercased() } ?? "application/x-www-form-urlencoded"
        guard type == "application/x-www-form-urlencoded" else {
            throw KeelError(.unsupportedMediaType, "a body of type '\(type.prefix(60))' is not accepted", hint: "post a form")
        }
        return Form(String(buffer: try await request.collected(upTo: bytesMax, hint: "the form is too large")))
    }
}

/// Adds the routes that need no caller: signing in, the assets, and the page at `/`. They are registered before the middleware that asks for a
/// caller.
public func addOpenConsoleRoutes(to routes: APIRoutes, _ console: Console) {
    addSignInRoutes(to: routes, console)
    routes.router.get("/") { _, _ in try console.renderBare("root", title: "Keel", [:], status: .ok) }
    routes.router.get(RouterPath(ConsoleAssets.prefix + "/:digest/**")) { request, context in
        let name = context.parameters.getCatchAll().joined(separator: "/")
        guard let file = console.assets.files[percentDecoded(name)] else {
            throw KeelError.notFound("the console has no file '\(name.prefix(100))'")
        }
        // A page from before an update names another digest: what it gets is not kept.
        let isCurrent = context.parameters.get("digest") == console.assets.digest
        var headers: HTTPFields = [
            .contentType: file.type, .contentLength: String(file.bytes.count),
            .cacheControl: isCurrent ? "public, max-age=31536000, immutable" : "no-cache",
        ]
        ConsoleAnswer.protect(&headers)
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: file.bytes)))
    }
}

/// Adds the pages.
public func addConsoleRoutes(to routes: APIRoutes, _ console: Console) {
    let pages = ConsoleRoutes(routes, console)
    addFrameRoutes(to: pages)
    addWorkspacePage(to: pages)
    addSearchPage(to: pages)
    addLiveRoute(to: pages)
    addHomePage(to: pages)
    addEndpointPages(to: pages)
    addModelPages(to: pages)
    addRunPages(to: pages)
    addPipelinePages(to: pages)
    addDataPages(to: pages)
    addMonitorPages(to: pages)
    addLineagePages(to: pages)
    addLedgerPages(to: pages)
}
