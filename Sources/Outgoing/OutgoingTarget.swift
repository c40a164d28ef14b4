import Contracts
import Foundation

/// What an address is called for: the words in which it is refused, and the settings that say which may be called.
package enum OutgoingPurpose: Sendable {
    case webhook
    case issuer
    case collector
    /// A model that another server runs.
    case model

    /// As it stands inside a sentence.
    var noun: String {
        switch self {
        case .webhook: "webhook URL"
        case .issuer: "issuer URL"
        case .collector: "trace collector URL"
        case .model: "URL of a model"
        }
    }

    /// As it begins one.
    var capitalized: String {
        switch self {
        case .webhook: "Webhook URL"
        case .issuer: "Issuer URL"
        case .collector: "Trace collector URL"
        case .model: "The URL of a model"
        }
    }

    /// The settings begin with this.
    var settings: String {
        switch self {
        case .webhook: "webhooks"
        case .issuer: "oidc"
        case .collector: "tracing.otlp"
        case .model: "serving.remote"
        }
    }

    var reasonForInternal: String {
        self == .webhook ? "the setting webhooks.internal allows it, for tests and laptops" : "the setting \(settings).internal allows it"
    }
}

/// A URL that somebody gave and the server is to call: taken apart once, so that what is checked is what is called.
package struct OutgoingTarget: Sendable {
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

    /// The scheme, host and port.
    var origin: String { "\(isEncrypted ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    /// The request target of what lies below the URL.
    func path(_ suffix: String) -> String { (requestTarget == "/" ? "" : requestTarget) + suffix }

    /// - Throws: `invalidArgument`, for webhooks in MLflow's words.
    package init(_ url: String, schemes: [String], for purpose: OutgoingPurpose = .webhook) throws(KeelError) {
        guard !url.allSatisfy(\.isWhitespace) else {
            throw .invalid("\(purpose.capitalized) cannot be empty or just whitespace: '\(url.prefix(100))'")
        }
        let scheme = OutgoingTarget.scheme(of: url)
        guard schemes.contains(scheme) else {
            throw .invalid(
                "Invalid \(purpose.noun) scheme: '\(scheme.prefix(100))'. Allowed schemes are: \(schemes.joined(separator: ", ")).",
                hint: "the setting \(purpose.settings).schemes says which")
        }
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\\") }),
            let parts = URL(string: url),
            parts.scheme?.lowercased() == scheme
        else {
            throw .invalid(
                "Invalid \(purpose.noun) '\(url.prefix(200))': it has at most 2048 characters, all of ASCII, without spaces and backslashes"
            )
        }
        guard parts.user == nil, parts.password == nil else {
            throw .invalid(
                "\(purpose.capitalized) must not hold a user or password", hint: purpose == .issuer ? nil : "use the secret")
        }
        var host = (parts.host ?? "").lowercased()
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else { throw .invalid("\(purpose.capitalized) must include a hostname: '\(url.prefix(200))'") }
        let isV6 = host.contains(":")
        let fits = host.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 45 || $0 == 46 || $0 == 95
                || (isV6 && $0 == 58)
        }
        guard fits else { throw .invalid("Invalid \(purpose.noun) '\(url.prefix(200))': '\(host.prefix(100))' is no host name") }
        let looksNumeric = isV6 || host.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || $0 == 46 }
        guard !looksNumeric || NetworkAddress(literal: host) != nil else {
            throw .invalid("\(purpose.capitalized) host '\(host.prefix(100))' is not a canonical IP address literal.")
        }
        isEncrypted = scheme == "https"
        guard (1...65535).contains(parts.port ?? 443) else {
            throw .invalid("Invalid \(purpose.noun) '\(url.prefix(200))': it has no valid port")
        }
        port = parts.port ?? (isEncrypted ? 443 : 80)
        let written = URLComponents(url: parts, resolvingAgainstBaseURL: false)
        let path = written?.percentEncodedPath ?? ""
        requestTarget = (path.isEmpty ? "/" : path) + (written?.percentEncodedQuery.map { "?" + $0 } ?? "")
        self.host = host
    }

    /// What stands before the first colon, if it can be a scheme (RFC 3986), in lower case; else nothing.
    private static func scheme(of url: String) -> String {
        let text = url.prefix { $0 != ":" }.lowercased()
        func isLetter(_ b: UInt8) -> Bool { b >= 97 && b <= 122 }
        guard text.utf8.count < url.utf8.count, text.utf8.first.map(isLetter) == true else { return "" }
        return text.utf8.allSatisfy { isLetter($0) || ($0 >= 48 && $0 <= 57) || [43, 45, 46].contains($0) } ? text : ""
    }
}
