import Contracts
import HTTPTypes
import Hummingbird
import Platform
import WebAPI

/// What every page needs: the services, the templates, the assets, and what proves that a form is of the console's own pages.
public final class Console: Sendable {
    let platform: Platform
    let gate: RequestGate
    let assets: ConsoleAssets
    let live: LiveEvents
    private let templates: Templates
    private let proof = FormProof(key: Identifier.hex32() + Identifier.hex32())

    /// - Parameter vendor: the folder of htmx and ECharts, by `ConsoleVendor.folder`; nil when they are not installed.
    /// - Throws: `internal` for a template that cannot be read.
    public init(platform: Platform, gate: RequestGate, vendor: String?) throws(KeelError) {
        self.platform = platform
        self.gate = gate
        assets = ConsoleAssets(vendor: vendor)
        live = LiveEvents(database: platform.database)
        templates = try Templates()
        platform.tracking.changes.observe { [live] run in live.changed(run: run) }
        platform.endpointHistory.observe { [live] endpoints in live.ended(minuteOf: endpoints) }
    }

    /// Follows the ledger for open pages, until the task is cancelled.
    public func run() async { await live.run() }

    /// Ends what open pages listen to; for the shutdown, before it waits for answers to end.
    public func close() { live.close() }

    // MARK: Pages

    func render(_ page: Page, _ request: Request, _ caller: Caller, status: HTTPResponse.Status = .ok) throws(KeelError) -> Response {
        let isFragment = HTTPField.Name("HX-Request").map { request.headers[$0] == "true" } ?? false
        var view = page.view
        var frame = bareFrame(title: page.title)
        frame["isFragment"] = isFragment
        frame["csrf"] = formToken(of: request.head, caller)
        frame["path"] = request.uri.description
        frame["who"] = caller.name
        frame["role"] = caller.persona.rawValue
        frame["workspace"] = caller.workspace.name
        frame["isSignedIn"] = session(of: request.head) != nil
        frame["breadcrumbs"] = page.breadcrumbs.map { ["title": $0.title, "path": $0.path] as View }
        frame["hasBreadcrumbs"] = !page.breadcrumbs.isEmpty
        frame["sections"] = ConsoleSection.all.filter { $0.action.map { caller.actions.contains($0) } ?? true }.map { section in
            ["title": section.title, "path": section.path, "isCurrent": section == page.section] as View
        }
        view["frame"] = frame
        let text = try templates.render(view, with: page.template)
        var response = ConsoleAnswer.html(text, status: status, policy: page.policy)
        if isFragment { response.headers[.vary] = "HX-Request" }
        if let workspace = request.query("workspace"), workspace == caller.workspace.name, let connection = HTTPConnection.current {
            response.headers[.setCookie] = ConsoleAnswer.workspaceCookie(workspace, on: connection)
        }
        return response
    }

    /// A page without a caller: nothing of the server is on it.
    func renderBare(_ template: String, title: String, _ view: View, status: HTTPResponse.Status) throws(KeelError) -> Response {
        var view = view
        view["frame"] = bareFrame(title: title)
        return ConsoleAnswer.html(try templates.render(view, with: template), status: status)
    }

    private func bareFrame(title: String) -> View {
        var frame: View = ["title": title, "isFragment": false, "version": KeelVersion.text]
        for (key, name) in [("css", "console.css"), ("theme", "theme.js"), ("icon", "icon.svg"), ("signInModule", "sign-in.js"), ("addressModule", "address.js")] {
            frame[key] = assets.address(name) ?? false
        }
        frame["modules"] = ["live.js", "search.js", "table.js", "charts.js", "save.js"].compactMap { assets.address($0) }
        frame["scripts"] = [
            assets.address(in: "vendor/htmx/", ending: "htmx-2.min.js"), assets.address(in: "vendor/htmx/", ending: "hx-sse-2.min.js"),
        ]
        .compactMap { $0 }
        frame["charts"] = assets.address(in: "vendor/echarts/", ending: "index.js") ?? false
        return frame
    }

    // MARK: Forms

    func formToken(of request: HTTPRequest, _ caller: Caller) -> String { proof.token(session: session(of: request), caller) }

    func session(of request: HTTPRequest) -> Digest? {
        HTTPConnection.current.flatMap { BrowserSessions.session(of: request, port: $0.port) }
    }

    /// - Throws: `permissionDenied` for a form that none of the console's pages, as it is now, has posted. A request with a token of its own needs
    ///   none: no browser sends that by itself.
    func requireOwnForm(_ request: HTTPRequest, _ form: Form, _ caller: Caller) throws(KeelError) {
        guard request.headerFields[.authorization] == nil else { return }
        // Whether it is this server's the gate has seen.
        guard request.headerFields[.origin] != nil else {
            throw KeelError(
                .permissionDenied, "the form says not which page it is from", hint: "use a browser that sends Origin, or a token")
        }
        let given = HTTPField.Name("X-CSRF-Token").flatMap { request.headerFields[$0] } ?? form["csrf"] ?? ""
        try proof.require(given, session: session(of: request), caller)
    }
}

/// Answers of the console and the headers that they all have.
enum ConsoleAnswer {
    private static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        + "frame-ancestors 'none'; base-uri 'none'"

    static func html(_ text: String, status: HTTPResponse.Status = .ok, policy extra: [String] = []) -> Response {
        respond(Array(text.utf8), "text/html; charset=utf-8", status: status, policy: extra)
    }

    static func json(_ json: JSON) -> Response { respond(json.bytes, "application/json", status: .ok, policy: []) }

    private static func respond(_ bytes: [UInt8], _ type: String, status: HTTPResponse.Status, policy extra: [String]) -> Response {
        var headers: HTTPFields = [.contentType: type, .contentLength: String(bytes.count), .cacheControl: "no-store"]
        protect(&headers, policy: extra)
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// `Referrer-Policy: same-origin` and not `no-referrer`: with that a browser says `Origin: null` of the console's own forms.
    static func protect(_ headers: inout HTTPFields, policy extra: [String] = []) {
        let fields = [
            ("Content-Security-Policy", ([policy] + extra).joined(separator: "; ")), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"), ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        for (name, value) in fields { if let name = HTTPField.Name(name) { headers[name] = value } }
    }

    /// 303: the browser asks for the page anew, and a reload posts nothing again. htmx follows it as well.
    static func redirect(to path: String) -> Response {
        var headers: HTTPFields = [.location: path, .cacheControl: "no-store", .contentLength: "0"]
        protect(&headers)
        return Response(status: .seeOther, headers: headers)
    }

    static func workspaceCookie(_ name: String, on connection: HTTPConnection) -> String {
        let cookie = "\(BrowserSessions.workspaceCookieName(port: connection.port))=\(name); Path=/console; HttpOnly; SameSite=Strict"
        return cookie + (connection.isEncrypted ? "; Secure" : "")
    }
}
