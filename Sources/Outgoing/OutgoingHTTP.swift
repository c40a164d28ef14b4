import Contracts
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// Calls addresses that were checked before: one set of trusted authorities for all calls, a connection for each.
///
/// The address is given, so that no look-up of the name lies between its check and the connection (DNS rebinding); the certificate is checked against
/// the name. HTTP/1.1 and TLS 1.2 at least; no redirects, no proxies.
package final class OutgoingHTTP: Sendable {
    package struct Answer: Sendable {
        package let status: Int
        let headers: HTTPHeaders
        /// The beginning of the body.
        package let body: [UInt8]
        /// What the body was counted in as it came; nil where nobody counts.
        package var memory: MemoryReservation?

        /// The first header of this name, in any case.
        package func header(_ name: String) -> String? { headers.first(name: name) }
    }

    private let authorities: [NIOSSLCertificate]
    private let context = Mutex<NIOSSLContext?>(nil)
    private static let authorityBytesMax = 4 << 20
    private static let addressesMax = 3
    static let connectSeconds: Int64 = 5
    static let answerSeconds: Int64 = 15
    static let answerBytesMax = 4096

    /// - Parameter file: a PEM file of authorities that are trusted besides the system's.
    /// - Throws: `invalidArgument` when there is no such file, or something in it is no certificate.
    package init(trusting file: String?) throws(KeelError) {
        authorities = try file.map(OutgoingHTTP.authorities) ?? []
    }

    private static func authorities(in file: String) throws(KeelError) -> [NIOSSLCertificate] {
        func refused(_ problem: String) -> KeelError {
            .invalid("'\(file)' \(problem)", hint: "it must be a PEM file of the certificates of authorities", path: "outgoing.authorities")
        }
        guard let bytes = FileManager.default.contents(atPath: file) else { throw refused("cannot be read") }
        guard bytes.count <= authorityBytesMax else { throw refused("is larger than \(authorityBytesMax) bytes") }
        // The reader leaves out what is no certificate: a key, or a certificate that was cut off.
        let begun = String(decoding: bytes, as: UTF8.self).components(separatedBy: "-----BEGIN ").count - 1
        guard begun > 0 else { throw refused("holds no certificate") }
        guard let found = try? NIOSSLCertificate.fromPEMBytes(Array(bytes)), found.count == begun else {
            throw refused("holds something that is not a certificate")
        }
        return found
    }

    /// Posts to the first of the addresses that takes the connection.
    /// - Throws: `unavailable`, saying what went wrong: no connection, a certificate that is not trusted or of another name, no answer in time.
    func post(
        _ body: some Sequence<UInt8>, headers: [(name: String, value: String)], to target: OutgoingTarget, at addresses: [NetworkAddress]
    ) async throws -> Answer {
        let body = ByteBuffer(bytes: body)
        var head = OutgoingHTTP.head(.POST, target)
        for header in headers { head.headers.add(name: header.name, value: header.value) }
        head.headers.add(name: "Content-Length", value: String(body.readableBytes))
        return try await send(head, body, bytesMax: OutgoingHTTP.answerBytesMax, to: target, at: addresses)
    }

    /// Reads a document from the first of the addresses that takes the connection.
    /// - Throws: `unavailable` as `post` does, and when the document is not smaller than `bytesMax`.
    func get(_ target: OutgoingTarget, at addresses: [NetworkAddress], bytesMax: Int) async throws -> Answer {
        var head = OutgoingHTTP.head(.GET, target)
        head.headers.add(name: "Accept", value: "application/json")
        let answer = try await send(head, ByteBuffer(), bytesMax: bytesMax, to: target, at: addresses)
        guard answer.body.count < bytesMax else {
            throw KeelError(.unavailable, "'\(target.host)' answered with more than \(bytesMax) bytes")
        }
        return answer
    }

    private static func head(_ method: HTTPMethod, _ target: OutgoingTarget) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: target.requestTarget)
        head.headers.add(name: "Host", value: target.authority)
        head.headers.add(name: "User-Agent", value: "Keel/\(KeelVersion.text)")
        head.headers.add(name: "Connection", value: "close")
        return head
    }

    private func send(
        _ head: HTTPRequestHead, _ body: ByteBuffer, bytesMax: Int, to target: OutgoingTarget, at addresses: [NetworkAddress]
    ) async throws -> Answer {
        do {
            let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Answer.self)
            let channel: any Channel
            let exchange = Exchange(head, body, bytesMax, answer)
            do { channel = try await connect(to: target, addresses) { ExchangeHandler(exchange) } } catch {
                answer.fail(error)
                throw error
            }
            return try await withTaskCancellationHandler {
                try await answer.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch { throw OutgoingHTTP.problem(error, target) }
    }

    /// A connection for any number of `SessionExchange`s, to the first of the addresses that takes it.
    /// - Throws: what `words` can put into words.
    func session(to target: OutgoingTarget, at addresses: [NetworkAddress], within limit: Duration) async throws -> any Channel {
        let limit = TimeAmount.nanoseconds(Int64(Int(saturating: limit / .nanoseconds(1))))
        return try await connect(to: target, addresses, within: min(limit, .seconds(OutgoingHTTP.connectSeconds))) { SessionHandler() }
    }

    private func connect(
        to target: OutgoingTarget, _ addresses: [NetworkAddress], within limit: TimeAmount = .seconds(connectSeconds),
        _ handler: @escaping @Sendable () -> any ChannelHandler
    ) async throws -> any Channel {
        let tls = target.isEncrypted ? try sharedContext() : nil
        let name = NetworkAddress(literal: target.host) == nil ? target.host : nil
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name)) }
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(handler())
                }
            }
        var last: any Error = KeelError(.unavailable, "'\(target.host)' has no address")
        for address in addresses.prefix(OutgoingHTTP.addressesMax) {
            do { return try await bootstrap.connect(to: SocketAddress(ipAddress: address.description, port: target.port)).get() } catch {
                last = error
            }
        }
        throw last
    }

    /// Reading the system's authorities takes longer than a call, so they are read once, when they are first needed.
    private func sharedContext() throws -> NIOSSLContext {
        try context.withLock { context in
            if let context { return context }
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.additionalTrustRoots = [.certificates(authorities)]
            let made = try NIOSSLContext(configuration: configuration)
            context = made
            return made
        }
    }

    private static func problem(_ error: any Error, _ target: OutgoingTarget) -> KeelError {
        if let error = error as? KeelError { return error }
        return KeelError(.unavailable, "the receiver could not be reached: \(words(error, target))")
    }

    /// What kept a connection from being made, or ended it.
    static func words(_ error: any Error, _ target: OutgoingTarget) -> String {
        switch error {
        case NIOSSLError.handshakeFailed(let cause) where "\(cause)".contains("CERTIFICATE_VERIFY_FAILED"):
            "the certificate of '\(target.host)' is not trusted; the setting outgoing.authorities names authorities besides the system's"
        case let error as NIOSSLExtraError where error == .failedToValidateHostname: "the certificate is not of '\(target.host)'"
        case NIOSSLError.handshakeFailed(let cause): "no TLS connection to '\(target.host)': \(cause)"
        case ChannelError.connectTimeout: "no connection to '\(target.host)' within \(connectSeconds) seconds"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }
}

