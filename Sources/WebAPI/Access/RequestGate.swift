import Contracts
import Foundation
import Governance
import HTTPTypes
import Hummingbird

/// Decides who sent a request, and in which workspace: whoever a token stands for, or the local owner.
public struct RequestGate: Sendable {
    /// Why a request has no caller. What the ledger says of it is `authenticate.` and this word.
    enum Refusal: String {
        case token, none, host, origin, forwarded, type, workspace, unready, session
    }

    private let tokens: TokenService
    private let authenticators: [any Authenticator]
    private let policy: AccessPolicy
    private let audit: AccessAudit
    private let owner: LocalOwner?
    private let hosts: Set<String>
    /// Who signed in in a browser; nil where there are no pages.
    private let sessions: BrowserSessions?

    /// Names the workspace that a request is for, in Keel's way and in MLflow's; without it, the caller's own.
    static let workspaceFields = ["Keel-Workspace", "X-MLFLOW-WORKSPACE"]

    /// - Parameters:
    ///   - authenticators: say who holds a token that is not one of Keel's, in this order.
    ///   - owner: who needs no token; nil when everyone does.
    ///   - hosts: names that the `Host` header may carry, besides the loopback names.
    ///   - sessions: of browsers, and the pages that they are for.
    public init(
        tokens: TokenService, authenticators: [any Authenticator] = [], policy: AccessPolicy, audit: AccessAudit, owner: LocalOwner?,
        hosts: [String], sessions: BrowserSessions? = nil
    ) {
        self.sessions = sessions
        self.tokens = tokens
        self.authenticators = [tokens] + authenticators
        self.policy = policy
        self.audit = audit
        self.owner = owner
        self.hosts = Set(hosts.map { $0.lowercased() }).union(LocalOwner.hosts)
    }

    /// What the head says of its sender and of the workspace. It depends on the head and the connection alone, so it holds for every request of the
    /// connection with the same head; whether the sender is let in is asked anew each time. A refusal is recorded, and a client that is refused too often
    /// gets `tooManyRequests`.
    /// - Throws: `unauthenticated` without a token where one is needed; `permissionDenied` for a foreign `Host` or `Origin`; `unsupportedMediaType` for a
    ///   body that any web page may send.
    package func claim(of request: HTTPRequest, on connection: HTTPConnection) throws(KeelError) -> RequestClaim {
        do { return try read(request, connection).get() } catch { throw refusal(error, of: connection) }
    }

    /// Who stands behind a claim now.
    /// - Throws: `unauthenticated` for a token that is not valid, which is recorded and limited as other refusals are.
    package func caller(_ claim: RequestClaim, on connection: HTTPConnection) throws(KeelError) -> Caller {
        do {
            let caller = try holder(of: claim).get()
            audit.noteLogin(of: caller, from: connection.client)
            return caller
        } catch { throw refusal(error, of: connection) }
    }

    private func refusal(_ refused: Refused, of connection: HTTPConnection) -> KeelError {
        // After a restart every open browser comes with a cookie of before: that is no attack, and 256 random bits are guessed by nobody.
        guard refused.reason != .session else { return refused.error }
        guard audit.noteRefusedLogin(of: connection.client, because: refused.reason.rawValue) else { return refused.error }
        return KeelError(
            .tooManyRequests, "too many requests of \(connection.client) were refused: \(refused.error.message)",
            hint: "wait a second; \(refused.error.hint ?? "")")
    }

    private struct Refused: Error {
        let reason: Refusal
        let error: KeelError

        init(_ reason: Refusal, _ code: KeelError.Code, _ message: String, _ hint: String? = nil) {
            self.init(reason, KeelError(code, message, hint: hint))
        }

        init(_ reason: Refusal, _ error: KeelError) {
            self.reason = reason
            self.error = error
        }
    }

    private func read(_ request: HTTPRequest, _ connection: HTTPConnection) -> Result<RequestClaim, Refused> {
        let authority: String
        switch RequestGate.ownAuthority(of: request, hosts) {
        case .success(let own): authority = own
        case .failure(let refused): return .failure(refused)
        }
        let isPage = sessions?.covers(request.path ?? "") ?? false
        let hasToken = request.headerFields[.authorization] != nil
        let session = isPage && !hasToken ? BrowserSessions.session(of: request, port: connection.port) : nil
        if let origin = request.headerFields[.origin]?.lowercased() {
            // A proxy in front may end TLS: a page of this server is then under https, and what it sends carries a token or the cookie.
            let isOwn = origin == "\(connection.scheme)://\(authority)" || (hasToken || session != nil) && origin == "https://\(authority)"
            guard isOwn else { return .failure(RequestGate.foreign(origin)) }
        }
        let workspace: WorkspaceID?
        let seenLast: WorkspaceID?
        do throws(KeelError) {
            workspace = try RequestGate.workspace(of: request, isPage: isPage)
            seenLast = workspace == nil && isPage ? RequestGate.workspaceSeenLast(request, on: connection) : nil
        } catch { return .failure(Refused(.workspace, error)) }
        if let authorization = request.headerFields[.authorization] {
            return .success(RequestClaim(sender: .holder(of: RequestGate.secret(in: authorization) ?? ""), workspace: workspace))
        }
        if let session {
            guard !RequestGate.isFromOtherSite(request) || RequestGate.isNavigation(request) else {
                return .failure(Refused(.origin, .permissionDenied, "requests from pages of other sites are not accepted"))
            }
            return .success(RequestClaim(sender: .session(session), workspace: workspace ?? seenLast, isPreference: workspace == nil))
        }
        guard let owner else {
            return .failure(Refused(.none, .unauthenticated, "a token is needed", RequestGate.tokenHint))
        }
        if let (reason, code, message, hint) = owner.objection(to: request, authority: authority, isPage: isPage, on: connection) {
            return .failure(Refused(reason, code, message, hint ?? RequestGate.tokenHint))
        }
        return .success(RequestClaim(sender: .owner, workspace: workspace ?? seenLast, isPreference: workspace == nil))
    }

