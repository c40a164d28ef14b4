import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import Platform
import Serving

/// Answers `POST /v2/models/{endpoint}/infer` on the event loop that owns the connection, without a task hop; passes every other request on.
///
/// It sits in hummingbird's pipeline behind the HTTP decoder. While a request that was passed on is not yet answered, a hot one that was
/// pipelined behind it waits, so responses keep their order.
public final class HotDoor: ChannelDuplexHandler, RemovableChannelHandler {
    public typealias InboundIn = HTTPRequestPart
    public typealias InboundOut = HTTPRequestPart
    public typealias OutboundIn = HTTPResponsePart
    public typealias OutboundOut = HTTPResponsePart

    private enum Current {
        case none
        case passing
        case hot(HTTPRequest, endpoint: String, body: ByteBuffer, refused: KeelError?)
    }

    private let runtime: ServingRuntime
    private let gate: RequestGate
    private let bodyBytesMax: Int
    private var current = Current.none
    private var passedOn = 0
    private var waiting: [(HTTPRequest, endpoint: String, body: ByteBuffer, refused: KeelError?)] = []
    private static let pipelinedMax = 64

    public init(runtime: ServingRuntime, gate: RequestGate, bodyBytesMax: Int) {
        self.runtime = runtime
        self.gate = gate
        self.bodyBytesMax = bodyBytesMax
    }

    /// The endpoint's name when the path is a hot one.
    static func endpoint(of path: String?) -> String? {
        guard let path, path.hasPrefix("/v2/models/"), path.hasSuffix("/infer") else { return nil }
        let name = path.dropFirst(11).dropLast(6)
        return name.isEmpty || name.utf8.contains(UInt8(ascii: "/")) ? nil : String(name)
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), current) {
        case (.head(let head), _):
            guard head.method == .post, let endpoint = HotDoor.endpoint(of: head.path) else {
                current = .passing
                passedOn += 1
                context.fireChannelRead(data)
                return
            }
            let announced = head.headerFields[.contentLength].flatMap { Int($0) } ?? 0
            current = .hot(
                head, endpoint: endpoint, body: context.channel.allocator.buffer(capacity: min(max(announced, 0), 65_536)),
                refused: announced > bodyBytesMax ? tooLarge : nil)
        case (.body(var part), .hot(let head, let endpoint, var body, let refused)):
            current = .none
            if refused != nil || body.readableBytes + part.readableBytes > bodyBytesMax {
                current = .hot(head, endpoint: endpoint, body: ByteBuffer(), refused: refused ?? tooLarge)
            } else {
                body.writeBuffer(&part)
                current = .hot(head, endpoint: endpoint, body: body, refused: nil)
            }
        case (.end, .hot(let head, let endpoint, let body, let refused)):
            current = .none
            if passedOn == 0 {
                answer(context, head, endpoint, body, refused)
            } else if waiting.count < HotDoor.pipelinedMax {
                waiting.append((head, endpoint, body, refused))
            } else {
                context.close(promise: nil)
            }
        case (.end, .passing):
            current = .none
            context.fireChannelRead(data)
        default: context.fireChannelRead(data)
        }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // The channel reads on demand, and nobody behind this handler knows of the hot requests: it asks for the next bytes itself.
        if passedOn == 0 { context.read() }
    }

    public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let isEnd = if case .end = unwrapOutboundIn(data) { true } else { false }
        context.write(data, promise: promise)
        guard isEnd else { return }
        passedOn -= 1
        guard passedOn == 0 else { return }
        let ready = waiting
        waiting = []
        for (head, endpoint, body, refused) in ready { answer(context, head, endpoint, body, refused) }
        context.read()
    }

    private var tooLarge: KeelError {
        KeelError(.payloadTooLarge, "the body is larger than \(bodyBytesMax) bytes", hint: "send fewer rows a request")
    }

    private func answer(_ context: ChannelHandlerContext, _ head: HTTPRequest, _ endpoint: String, _ body: ByteBuffer, _ refused: KeelError?) {
        var (status, bytes): (HTTPResponse.Status, [UInt8])
        do throws(KeelError) {
            if let refused { throw refused }
            (status, bytes) = (.ok, try respond(head, endpoint, body))
        } catch {
            (status, bytes) = (error.code.status, InferResponse.failure(error))
        }
        var response = HTTPResponse(status: status)
        response.headerFields[.contentType] = "application/json"
        response.headerFields[.contentLength] = String(bytes.count)
        if status == .serviceUnavailable { response.headerFields[.retryAfter] = "1" }
        let closes = head.headerFields[.connection]?.lowercased() == "close"
        if closes { response.headerFields[.connection] = "close" }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(wrapOutboundOut(.body(buffer)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        if closes { context.close(promise: nil) }
    }

    private func respond(_ head: HTTPRequest, _ endpoint: String, _ body: ByteBuffer) throws(KeelError) -> [UInt8] {
        let caller = try gate.caller(of: head)
        _ = try gate.grant(caller, may: .predict, on: "Endpoint/\(endpoint)")
        let parsed: Result<InferRequest, KeelError> = body.withUnsafeReadableBytes { raw in
            do throws(KeelError) { return .success(try InferRequest(parsing: raw.bindMemory(to: UInt8.self))) } catch { return .failure(error) }
        }
        let request = try parsed.get()
        let result = try runtime.infer(endpoint: endpoint, request: request.table, ids: request.ids)
        return InferResponse(
            model: endpoint, version: result.modelVersion, id: request.id, release: result.release, ids: result.ids, scores: result.scores
        ).bytes
    }
}