/// One request and the promise of its answer.
private struct Exchange: Sendable {
    let head: HTTPRequestHead
    let body: ByteBuffer
    /// As much of the answer's body is kept.
    let bytesMax: Int
    let answer: EventLoopPromise<OutgoingHTTP.Answer>

    init(_ head: HTTPRequestHead, _ body: ByteBuffer, _ bytesMax: Int, _ answer: EventLoopPromise<OutgoingHTTP.Answer>) {
        self.head = head
        self.body = body
        self.bytesMax = bytesMax
        self.answer = answer
    }
}

/// Sends the request when the connection stands, reads the answer as far as it is kept, and closes.
private final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let exchange: Exchange
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []
    private var isDone = false
    private var deadline: Scheduled<Void>?

    init(_ exchange: Exchange) { self.exchange = exchange }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(OutgoingHTTP.answerSeconds)) {
            self.end(.failure(KeelError(.unavailable, "the receiver gave no whole answer within \(OutgoingHTTP.answerSeconds) seconds")))
            channel.close(promise: nil)
        }
        context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
        if exchange.body.readableBytes > 0 { context.write(wrapOutboundOut(.body(.byteBuffer(exchange.body))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(let part):
            body += part.readableBytesView.prefix(exchange.bytesMax - body.count)
            if body.count == exchange.bytesMax { succeed(context) }
        case .end: succeed(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { broken(context, error) }

    func channelInactive(context: ChannelHandlerContext) {
        broken(context, KeelError(.unavailable, "the receiver closed the connection without an answer"))
    }

    /// The status is the answer: many receivers end the connection behind it without ending the body or TLS as they should.
    private func broken(_ context: ChannelHandlerContext, _ error: any Error) {
        if head != nil { return succeed(context) }
        end(.failure(error))
        context.close(promise: nil)
    }

    private func succeed(_ context: ChannelHandlerContext) {
        guard let head else { return }
        end(.success(OutgoingHTTP.Answer(status: Int(head.status.code), headers: head.headers, body: body)))
        context.close(promise: nil)
    }

    private func end(_ result: Result<OutgoingHTTP.Answer, any Error>) {
        guard !isDone else { return }
        isDone = true
        deadline?.cancel()
        exchange.answer.completeWith(result)
    }
}