    /// The lower-case `Host`, when it is a name of this server.
    private static func ownAuthority(of request: HTTPRequest, _ hosts: Set<String>) -> Result<String, Refused> {
        // A page in a browser must not reach the server under a name of its own (DNS rebinding).
        guard let authority = request.authority?.lowercased(), hosts.contains(RequestGate.host(authority)) else {
            return .failure(
                Refused(
                    .host, .permissionDenied, "the Host header '\((request.authority ?? "").prefix(100))' is not a name of this server",
                    "list it in the setting hosts"))
        }
        // RFC 9112, 3.2: which of two hosts is meant nobody knows.
        guard !RequestGate.hasSecondHost(request) else {
            return .failure(Refused(.host, .permissionDenied, "the request names two hosts"))
        }
        return .success(authority)
    }

    private static func foreign(_ origin: String) -> Refused {
        Refused(.origin, .permissionDenied, "requests from the origin '\(origin.prefix(100))' are not accepted")
    }

    /// Whether a page of another site sent it, by what browsers say.
    static func isFromOtherSite(_ request: HTTPRequest) -> Bool {
        guard let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headerFields[name] else { return false }
        return site != "same-origin" && site != "none"
    }

    /// Whether a browser opens a page of its own window with it, as for a link: what it answers no other page can read.
    static func isNavigation(_ request: HTTPRequest) -> Bool {
        guard request.method == .get, let mode = HTTPField.Name("Sec-Fetch-Mode"), let target = HTTPField.Name("Sec-Fetch-Dest") else { return false }
        return request.headerFields[mode] == "navigate" && request.headerFields[target] == "document"
    }

    private func holder(of claim: RequestClaim) -> Result<Caller, Refused> {
        let workspace = claim.workspace
        let credential: String
        switch claim.sender {
        case .owner: return caller(.local, in: workspace, isPreference: claim.isPreference)
        case .session(let session):
            guard let kept = sessions?.credential(session) else { return .failure(RequestGate.ended) }
            switch principal(of: kept) {
            case .success(let principal): return caller(principal, in: workspace, isPreference: claim.isPreference)
            case .failure(let refused):
                if refused.reason != .unready { sessions?.end(session) }
                return .failure(refused.reason == .unready ? refused : RequestGate.ended)
            }
        case .holder(let given): credential = given
        }
        if let borrower = tokens.borrower(credential) {
            guard workspace == nil || workspace == borrower.workspace else {
                return .failure(
                    Refused(.workspace, .permissionDenied, "this secret is good in the workspace '\(borrower.workspace)' only"))
            }
            return .success(borrower)
        }
        switch principal(of: credential) {
        case .success(let principal): return caller(principal, in: workspace)
        case .failure(let refused): return .failure(refused)
        }
    }

    /// Who holds a token.
    private func principal(of credential: String) -> Result<Principal, Refused> {
        do throws(KeelError) {
            for authenticator in authenticators {
                if let principal = try authenticator.principal(of: credential) { return .success(principal) }
            }
        } catch { return .failure(Refused(error.code == .unavailable ? .unready : .token, error)) }
        return .failure(
            Refused(.token, .unauthenticated, "the token is not valid", "keel tokens create makes one; it is shown once"))
    }

    private func caller(_ principal: Principal, in workspace: WorkspaceID?, isPreference: Bool = false) -> Result<Caller, Refused> {
        do throws(KeelError) { return .success(try policy.caller(principal, in: workspace)) } catch {
            if isPreference, workspace != nil { return caller(principal, in: nil) }
            return .failure(Refused(.workspace, error))
        }
    }

    private static let ended = Refused(.session, .unauthenticated, "you are signed out: the session or its token has ended", "sign in again")

    // MARK: Browsers

    /// Begins a session for whoever holds a token, from the form of the console's own page.
    /// - Returns: the cookie's value.
    /// - Throws: `permissionDenied` for a form of another site; `unauthenticated` for a token that is not valid, which is recorded and limited as other
    ///   refusals are.
    public func signIn(_ token: String, by request: HTTPRequest, on connection: HTTPConnection) throws(KeelError) -> String {
        do throws(Refused) {
            try requireOwnForm(request, connection)
            guard let sessions else { throw Refused(.session, .notImplemented, "this server has no sessions") }
            let principal = try principal(of: token).get()
            audit.noteLogin(of: try caller(principal, in: nil).get(), from: connection.client)
            return sessions.begin(token)
        } catch { throw refusal(error, of: connection) }
    }

