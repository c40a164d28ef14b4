import Contracts
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import Serving
import WebAPI

/// Answers `POST /v2/models/{endpoint}/infer` on the event loop that owns the connection, without a task hop; passes every other request on.
///
/// `RequestAdmission` comes before it: it lets one request of a connection pass at a time, and knows who sent it.
public final class InferenceHandler: ChannelInboundHandler {
    public typealias InboundIn = HTTPServerRequestPart
    public typealias InboundOut = HTTPServerRequestPart
    public typealias OutboundOut = HTTPServerResponsePart

    private let runtime: ServingRuntime
    private let gate: RequestGate
    private let connection: HTTPConnection
    private let logger: Logger
    private var hot: HotRequest?
    /// What the last path named: connections ask the same again and again.
    private var lastTarget: InferenceTarget?
    /// Between the head and the end of a request that is passed on.
    private var isPassing = false

    /// The routes that this handler serves. Used by code that needs every route.
    public static let routes: [(method: HTTPRequest.Method, path: String)] = [
        (.post, "/v2/models/:name/infer"), (.post, "/v2/models/:name/versions/:version/infer"),
    ]
    /// What a caller must be allowed to do.
    static let action = Action.predict

    public init(runtime: ServingRuntime, gate: RequestGate, connection: HTTPConnection, logger: Logger) {
        self.runtime = runtime
        self.gate = gate
        self.connection = connection
        self.logger = logger
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard head.method == .POST, let target = target(head.uri) else {
                isPassing = true
                return context.fireChannelRead(data)
            }
            let fields = InferenceFields(head.headers)
            do throws(KeelError) { hot = try begin(fields, target, context) } catch { write(context, InferenceAnswer(error), to: target, fields) }
        case .body(var bytes):
            guard !isPassing else { return context.fireChannelRead(data) }
            // What still arrives of a request that was refused is ignored.
            guard let target = hot?.target, let fields = hot?.fields else { return }
            do throws(KeelError) { try append(&bytes) } catch {
                hot = nil
                write(context, InferenceAnswer(error), to: target, fields)
            }
        case .end:
            guard !isPassing else {
                isPassing = false
                return context.fireChannelRead(data)
            }
            guard let request = hot else { return }
            hot = nil
            answer(context, request)
        }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // The channel reads on demand, and the handlers behind this one never see a hot request. So this one asks for the rest of a body.
        if hot != nil { context.read() }
    }

    /// What cannot be read to its end is not predicted from.
    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        hot = nil
        context.fireErrorCaught(error)
    }

    public func channelInactive(context: ChannelHandlerContext) {
        hot = nil
        context.fireChannelInactive()
    }

    private func target(_ path: String) -> InferenceTarget? {
        if let lastTarget, lastTarget.path == path { return lastTarget }
        guard let target = InferenceTarget(path: path) else { return nil }
        lastTarget = target
        return target
    }

    private func begin(_ fields: InferenceFields, _ target: InferenceTarget, _ context: ChannelHandlerContext) throws(KeelError) -> HotRequest {
        let caller = try connection.caller()
        let endpoint = target.endpoint(in: caller.workspace)
        try gate.require(caller, may: InferenceHandler.action, on: endpoint)
        let coding = try ContentCoding.ofBody(fields.contentEncoding)
        let bodyBytesMax = runtime.bodyBytesMax(endpoint: endpoint)
        let announced = fields.bodyBytes ?? 0
        guard announced <= bodyBytesMax else { throw InferenceHandler.tooLarge(bodyBytesMax) }
        return HotRequest(
            fields: fields, target: target, endpoint: endpoint, coding: coding, bodyBytesMax: bodyBytesMax, memory: MemoryReservation(of: connection.memory),
            body: context.channel.allocator.buffer(capacity: min(max(announced, 0), 65_536)))
    }

    /// Keeps a part of the body.
    private func append(_ bytes: inout ByteBuffer) throws(KeelError) {
        guard let request = hot else { return }
        guard request.body.readableBytes + bytes.readableBytes <= request.bodyBytesMax else {
            throw InferenceHandler.tooLarge(request.bodyBytesMax)
        }
        try request.memory.take(bytes.readableBytes * MemoryReservation.bytesPerBodyByte, for: .requests)
        hot?.body.writeBuffer(&bytes)
    }

    private static func tooLarge(_ bodyBytesMax: Int) -> KeelError {
        KeelError(.payloadTooLarge, "the body is larger than \(bodyBytesMax) bytes", hint: "send fewer rows a request")
    }

    private func answer(_ context: ChannelHandlerContext, _ request: HotRequest) {
        let eventLoop = context.eventLoop
        let box = NIOLoopBound((handler: self, context: context), eventLoop: eventLoop)
        let (memory, target, fields) = (request.memory, request.target, request.fields)
        runtime.answer(request) { answer in
            // The answer may come at once, or from another thread; until it is written the request's memory is taken.
            if eventLoop.inEventLoop {
                box.value.handler.write(box.value.context, answer, to: target, fields)
            } else {
                eventLoop.execute {
                    box.value.handler.write(box.value.context, answer, to: target, fields)
                    _ = memory
                }
            }
        }
    }

    private func write(_ context: ChannelHandlerContext, _ answer: InferenceAnswer, to target: InferenceTarget, _ fields: InferenceFields) {
        let correlation = fields.correlation
        if let fault = answer.fault {
            logger.error("POST \(target.path): \(fault)", metadata: correlation.requestID.map { ["request": "\($0)"] })
        }
        var buffer = context.channel.allocator.buffer(capacity: answer.bytes.count)
        buffer.writeBytes(answer.bytes)
        context.write(wrapOutboundOut(.head(answer.head(correlation))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
