import Contracts
import Registry

/// Sends webhooks over HTTP, guarded: the host is resolved once, all its addresses are checked, and the connection goes to one that was checked.
package struct WebhookHTTP: WebhookSender {
    /// `https` unless configured otherwise.
    private let schemes: [String]
    private let allowsInternal: Bool
    private let resolver: any HostResolver
    private let http: OutgoingHTTP

    package init(schemes: [String], allowsInternal: Bool, resolver: any HostResolver, http: OutgoingHTTP) {
        (self.schemes, self.allowsInternal, self.resolver, self.http) = (schemes, allowsInternal, resolver, http)
    }

    package func check(url: String) async throws {
        let target = try OutgoingTarget(url, schemes: schemes)
        do { _ = try await addresses(of: target) } catch let error as KeelError where error.code == .unavailable {
            throw KeelError.invalid("Cannot resolve Webhook URL hostname '\(target.host)': \(error.message)")
        }
    }

    package func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer {
        let target = try OutgoingTarget(url, schemes: schemes)
        let answer = try await http.post(body, headers: headers, to: target, at: try await addresses(of: target))
        return WebhookAnswer(
            status: answer.status, body: String(decoding: answer.body, as: UTF8.self),
            retryAfter: answer.headers.first(name: "retry-after").flatMap { Int($0) })
    }

    /// - Throws: `invalidArgument` in MLflow's words when one of them may not be called, `unavailable` when none is found.
    private func addresses(of target: OutgoingTarget) async throws -> [NetworkAddress] {
        let found = try await resolver.addresses(of: target.host)
        guard !found.isEmpty else { throw KeelError(.unavailable, "'\(target.host)' has no address") }
        if !allowsInternal, let inner = found.first(where: { !$0.isPublic }) {
            throw KeelError.invalid(
                "Webhook URL must not resolve to a non-public IP address. '\(target.host)' resolves to \(inner).",
                hint: "the setting webhooks.internal allows it, for tests and laptops")
        }
        return found
    }
}
