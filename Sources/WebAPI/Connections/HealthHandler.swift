import HTTPTypes
import NIOCore
import NIOHTTP1

/// Answers `GET /health` on the event loop, which never does slow work: a server whose threads are all busy is not a dead one.
public final class HealthHandler: ChannelInboundHandler {
    public typealias InboundIn = HTTPServerRequestPart
    public typealias InboundOut = HTTPServerRequestPart
    public typealias OutboundOut = HTTPServerResponsePart

    /// What it serves, without asking who calls.
    public static let route: (method: HTTPRequest.Method, path: String) = (.get, "/health")
    private var isAnswering = false

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            isAnswering = head.method == .GET && head.uri.prefix { $0 != "?" } == HealthHandler.route.path[...]
        case .body: break
        case .end:
            guard isAnswering else { break }
            isAnswering = false
            return answer(context)
        }
        if !isAnswering { context.fireChannelRead(data) }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if isAnswering { context.read() }
    }

    private func answer(_ context: ChannelHandlerContext) {
        let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-type": "text/plain", "content-length": "2"])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(string: "OK")))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
