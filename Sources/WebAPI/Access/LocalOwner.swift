import Contracts
import HTTPTypes

/// The person at the machine, who needs no token: the other end of a loopback connection, if it belongs to the server's own user.
///
/// That a connection comes from loopback proves nothing: a proxy forwards requests of anyone, and a browser sends those of any page. So the
/// kernel is asked whose the other end is, nothing may say that the request was forwarded, and it must be one that no foreign page can send
/// (docs/decisions/0019).
public struct LocalOwner: Sendable {
    static let hosts: Set<String> = ["localhost", "127.0.0.1", "[::1]"]
    private static let forwarding = ["forwarded", "via", "x-real-ip"]
    /// The types that a page may post to another origin without asking it first, and none at all.
    private static let simpleTypes = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]

    private let acceptsAnyType: Set<String>
    private let acceptsNoType: String

    /// - Parameters:
    ///   - acceptsAnyType: paths whose bodies are files, which may be of any type.
    ///   - acceptsNoType: the beginning of paths whose clients name no type, as those of the Open Inference Protocol. A page's request has an
    ///     `Origin` and is refused by that.
    public init(acceptsAnyType: Set<String>, acceptsNoType: String) {
        self.acceptsAnyType = acceptsAnyType
        self.acceptsNoType = acceptsNoType
    }

    /// Why a request without a token is not the owner's; nil when it is. `authority` is the lower-case `Host`, whose name is right.
    /// - Parameter isPage: whether it is for a page of the console. A link of another site may open one, which changes nothing and tells that site nothing; a
    ///   form of the console's own pages, which its `Origin` shows, may be posted to one.
    func objection(to request: HTTPRequest, authority: String, isPage: Bool = false, on connection: HTTPConnection)
        -> (RequestGate.Refusal, KeelError.Code, message: String, hint: String?)?
    {
        for field in request.headerFields {
            let name = field.name.canonicalName
            guard name.hasPrefix("x-forwarded-") || LocalOwner.forwarding.contains(name) else { continue }
            return (.forwarded, .unauthenticated, "a token is needed: the request was forwarded (\(field.name))", nil)
        }
        let port = authority.last == "]" ? nil : authority.lastIndex(of: ":").map { authority[authority.index(after: $0)...] }
        guard port.map({ Int($0) }) ?? (connection.isEncrypted ? 443 : 80) == connection.port else {
            return (
                .host, .permissionDenied, "the Host header '\(authority.prefix(100))' is not the address of this server",
                "its port is \(connection.port)"
            )
        }
        if RequestGate.isFromOtherSite(request), !(isPage && RequestGate.isNavigation(request)) {
            return (.origin, .permissionDenied, "requests from pages of other sites are not accepted", nil)
        }
        let type = request.headerFields[.contentType].map { $0.prefix { $0 != ";" }.filter { $0 != " " }.lowercased() } ?? ""
        let hasBody =
            request.headerFields[.transferEncoding] != nil || request.headerFields[.contentLength].map { $0 != "0" } ?? false
        let path = (request.path ?? "").prefix { $0 != "?" }
        if request.method == .post, hasBody, LocalOwner.simpleTypes.contains(type), !acceptsAnyType.contains(String(path)),
            !(type.isEmpty && path.hasPrefix(acceptsNoType)), !(isPage && request.headerFields[.origin] != nil)
        {
            return (
                .type, .unsupportedMediaType, type.isEmpty ? "the body has no type" : "a body of type '\(type.prefix(60))' is not accepted",
                "send Content-Type: application/json"
            )
        }
        guard connection.isOwnUser else {
            return (.none, .unauthenticated, "a token is needed: this connection is not of the user that runs the server", nil)
        }
        return nil
    }
}
