import NIOCore
import NIOPosix
import NIOSSL

extension KeelClient {
    /// Whether the server answers HTTP/2 on this address, over which it serves gRPC: it gets the preface of a client and must send its settings
    /// (RFC 9113, 3.4).
    public func answersHTTP2(within limit: TimeAmount = .seconds(5)) async -> Bool {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let answer = loop.makePromise(of: Bool.self)
        let target = target
        let connecting = ClientBootstrap(group: loop).connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = target.tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: target.name))
                    }
                    try channel.pipeline.syncOperations.addHandler(HTTP2Probe(answer))
                }
            }
            .connect(host: target.host, port: target.port)
        connecting.whenFailure { _ in answer.succeed(false) }
        let late = loop.scheduleTask(in: limit) { answer.succeed(false) }
        let found = (try? await answer.futureResult.get()) ?? false
        late.cancel()
        try? await connecting.get().close()
        return found
    }
}

/// Sends the preface with empty settings, and reads the head of the first frame.
private final class HTTP2Probe: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// Nine bytes: no payload, the type of settings, no flags, the stream of the connection.
    private static let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
    private static let settingsType: UInt8 = 4

    private let answer: EventLoopPromise<Bool>
    private var head: [UInt8] = []

    init(_ answer: EventLoopPromise<Bool>) { self.answer = answer }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: HTTP2Probe.preface + HTTP2Probe.settings)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard head.count < HTTP2Probe.settings.count else { return }
        head += unwrapInboundIn(data).readableBytesView.prefix(HTTP2Probe.settings.count - head.count)
        if head.count == HTTP2Probe.settings.count { answer.succeed(head[3] == HTTP2Probe.settingsType) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.succeed(false)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.succeed(false)
        context.close(promise: nil)
    }
}
