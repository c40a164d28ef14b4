import Contracts
import NIOHTTP1

/// What the head of a request says of who sent it.
package struct RequestClaim: Sendable {
    enum Sender: Sendable {
        /// The local owner, whom nothing in the head or of the connection speaks against.
        case owner
        /// Whoever holds this token.
        case holder(of: String)
        /// Whoever signed in in a browser: the digest of the cookie's value.
        case session(Digest)
    }
    let sender: Sender
    /// Nil: the sender's own.
    let workspace: WorkspaceID?
    /// Whether the workspace was only seen last: the sender's own is taken where it has no role there.
    var isPreference = false
}

extension HTTPRequestHead {
    /// Fields that no claim depends on. A client that traces its requests changes them with each.
    private static let ignored: Set<String> = ["traceparent", "tracestate", "x-request-id"]

    /// Whether this head makes the same claim as the other, so that it need not be read again: it differs at most in the length of its body and in fields
    /// that no claim depends on. False when that is not seen at a glance, as with fields in another order.
    package func claimsTheSame(as other: HTTPRequestHead) -> Bool {
        guard method == other.method, uri == other.uri, headers.count == other.headers.count else { return false }
        for (mine, others) in zip(headers, other.headers) {
            guard mine.name == others.name else { return false }
            guard mine.value != others.value else { continue }
            let name = mine.name.lowercased()
            // A body is one of some length, or none: `LocalOwner` tells these apart.
            let isOtherLength = name == "content-length" && mine.value != "0" && others.value != "0"
            guard isOtherLength || HTTPRequestHead.ignored.contains(name) else { return false }
        }
        return true
    }
}
