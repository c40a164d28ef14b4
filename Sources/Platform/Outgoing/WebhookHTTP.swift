import AsyncHTTPClient
import Contracts
import NIOCore
import Registry

/// Sends webhooks over HTTP, guarded: the host is resolved, its addresses are checked, and the connection goes to the address that was checked.
struct WebhookHTTP: WebhookSender {
    /// `https` unless configured otherwise.
    let schemes: [String]
    let allowsInternal: Bool
    private static let answerBytesMax = 4096

    func check(url: String) async throws {
        _ = try await OutgoingTarget(url, schemes: schemes).address(allowsInternal: allowsInternal)
    }

    func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer {
        let target = try OutgoingTarget(url, schemes: schemes)
        let address = try await target.address(allowsInternal: allowsInternal)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(5), read: .seconds(10)), proxy: nil, decompression: .disabled)
        // A client for each call: its name is bound to the address that was checked, so that no second look-up can say another (DNS rebinding).
        // The certificate is still checked against the name.
        configuration.dnsOverride = [target.host: address.description]
        configuration.httpVersion = .http1Only
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<WebhookAnswer, any Error>
        do {
            result = .success(try await Self.execute(client, body, headers, target.url))
        } catch { result = .failure(KeelError(.unavailable, "the receiver could not be reached: \(error)")) }
        try? await client.shutdown()
        return try result.get()
    }

    private static func execute(_ client: HTTPClient, _ body: String, _ headers: [(name: String, value: String)], _ url: String) async throws -> WebhookAnswer {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        request.headers.add(name: "User-Agent", value: "Keel/\(KeelVersion.text)")
        request.body = .bytes(ByteBuffer(string: body))
        let response = try await client.execute(request, timeout: .seconds(15))
        var text: [UInt8] = []
        for try await part in response.body {
            text += part.readableBytesView.prefix(answerBytesMax - text.count)
            if text.count >= answerBytesMax { break }
        }
        return WebhookAnswer(
            status: Int(response.status.code), body: String(decoding: text, as: UTF8.self),
            retryAfter: response.headers.first(name: "retry-after").flatMap { Int($0) })
    }
}
