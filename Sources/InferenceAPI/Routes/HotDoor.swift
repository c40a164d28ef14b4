import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import Platform
import Serving

/// Answers `POST /v2/models/{endpoint}/infer` on the event loop that owns the connection, without a task hop; passes every other request on.
///
/// It sits in hummingbird's pipeline behind the HTTP decoder. Requests of one connection are answered strictly in order: while one is not yet
/// answered, everything that was pipelined behind it is held here.
public final class HotDoor: ChannelDuplexHandler, RemovableChannelHandler {
    public typealias InboundIn = HTTPRequestPart
    public typealias InboundOut = HTTPRequestPart
    public typealias OutboundIn = HTTPResponsePart
    public typealias OutboundOut = HTTPResponsePart

    private struct HotRequest {
        let head: HTTPRequest
        let target: InferenceTarget
        let bodyBytesMax: Int
        var body: ByteBuffer
        var refused: KeelError?
    }

    private let runtime: ServingRuntime
    private let gate: RequestGate
    private var hot: HotRequest?
    /// Between the head and the end of a request that is passed on.
    private var isPassing = false
    /// Whether a request that has come whole, or was passed on, still has no whole answer.
    private var awaitsAnswer = false
    /// Parts of requests pipelined behind it.
    private var held: CircularBuffer<HTTPRequestPart> = []
    private static let heldPartsMax = 4096
    private var isGoingOn = false

    /// The routes that it serves. Used by those who list every route.
    public static let routes: [(method: HTTPRequest.Method, path: String)] = [
        (.post, "/v2/models/:name/infer"), (.post, "/v2/models/:name/versions/:version/infer"),
    ]
    /// What it asks that the caller may do.
    static let action = Action.predict

    public init(runtime: ServingRuntime, gate: RequestGate) {
        self.runtime = runtime
        self.gate = gate
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
            guard head.method == .post, let target = InferenceTarget(path: head.path) else {
                (isPassing, awaitsAnswer) = (true, true)
                context.fireChannelRead(wrapInboundOut(part))
                return
            }
            let announced = head.headerFields[.contentLength].flatMap { Int($0) } ?? 0
            let bodyBytesMax = runtime.bodyBytesMax(endpoint: target.endpoint)
            hot = HotRequest(
                head: head, target: target, bodyBytesMax: bodyBytesMax,
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
            awaitsAnswer = true
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
        if isEnd { goOn(context) }
    }

    /// With what was pipelined behind the request that has its answer now.
    private func goOn(_ context: ChannelHandlerContext) {
        awaitsAnswer = false
        // An answer that is given at once comes here from within the loop below.
        guard !isGoingOn else { return }
        guard !held.isEmpty else { return context.read() }
        isGoingOn = true
        defer { isGoingOn = false }
        while !awaitsAnswer || isPassing, let part = held.popFirst() { handle(part, context) }
        context.fireChannelReadComplete()
        if !awaitsAnswer { context.read() }
    }

    private static func tooLarge(_ bodyBytesMax: Int) -> KeelError {
        KeelError(.payloadTooLarge, "the body is larger than \(bodyBytesMax) bytes", hint: "send fewer rows a request")
    }

    private func answer(_ context: ChannelHandlerContext, _ request: HotRequest) {
        do throws(KeelError) {
            if let refused = request.refused { throw refused }
            _ = try gate.grant(try gate.caller(of: request.head), may: HotDoor.action, on: "Endpoint/\(request.target.endpoint)")
        } catch { return write(context, InferenceAnswer(error), to: request) }
        let box = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        runtime.answer(request.target, request.head, request.body) { answer in
            // The answer may come at once, or from another thread.
            if eventLoop.inEventLoop {
                box.value.handler.write(box.value.context, answer, to: request)
            } else {
                eventLoop.execute { box.value.handler.write(box.value.context, answer, to: request) }
            }
        }
    }

    private func write(_ context: ChannelHandlerContext, _ answer: InferenceAnswer, to request: HotRequest) {
        var head = answer.head
        let closes = request.head.headerFields[.connection]?.lowercased() == "close"
        if closes { head.headerFields[.connection] = "close" }
        var buffer = context.channel.allocator.buffer(capacity: answer.bytes.count)
        buffer.writeBytes(answer.bytes)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(buffer)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        if closes { context.close(promise: nil) } else { goOn(context) }
    }
}
