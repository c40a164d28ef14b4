import Contracts
import Foundation
import Governance
import HTTPTypes
import Hummingbird

/// Decides who asks, for the hot doors and for every route alike: token, or the local owner on loopback.
public struct RequestGate: Sendable {
    private let tokens: TokenService
    private let audit: AccessAudit
    /// Whether a caller without a token is the local owner: only when the server listens on loopback.
    private let trustsLoopback: Bool
    private let hosts: Set<String>

    /// - Parameter hosts: names that the `Host` header may carry, besides the loopback names.
    public init(tokens: TokenService, audit: AccessAudit, trustsLoopback: Bool, hosts: Set<String>) {
        self.tokens = tokens
        self.audit = audit
        self.trustsLoopback = trustsLoopback
        self.hosts = hosts.union(["localhost", "127.0.0.1", "[::1]"])
    }

    /// - Throws: `unauthenticated` without a valid token where one is needed; `permissionDenied` for a foreign `Host` or `Origin`.
    public func caller(of request: HTTPRequest) throws(KeelError) -> Caller {
        // A page in the local browser must not reach the server under a name of its own (DNS rebinding), nor from its own origin.
        guard let authority = request.authority, hosts.contains(RequestGate.host(authority)) else {
            throw KeelError(
                .permissionDenied, "the Host header '\((request.authority ?? "").prefix(100))' is not a name of this server",
                hint: "list it in server.hosts")
        }
        if let origin = request.headerFields[.origin], origin != "null" || !trustsLoopback {
            guard let scheme = origin.range(of: "://"), hosts.contains(RequestGate.host(String(origin[scheme.upperBound...]))) else {
                throw KeelError(.permissionDenied, "requests from the origin '\(origin.prefix(100))' are not accepted")
            }
        }
        if let authorization = request.headerFields[.authorization] {
            guard let secret = RequestGate.secret(in: authorization), let caller = tokens.authenticate(secret) else {
                throw KeelError(.unauthenticated, "the token is not valid", hint: "keel tokens create makes one; it is shown once")
            }
            return caller
        }
        guard trustsLoopback else {
            throw KeelError(
                .unauthenticated, "a token is needed", hint: "send Authorization: Bearer TOKEN, or set KEEL_TOKEN for the keel command")
        }
        return Caller(name: "local", persona: .owner)
    }

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

    func access(_ caller: Caller) -> RequestAccess {
        let audit = audit
        return RequestAccess(caller: caller) { try await audit.recordDenial($0, action: $1, subject: $2) }
    }

    /// Lower-case host without its port.
    private static func host(_ authority: String) -> String {
        let lower = authority.lowercased()
        if lower.hasPrefix("["), let end = lower.firstIndex(of: "]") { return String(lower[...end]) }
        return String(lower.prefix { $0 != ":" })
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

/// Sets the caller of every request, or answers 401 or 403 before any route runs.
public struct AuthenticationMiddleware: RouterMiddleware {
    private let gate: RequestGate
    public init(gate: RequestGate) { self.gate = gate }

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.access = gate.access(try gate.caller(of: request.head))
        return try await next(request, context)
    }
}
