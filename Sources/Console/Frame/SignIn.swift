import Contracts
import HTTPTypes
import Hummingbird
import WebAPI

/// Signing in with a token, which the form posts; the cookie that the answer sets is good for the console's pages alone.
func addSignInRoutes(to routes: APIRoutes, _ console: Console) {
    routes.router.get("/console/sign-in") { request, _ in
        try console.signInPage(to: SignIn.destination(request.query("to")), problem: nil, status: .ok)
    }
    routes.router.post("/console/sign-in") { request, _ in
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        let form = try await Form.read(request)
        let to = SignIn.destination(form["to"])
        do throws(KeelError) {
            let secret = try console.gate.signIn(form["token"]?.filter { !$0.isWhitespace } ?? "", by: request.head, on: connection)
            var response = ConsoleAnswer.redirect(to: to)
            response.headers.append(HTTPField(name: .setCookie, value: SignIn.cookie(secret, request, connection)))
            return response
        } catch {
            guard error.code != .permissionDenied else { throw error }
            return try console.signInPage(to: to, problem: error, status: error.code.status)
        }
    }
    routes.router.get("/console/session") { request, _ in
        let isSignedIn = HTTPConnection.current.flatMap { console.gate.current(request.head, on: $0) } != nil
        return Response(status: isSignedIn ? .noContent : .unauthorized, headers: [.cacheControl: "no-store"])
    }
}

package enum SignIn {
    /// Where to go afterwards: a page of the console, whatever the address says.
    package static func destination(_ text: String?) -> String {
        guard let text, text == "/console" || text.hasPrefix("/console/") || text.hasPrefix("/console?"), text.utf8.count <= 2000,
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x5c }), !text.hasPrefix("/console/sign-")
        else { return "/console" }
        return text
    }

    static func cookie(_ secret: String, _ request: Request, _ connection: HTTPConnection) -> String {
        // Behind a proxy that ends TLS the page is under https, and its cookie goes nowhere else.
        let isSecure = connection.isEncrypted || request.headers[.origin]?.hasPrefix("https://") == true
        return
            "\(BrowserSessions.cookieName(port: connection.port))=\(secret); Path=/console; HttpOnly; SameSite=Strict\(isSecure ? "; Secure" : "")"
    }

    static func expiredCookie(_ connection: HTTPConnection) -> String {
        "\(BrowserSessions.cookieName(port: connection.port))=; Path=/console; HttpOnly; SameSite=Strict; Max-Age=0"
    }
}

extension Console {
    /// - Parameter to: the page that is shown when somebody has signed in.
    func signInPage(to: String, problem: KeelError?, status: HTTPResponse.Status) throws(KeelError) -> Response {
        var response = try renderBare(
            "sign-in", title: "Sign in",
            ["to": to, "problem": problem?.message ?? false, "hint": problem?.hint ?? false, "hasProblem": problem != nil], status: status)
        // A cookie of a session that has ended would keep the local owner out.
        if let connection = HTTPConnection.current, problem?.message.hasPrefix("you are signed out") == true {
            response.headers[.setCookie] = SignIn.expiredCookie(connection)
        }
        return response
    }
}

/// What the frame itself posts: leaving, and another workspace.
func addFrameRoutes(to pages: ConsoleRoutes) {
    pages.postForEveryCaller("/sign-out") { asked, _ in
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        asked.console.gate.signOut(asked.request.head, on: connection)
        var response = ConsoleAnswer.redirect(to: "/console/sign-in")
        response.headers[.setCookie] = SignIn.expiredCookie(connection)
        return response
    }
}
