import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes
import Platform
import Serving

/// Answers `POST /v2/models/{endpoint}/infer` on the event loop that owns the connection, without a task hop; passes every other request on.
///
/// It stands behind `RequestAdmission`, which lets one request pass at a time and knows who sent it.
public final class HotDoor: ChannelInboundHandler {
    public typealias InboundIn = HTTPRequestPart
    public typealias InboundOut = HTTPRequestPart
    public typealias OutboundOut = HTTPResponsePart

    private struct HotRequest {
        let head: HTTPRequest
        let endpoint: String
        let bodyBytesMax: Int
        let memory: MemoryReservation
        var body: ByteBuffer
    }

    private let runtime: ServingRuntime
    private let gate: RequestGate
    private let connection: HTTPConnection
    private var hot: HotRequest?
    /// Between the head and the end of a request that is passed on.
    private var isPassing = false

    /// The routes that it serves. Used by those who list every route.
    public static let routes: [(method: HTTPRequest.Method, path: String)] = [(.post, "/v2/models/:name/infer")]
    /// What it asks that the caller may do.
    static let action = Action.predict

    public init(runtime: ServingRuntime, gate: RequestGate, connection: HTTPConnection) {
        self.runtime = runtime
        self.gate = gate
        self.connection = connection
    }

    /// The endpoint's name when the path is a hot one.
    static func endpoint(of path: String?) -> String? {
        guard let path, path.hasPrefix("/v2/models/"), path.hasSuffix("/infer") else { return nil }
        let name = path.dropFirst(11).dropLast(6)
        return name.isEmpty || name.utf8.contains(UInt8(ascii: "/")) ? nil : String(name)
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard head.method == .post, let endpoint = HotDoor.endpoint(of: head.path) else {
                isPassing = true
                return context.fireChannelRead(data)
            }
            do throws(KeelError) { hot = try begin(head, endpoint, context) } catch { refuse(context, error) }
        case .body(var bytes):
            guard !isPassing else { return context.fireChannelRead(data) }
            do throws(KeelError) { try append(&bytes) } catch {
                hot = nil
                refuse(context, error)
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
        // The channel reads on demand, and nobody behind this handler knows of the hot requests: it asks for the rest of a body itself.
        if hot != nil { context.read() }
    }

    public func channelInactive(context: ChannelHandlerContext) {
        hot = nil
        context.fireChannelInactive()
    }

    private func begin(_ head: HTTPRequest, _ endpoint: String, _ context: ChannelHandlerContext) throws(KeelError) -> HotRequest {
        _ = try gate.grant(try connection.caller(), may: HotDoor.action, on: "Endpoint/\(endpoint)")
        let bodyBytesMax = runtime.bodyBytesMax(endpoint: endpoint)
        let announced = head.headerFields[.contentLength].flatMap { Int($0) } ?? 0
        guard announced <= bodyBytesMax else { throw HotDoor.tooLarge(bodyBytesMax) }
        return HotRequest(
            head: head, endpoint: endpoint, bodyBytesMax: bodyBytesMax, memory: MemoryReservation(of: connection.memory),
            body: context.channel.allocator.buffer(capacity: min(max(announced, 0), 65_536)))
    }

    /// Once a request is refused, the rest of its body is nobody's.
    private func append(_ bytes: inout ByteBuffer) throws(KeelError) {
        guard let request = hot else { return }
        guard request.body.readableBytes + bytes.readableBytes <= request.bodyBytesMax else { throw HotDoor.tooLarge(request.bodyBytesMax) }
        try request.memory.take(bytes.readableBytes * MemoryReservation.bytesPerBodyByte, for: .requests)
        hot?.body.writeBuffer(&bytes)
    }

    private static func tooLarge(_ bodyBytesMax: Int) -> KeelError {
        KeelError(.payloadTooLarge, "the body is larger than \(bodyBytesMax) bytes", hint: "send fewer rows a request")
    }

    private func answer(_ context: ChannelHandlerContext, _ request: HotRequest) {
        do throws(KeelError) {
            write(context, .ok, try respond(request.endpoint, request.body))
        } catch { refuse(context, error) }
    }

    private func refuse(_ context: ChannelHandlerContext, _ error: KeelError) {
        write(context, error.code.status, InferResponse.failure(error))
    }

    private func write(_ context: ChannelHandlerContext, _ status: HTTPResponse.Status, _ bytes: [UInt8]) {
        var response = HTTPResponse(status: status)
        response.headerFields[.contentType] = "application/json"
        response.headerFields[.contentLength] = String(bytes.count)
        if status == .serviceUnavailable || status == .tooManyRequests { response.headerFields[.retryAfter] = "1" }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(wrapOutboundOut(.body(buffer)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func respond(_ endpoint: String, _ body: ByteBuffer) throws(KeelError) -> [UInt8] {
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
