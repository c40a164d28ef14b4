import Contracts

/// Calls URLs that somebody gave: the host is resolved once, all its addresses are checked, and the connection goes to one that was checked.
package struct GuardedHTTP: Sendable {
    private let purpose: OutgoingPurpose
    private let schemes: [String]
    private let allowsInternal: Bool
    private let resolver: any HostResolver
    let http: OutgoingHTTP

    /// - Parameter allowsInternal: whether loopback and private addresses may be called.
    package init(for purpose: OutgoingPurpose, schemes: [String], allowsInternal: Bool, resolver: any HostResolver, http: OutgoingHTTP) {
        self.purpose = purpose
        self.schemes = schemes
        self.allowsInternal = allowsInternal
        self.resolver = resolver
        self.http = http
    }

    /// - Throws: `invalidArgument` for a URL that may not be called, or whose host has no address.
    package func check(_ url: String) async throws {
        let target = try OutgoingTarget(url, schemes: schemes, for: purpose)
        do { _ = try await addresses(of: target) } catch let error as KeelError where error.code == .unavailable {
            throw KeelError.invalid(
                purpose == .webhook
                    ? "Cannot resolve Webhook URL hostname '\(target.host)': \(error.message)"
                    : "the host of the \(purpose.noun) has no address here: \(error.message)",
                hint: purpose == .webhook ? nil : "is the name right, and known to the resolver of this machine?")
        }
    }

    /// - Returns: the answer with the beginning of its body.
    /// - Throws: `invalidArgument` for a URL that may not be called, `unavailable` without an answer.
    package func post(_ body: some Sequence<UInt8> & Sendable, headers: [(name: String, value: String)], to url: String) async throws -> OutgoingHTTP.Answer {
        let target = try OutgoingTarget(url, schemes: schemes, for: purpose)
        return try await http.post(body, headers: headers, to: target, at: try await addresses(of: target))
    }

    /// - Throws: `invalidArgument` for a URL that may not be called, `unavailable` without a whole answer of less than `bytesMax`.
    package func get(_ url: String, bytesMax: Int) async throws -> OutgoingHTTP.Answer {
        let target = try OutgoingTarget(url, schemes: schemes, for: purpose)
        return try await http.get(target, at: try await addresses(of: target), bytesMax: bytesMax)
    }

    /// - Throws: `invalidArgument` for a URL that may not be called, whatever its host's addresses are.
    func target(_ url: String) throws(KeelError) -> OutgoingTarget { try OutgoingTarget(url, schemes: schemes, for: purpose) }

    /// - Throws: `invalidArgument` when one of them may not be called, `unavailable` when none is found.
    func addresses(of target: OutgoingTarget) async throws -> [NetworkAddress] {
        let found = try await resolver.addresses(of: target.host)
        guard !found.isEmpty else { throw KeelError(.unavailable, "'\(target.host)' has no address") }
        if !allowsInternal, let inner = found.first(where: { !$0.isPublic }) {
            throw KeelError.invalid(
                "\(purpose.capitalized) must not resolve to a non-public IP address. '\(target.host)' resolves to \(inner).",
                hint: purpose.reasonForInternal)
        }
        return found
    }
}
