import Contracts
import Foundation

/// A URL that somebody gave and the server is to call: taken apart once, so that what is checked is what is called.
package struct OutgoingTarget {
    package let host: String
    let port: Int
    let isEncrypted: Bool
    /// The path and query, as they were given.
    let requestTarget: String

    /// What the `Host` header says.
    var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isEncrypted ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// - Throws: `invalidArgument` in MLflow's words.
    package init(_ url: String, schemes: [String]) throws(KeelError) {
        guard !url.allSatisfy(\.isWhitespace) else {
            throw .invalid("Webhook URL cannot be empty or just whitespace: '\(url.prefix(100))'")
        }
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\\") }), let parts = URL(string: url)
        else {
            throw .invalid(
                "Invalid webhook URL '\(url.prefix(200))': it has at most 2048 characters, all of ASCII, without spaces and backslashes")
        }
        let scheme = parts.scheme?.lowercased() ?? ""
        guard schemes.contains(scheme) else {
            throw .invalid(
                "Invalid webhook URL scheme: '\(scheme)'. Allowed schemes are: \(schemes.joined(separator: ", ")).",
                hint: "the setting webhooks.schemes says which")
        }
        guard parts.user == nil, parts.password == nil else {
            throw .invalid("Webhook URL must not hold a user or password", hint: "use the secret")
        }
        var host = parts.host ?? ""
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else { throw .invalid("Webhook URL must include a hostname: '\(url.prefix(200))'") }
        let isV6 = host.contains(":")
        let fits = host.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 45 || $0 == 46 || $0 == 95
                || (isV6 && $0 == 58)
        }
        guard fits else { throw .invalid("Invalid webhook URL '\(url.prefix(200))': '\(host.prefix(100))' is no host name") }
        let looksNumeric = isV6 || host.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || $0 == 46 }
        guard !looksNumeric || NetworkAddress(literal: host) != nil else {
            throw .invalid("Webhook URL host '\(host.prefix(100))' is not a canonical IP address literal.")
        }
        isEncrypted = scheme == "https"
        guard (1...65535).contains(parts.port ?? 443) else {
            throw .invalid("Invalid webhook URL '\(url.prefix(200))': it has no valid port")
        }
        port = parts.port ?? (isEncrypted ? 443 : 80)
        let written = URLComponents(url: parts, resolvingAgainstBaseURL: false)
        let path = written?.percentEncodedPath ?? ""
        requestTarget = (path.isEmpty ? "/" : path) + (written?.percentEncodedQuery.map { "?" + $0 } ?? "")
        self.host = host
    }
}
