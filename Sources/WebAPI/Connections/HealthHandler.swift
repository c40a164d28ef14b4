import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Answers `GET /health` on the event loop, which never does slow work: a server whose threads are all busy is not a dead one.
public final class HealthHandler: ChannelInboundHandler {
    public typealias InboundIn = HTTPRequestPart
    public typealias InboundOut = HTTPRequestPart
    public typealias OutboundOut = HTTPResponsePart

    /// What it serves, without asking who calls.
    public static let route: (method: HTTPRequest.Method, path: String) = (.get, "/health")
    private var isAnswering = false

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            isAnswering = head.method == HealthHandler.route.method && head.path?.prefix { $0 != "?" } == HealthHandler.route.path[...]
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
        let head = HTTPResponse(status: .ok, headerFields: [.contentType: "text/plain", .contentLength: "2"])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(context.channel.allocator.buffer(string: "OK"))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}
