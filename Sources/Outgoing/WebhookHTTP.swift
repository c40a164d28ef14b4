import Contracts
import Registry

/// Sends webhooks over HTTP, guarded.
package struct WebhookHTTP: WebhookSender {
    private let http: GuardedHTTP

    /// - Parameter schemes: `https` unless configured otherwise.
    package init(schemes: [String], allowsInternal: Bool, resolver: any HostResolver, http: OutgoingHTTP) {
        self.http = GuardedHTTP(for: .webhook, schemes: schemes, allowsInternal: allowsInternal, resolver: resolver, http: http)
    }

    package func check(url: String) async throws { try await http.check(url) }

    package func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer {
        let answer = try await http.post(body.utf8, headers: headers, to: url)
        return WebhookAnswer(
            status: answer.status, body: String(decoding: answer.body, as: UTF8.self),
            retryAfter: answer.header("retry-after").flatMap { Int($0) })
    }
}
