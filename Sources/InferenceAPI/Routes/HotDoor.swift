import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import Platform
import Serving

/// Answers `POST /v2/models/{endpoint}/infer` on the event loop that owns the connection, without a task hop; passes every other request on.
///
/// It sits in hummingbird's pipeline behind the HTTP decoder. Requests of one connection are answered strictly in order: while one that was
/// passed on is not yet answered, everything that was pipelined behind it is held here.
public final class HotDoor: ChannelDuplexHandler, RemovableChannelHandler {
    public typealias InboundIn = HTTPRequestPart
    public typealias InboundOut = HTTPRequestPart
    public typealias OutboundIn = HTTPResponsePart
    public typealias OutboundOut = HTTPResponsePart

    private struct HotRequest {
        let head: HTTPRequest
        let endpoint: String
        let bodyBytesMax: Int
        var body: ByteBuffer
        var refused: KeelError?
    }

    private let runtime: ServingRuntime
    private let gate: RequestGate
    private var hot: HotRequest?
    /// Between the head and the end of a request that is passed on.
    private var isPassing = false
    /// Whether a request that was passed on still has no whole answer.
    private var awaitsAnswer = false
    /// Parts of requests pipelined behind it.
    private var held: CircularBuffer<HTTPRequestPart> = []
    private static let heldPartsMax = 4096

    /// What it answers, for who must know every route.
    public static let routes: [(method: HTTPRequest.Method, path: String)] = [(.post, "/v2/models/:name/infer")]
    /// What it asks that the caller may do.
    static let action = Action.predict

    public init(runtime: ServingRuntime, gate: RequestGate) {
        self.runtime = runtime
        self.gate = gate
    }

    /// The endpoint's name when the path is a hot one.
    static func endpoint(of path: String?) -> String? {
        guard let path, path.hasPrefix("/v2/models/"), path.hasSuffix("/infer") else { return nil }
        let name = path.dropFirst(11).dropLast(6)
        return name.isEmpty || name.utf8.contains(UInt8(ascii: "/")) ? nil : String(name)
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard held.isEmpty, !awaitsAnswer || isPassing else {
            if held.count < HotDoor.heldPartsMax { held.append(part) } else { context.close(promise: nil) }
            return
        }
        handle(part, context)
    }

    private func handle(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head):
            guard head.method == .post, let endpoint = HotDoor.endpoint(of: head.path) else {
                (isPassing, awaitsAnswer) = (true, true)
                context.fireChannelRead(wrapInboundOut(part))
                return
            }
            let announced = head.headerFields[.contentLength].flatMap { Int($0) } ?? 0
            let bodyBytesMax = runtime.bodyBytesMax(endpoint: endpoint)
            hot = HotRequest(
                head: head, endpoint: endpoint, bodyBytesMax: bodyBytesMax,
                body: context.channel.allocator.buffer(capacity: min(max(announced, 0), 65_536)),
                refused: announced > bodyBytesMax ? HotDoor.tooLarge(bodyBytesMax) : nil)
        case .body(var bytes):
            guard hot != nil else { return context.fireChannelRead(wrapInboundOut(part)) }
            if let request = hot, request.body.readableBytes + bytes.readableBytes > request.bodyBytesMax {
                hot?.refused = HotDoor.tooLarge(request.bodyBytesMax)
                hot?.body.clear()
            } else if hot?.refused == nil {
                hot?.body.writeBuffer(&bytes)
            }
        case .end:
            guard let request = hot else {
                isPassing = false
                return context.fireChannelRead(wrapInboundOut(part))
            }
            hot = nil
            answer(context, request)
        }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // The channel reads on demand, and nobody behind this handler knows of the hot requests: it asks for the next bytes itself.
        if !awaitsAnswer { context.read() }
    }

    public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let isEnd = if case .end = unwrapOutboundIn(data) { true } else { false }
        context.write(data, promise: promise)
        guard isEnd else { return }
        awaitsAnswer = false
        guard !held.isEmpty else { return context.read() }
        while !awaitsAnswer || isPassing, let part = held.popFirst() { handle(part, context) }
        context.fireChannelReadComplete()
        if !awaitsAnswer { context.read() }
    }

    private static func tooLarge(_ bodyBytesMax: Int) -> KeelError {
        KeelError(.payloadTooLarge, "the body is larger than \(bodyBytesMax) bytes", hint: "send fewer rows a request")
    }

    private func answer(_ context: ChannelHandlerContext, _ request: HotRequest) {
        var (status, bytes): (HTTPResponse.Status, [UInt8])
        do throws(KeelError) {
            if let refused = request.refused { throw refused }
            (status, bytes) = (.ok, try respond(request.head, request.endpoint, request.body))
        } catch {
            (status, bytes) = (error.code.status, InferResponse.failure(error))
        }
        var response = HTTPResponse(status: status)
        response.headerFields[.contentType] = "application/json"
        response.headerFields[.contentLength] = String(bytes.count)
        if status == .serviceUnavailable { response.headerFields[.retryAfter] = "1" }
        let closes = request.head.headerFields[.connection]?.lowercased() == "close"
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
        _ = try gate.grant(caller, may: HotDoor.action, on: "Endpoint/\(endpoint)")
        let parsed: Result<InferRequest, KeelError> = body.withUnsafeReadableBytes { raw in
            do throws(KeelError) { return .success(try InferRequest(parsing: raw.bindMemory(to: UInt8.self))) } catch {
                return .failure(error)
            }
        }
        let request = try parsed.get()
        let result = try runtime.infer(endpoint: endpoint, request: request.table, ids: request.ids)
        return InferResponse(
            model: endpoint, version: result.modelVersion, id: request.id, release: result.release, ids: result.ids, scores: result.scores
        ).bytes
    }
}
