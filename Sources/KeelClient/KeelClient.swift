import Contracts
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOTLS

/// A keep-alive HTTP/1.1 connection to a Keel server, under TLS for `https`: what the command line and replays use. One request at a time.
public actor KeelClient {
    public struct Response: Sendable {
        public let status: Int
        public let body: [UInt8]
        public init(status: Int, body: [UInt8]) { (self.status, self.body) = (status, body) }
    }

    private let host: String
    private let port: Int
    private let token: String?
    private let workspace: WorkspaceID?
    private let tls: NIOSSLContext?
    private var channel: (any Channel)?

    /// - Parameters:
    ///   - url: `http://HOST:PORT` or `https://HOST:PORT`.
    ///   - authorities: a PEM file of authorities that are trusted besides the system's.
    /// - Throws: `invalidArgument` for an address or a file that cannot be used.
    public init(url: String, token: String? = nil, workspace: WorkspaceID? = nil, authorities: String? = nil) throws(KeelError) {
        let isEncrypted = url.hasPrefix("https://")
        let malformed = KeelError.invalid(
            "'\(url)' is not the address of a server", hint: "http://HOST:PORT or https://HOST:PORT, in KEEL_URL or --url")
        guard isEncrypted || url.hasPrefix("http://"), let authority = url.dropFirst(isEncrypted ? 8 : 7).split(separator: "/").first else {
            throw malformed
        }
        let parts = authority.split(separator: ":")
        guard let name = parts.first, parts.count <= 2, let port = Int(parts.count == 2 ? parts[1] : isEncrypted ? "443" : "80"),
            (1...65535).contains(port)
        else { throw malformed }
        host = String(name)
        self.port = port
        self.token = token
        self.workspace = workspace
        tls = isEncrypted ? try KeelClient.context(trusting: authorities) : nil
    }

    private static func context(trusting authorities: String?) throws(KeelError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        if let authorities { configuration.additionalTrustRoots = [.file(authorities)] }
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw .invalid("'\(authorities ?? "")' cannot be read as a PEM file of certificates", hint: "in KEEL_CA_FILE or --ca-file")
        }
    }

    /// Sends a request and returns the answer whatever its status.
    /// - Parameter onLine: called with each line of an answer that comes as JSON lines, as it arrives; such lines are not in the body.
    public func send(
        _ method: HTTPMethod, _ path: String, body: [UInt8] = [], contentType: String = "application/json",
        onLine: (@Sendable ([UInt8]) -> Void)? = nil
    ) async throws -> Response {
        let reused = channel != nil
        do {
            return try await exchange(method, path, body, contentType, onLine)
        } catch  where !(error is KeelError) {
            channel = nil
            // The server may have closed an idle connection; only requests that change nothing are sent twice.
            guard reused, method == .GET else { throw unreachable(error) }
            return try await exchange(method, path, body, contentType, onLine)
        }
    }

    /// Sends a body of `bytes` bytes that comes in parts, each when the connection has taken the one before: its size does not matter to memory.
    /// - Parameter next: the next part; nil at the end.
    public func upload(
        _ method: HTTPMethod, _ path: String, bytes: Int64, contentType: String = "application/octet-stream",
        next: () async throws -> [UInt8]?
    ) async throws -> Response {
        do {
            let channel = try await connected()
            let answer = channel.eventLoop.makePromise(of: Response.self)
            let head = head(method, path, bytes: bytes, contentType)
            channel.writeAndFlush(Exchange.Outgoing.open(Exchange.Request(head: head, body: nil, promise: answer, onLine: nil)))
                .cascadeFailure(to: answer)
            var left = bytes
            do {
                while left > 0, let part = try await next() {
                    left -= Int64(part.count)
                    try await channel.writeAndFlush(Exchange.Outgoing.part(channel.allocator.buffer(bytes: part))).get()
                }
                guard left == 0 else { throw KeelError(.unavailable, "the file changed while it was sent") }
                try await channel.writeAndFlush(Exchange.Outgoing.end).get()
            } catch  where error is ChannelError || error is IOError {
                // The server may have refused before it had all: its answer says why.
            } catch {
                try? await channel.close()
                throw error
            }
            return try await answer.futureResult.get()
        } catch  where !(error is KeelError) {
            channel = nil
            throw unreachable(error)
        }
    }

    /// Asks for what does not fit into memory.
    /// - Parameter onPart: called with each part of a good answer as it arrives, on the connection's thread; the next comes when it returns.
    /// - Returns: the answer, whose body is empty when it is good.
    public func download(_ path: String, onPart: @escaping @Sendable ([UInt8]) -> Void) async throws -> Response {
        do {
            let channel = try await connected()
            let promise = channel.eventLoop.makePromise(of: Response.self)
            let request = Exchange.Request(head: head(.GET, path, bytes: nil, ""), body: nil, promise: promise, onLine: nil, onPart: onPart)
            channel.writeAndFlush(Exchange.Outgoing.whole(request)).cascadeFailure(to: promise)
            return try await promise.futureResult.get()
        } catch  where !(error is KeelError) {
            channel = nil
            throw unreachable(error)
        }
    }

    /// Sends JSON and returns the answer's, or throws the server's error.
    public func json(_ method: HTTPMethod, _ path: String, _ body: JSON? = nil) async throws -> JSON {
        try KeelClient.decode(try await send(method, path, body: body?.bytes ?? []))
    }

    public static func decode(_ response: Response) throws(KeelError) -> JSON {
        let body = response.body.isEmpty ? JSON.object([]) : try JSON.parse(response.body)
        guard (200..<300).contains(response.status) else {
            if let word = body["error_code"]?.string {
                throw KeelError(KeelClient.code(ofMLflow: word), body["message"]?.string ?? "the server answered \(response.status)")
            }
            let error = body["error"] ?? .null
            let all = [error] + (error["also"]?.array ?? [])
            throw KeelError.joined(all.map { KeelClient.error($0, status: response.status) })
                ?? KeelClient.error(error, status: response.status)
        }
        return body
    }

    private static func error(_ json: JSON, status: Int) -> KeelError {
        KeelError(
            json["code"]?.string.flatMap(KeelError.Code.init) ?? .internal,
            json["message"]?.string ?? json.string ?? "the server answered \(status)", hint: json["hint"]?.string,
            path: json["path"]?.string)
    }

    /// MLflow's routes have error words of their own.
    private static func code(ofMLflow word: String) -> KeelError.Code {
        switch word {
        case "RESOURCE_DOES_NOT_EXIST": .notFound
        case "RESOURCE_ALREADY_EXISTS": .alreadyExists
        case "PERMISSION_DENIED": .permissionDenied
        case "UNAUTHENTICATED": .unauthenticated
        case "INVALID_PARAMETER_VALUE", "BAD_REQUEST": .invalidArgument
        default: .internal
        }
    }

    public func close() async {
        try? await channel?.close()
        channel = nil
    }

    private func unreachable(_ error: any Error) -> KeelError {
        let address = "\(tls == nil ? "http" : "https")://\(host):\(port)"
        switch error {
        case NIOSSLError.handshakeFailed(let cause) where "\(cause)".contains("CERTIFICATE_VERIFY_FAILED"):
            return KeelError(
                .unavailable, "the certificate of \(address) is not of an authority that is trusted",
                hint: "name the authority's certificate in KEEL_CA_FILE or --ca-file")
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return KeelError(.unavailable, "the certificate of \(address) is not of the host '\(host)'")
        case NIOSSLError.handshakeFailed(let cause):
            return KeelError(.unavailable, "there is no TLS connection to \(address): \(cause)", hint: "does the server speak https?")
        default: return KeelError(.unavailable, "no server answers at \(address)", hint: "start one with 'keel serve', or set KEEL_URL")
        }
    }

    /// Sends a request behind those that are on their way, without waiting: HTTP pipelining. The server answers in the order sent, and works on
    /// a request only when the ones before it are answered, so one task's calls keep their order from end to end.
    public func enqueue(_ method: HTTPMethod, _ path: String, body: [UInt8]) async throws -> EventLoopFuture<Response> {
        write(try await connected(), method, path, body, "application/json", nil)
    }

    private func exchange(
        _ method: HTTPMethod, _ path: String, _ body: [UInt8], _ contentType: String, _ onLine: (@Sendable ([UInt8]) -> Void)?
    ) async throws -> Response {
        try await write(connected(), method, path, body, contentType, onLine).get()
    }

    private func write(
        _ channel: any Channel, _ method: HTTPMethod, _ path: String, _ body: [UInt8], _ contentType: String,
        _ onLine: (@Sendable ([UInt8]) -> Void)?
    ) -> EventLoopFuture<Response> {
        let head = head(method, path, bytes: body.isEmpty && method == .GET ? nil : Int64(body.count), contentType)
        let promise = channel.eventLoop.makePromise(of: Response.self)
        let buffer = body.isEmpty ? nil : channel.allocator.buffer(bytes: body)
        let request = Exchange.Request(head: head, body: buffer, promise: promise, onLine: onLine)
        // A connection that has ended in the meantime has nobody left to answer.
        channel.writeAndFlush(Exchange.Outgoing.whole(request)).cascadeFailure(to: promise)
        return promise.futureResult
    }

    private func head(_ method: HTTPMethod, _ path: String, bytes: Int64?, _ contentType: String) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: path)
        head.headers.add(name: "host", value: "\(host):\(port)")
        if let token { head.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let workspace { head.headers.add(name: "keel-workspace", value: workspace.name) }
        if let bytes {
            head.headers.add(name: "content-length", value: String(bytes))
            head.headers.add(name: "content-type", value: contentType)
        }
        return head
    }

    /// Where a connection goes. A certificate that is of an address is checked against the address that was connected to, not against a name.
    var target: (host: String, port: Int, tls: NIOSSLContext?, name: String?) {
        (host, port, tls, (try? SocketAddress(ipAddress: host, port: port)) == nil ? host : nil)
    }

    private func connected() async throws -> any Channel {
        if let channel, channel.isActive { return channel }
        let target = target
        do {
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let ready = loop.makePromise(of: Void.self)
            let connecting = ClientBootstrap(group: loop)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if let tls = target.tls {
                            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: target.name))
                        }
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(Exchange(ready: ready, isEncrypted: target.tls != nil))
                    }
                }
                .connect(host: host, port: port)
            connecting.cascadeFailure(to: ready)
            let made = try await connecting.get()
            // A certificate that is refused is an error of the connection, not of the first request, which may come before or after it.
            try await ready.futureResult.get()
            channel = made
            return made
        } catch { throw unreachable(error) }
    }
}