    /// Ends the session that a request's cookie names.
    public func signOut(_ request: HTTPRequest, on connection: HTTPConnection) {
        if let session = BrowserSessions.session(of: request, port: connection.port) { sessions?.end(session) }
    }

    /// Who sends a request that takes long, now: its token may have been revoked meanwhile.
    public func current(_ request: HTTPRequest, on connection: HTTPConnection) -> Caller? {
        guard let claim = try? read(request, connection).get() else { return nil }
        return try? holder(of: claim).get()
    }

    /// - Throws: when a form was not posted by a page of this server.
    private func requireOwnForm(_ request: HTTPRequest, _ connection: HTTPConnection) throws(Refused) {
        let authority = try RequestGate.ownAuthority(of: request, hosts).get()
        let origin = request.headerFields[.origin]?.lowercased() ?? ""
        guard origin == "\(connection.scheme)://\(authority)" || origin == "https://\(authority)", !RequestGate.isFromOtherSite(request) else {
            throw RequestGate.foreign(origin)
        }
    }

    /// - Parameter isPage: whether it is for a page, whose address may name the workspace.
    /// - Throws: `invalidArgument` for what cannot name a workspace, and for two different names.
    private static func workspace(of request: HTTPRequest, isPage: Bool = false) throws(KeelError) -> WorkspaceID? {
        var found: WorkspaceID?
        if isPage, let query = request.path?.split(separator: "?", maxSplits: 1).dropFirst().first {
            for pair in query.split(separator: "&") where pair.hasPrefix("workspace=") && pair.count > "workspace=".count {
                found = try WorkspaceID(percentDecoded(pair.dropFirst("workspace=".count)), path: "workspace")
            }
        }
        for field in fields {
            for name in request.headerFields[values: field] where !name.isEmpty {
                let workspace = try WorkspaceID(name, path: field.canonicalName)
                guard found == nil || found == workspace else {
                    throw .invalid("the request names two workspaces, '\(found?.name ?? "")' and '\(name)'", path: field.canonicalName)
                }
                found = workspace
            }
        }
        return found
    }
    private static let fields = workspaceFields.compactMap { HTTPField.Name($0) }

    /// The workspace that a browser showed last.
    private static func workspaceSeenLast(_ request: HTTPRequest, on connection: HTTPConnection) -> WorkspaceID? {
        BrowserSessions.cookie(BrowserSessions.workspaceCookieName(port: connection.port), of: request).flatMap { try? WorkspaceID($0) }
    }

    private static let tokenHint = "send Authorization: Bearer TOKEN, or set KEEL_TOKEN for the keel command"

    /// The grant; a denial is recorded in the ledger without making the caller wait.
    public func grant(_ caller: Caller, may action: Action, on subject: String) throws(KeelError) -> Grant {
        do throws(KeelError) {
            return try Grant.check(caller, may: action, on: subject)
        } catch {
            let audit = audit
            Task { try await audit.recordDenial(caller, action: action, subject: subject) }
            throw error
        }
    }

    /// Checks the same for a thing that is named whole, without making a grant: the hot routes call it for every request.
    public func require(_ caller: Caller, may action: Action, on thing: ResourceRef) throws(KeelError) {
        if caller.may(action, on: thing) { return }
        _ = try grant(caller, may: action, on: thing.subject)
    }

    func access(_ caller: Caller) -> RequestAccess {
        let audit = audit
        return RequestAccess(caller: caller) { try await audit.recordDenial($0, action: $1, subject: $2) }
    }

    /// The first Host field is the request's authority, and not among its fields.
    private static func hasSecondHost(_ request: HTTPRequest) -> Bool { hostField.map { request.headerFields[$0] != nil } ?? false }
    private static let hostField = HTTPField.Name("Host")

    /// The host without its port.
    private static func host(_ authority: String) -> String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") { return String(authority[...end]) }
        return String(authority.prefix { $0 != ":" })
    }

    /// `Bearer TOKEN`, or `Basic base64(anyone:TOKEN)` as MLflow's client sends.
    private static func secret(in authorization: String) -> String? {
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0].lowercased() {
        case "bearer": return String(parts[1])
        case "basic":
            guard let data = Data(base64Encoded: String(parts[1])), let pair = String(data: data, encoding: .utf8),
                let colon = pair.firstIndex(of: ":")
            else { return nil }
            return String(pair[pair.index(after: colon)...])
        default: return nil
        }
    }
}

/// Gives every request the caller that was found when its head arrived, or answers why there is none before any route runs.
public struct AuthenticationMiddleware: RouterMiddleware {
    private let gate: RequestGate
    public init(gate: RequestGate) { self.gate = gate }

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        guard let connection = HTTPConnection.current else { throw KeelError(.unauthenticated, "this request has no connection") }
        var context = context
        context.access = gate.access(try connection.caller())
        return try await next(request, context)
    }
}