/// One request, one answer, in order.
private final class Exchange: ChannelDuplexHandler {
    struct Request: Sendable {
        let head: HTTPRequestHead
        let body: ByteBuffer?
        let promise: EventLoopPromise<KeelClient.Response>
        let onLine: (@Sendable ([UInt8]) -> Void)?
        var onPart: (@Sendable ([UInt8]) -> Void)?
    }

    typealias InboundIn = HTTPClientResponsePart
    /// A request at once, or one whose body follows in parts.
    enum Outgoing: Sendable {
        case whole(Request)
        case open(Request)
        case part(ByteBuffer)
        case end
    }

    typealias OutboundIn = Outgoing
    typealias OutboundOut = HTTPClientRequestPart

    private let ready: EventLoopPromise<Void>
    private let isEncrypted: Bool
    private var waiting: CircularBuffer<Request> = []
    private var status = 0
    private var isLines = false
    private var body: [UInt8] = []

    /// - Parameter ready: kept when requests may be sent: after the handshake, where there is one.
    init(ready: EventLoopPromise<Void>, isEncrypted: Bool) {
        self.ready = ready
        self.isEncrypted = isEncrypted
    }

    func channelActive(context: ChannelHandlerContext) {
        if !isEncrypted { ready.succeed() }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event { ready.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .whole(let request):
            begin(context, request)
            if let body = request.body { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
            context.write(wrapOutboundOut(.end(nil)), promise: promise)
        case .open(let request):
            begin(context, request, promise)
        case .part(let part): context.write(wrapOutboundOut(.body(.byteBuffer(part))), promise: promise)
        case .end: context.write(wrapOutboundOut(.end(nil)), promise: promise)
        }
    }

    private func begin(_ context: ChannelHandlerContext, _ request: Request, _ promise: EventLoopPromise<Void>? = nil) {
        waiting.append(request)
        context.write(wrapOutboundOut(.head(request.head)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            isLines = head.headers.first(name: "content-type")?.hasPrefix("application/x-ndjson") ?? false
            body.removeAll(keepingCapacity: true)
        case .body(let part):
            if status == 200, let onPart = waiting.first?.onPart { return onPart(Array(part.readableBytesView)) }
            body.append(contentsOf: part.readableBytesView)
            guard isLines, let onLine = waiting.first?.onLine else { return }
            while let end = body.firstIndex(of: 10) {
                onLine(Array(body[..<end]))
                body.removeSubrange(...end)
            }
        case .end: waiting.popFirst()?.promise.succeed(KeelClient.Response(status: status, body: body))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(ChannelError.eof)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error)
        context.close(promise: nil)
    }

    private func fail(_ error: any Error) {
        ready.fail(error)
        while let request = waiting.popFirst() { request.promise.fail(error) }
    }
}
