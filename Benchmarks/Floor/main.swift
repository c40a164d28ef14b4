import NIOCore
import NIOHTTP1
import NIOPosix

// The least an HTTP/1 server made of SwiftNIO does for a request: it reads the request to its end and answers a fixed body. The benchmarks compare
// Keel with this. `nio-floor PORT` listens on the loopback interface with one event loop per core.

/// Answers every request with the same JSON, of about the size of Keel's answer for one row.
final class FixedAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answer: ByteBuffer
    private let head: HTTPResponseHead

    init() {
        answer = ByteBuffer(
            string: #"{"model_name":"one","model_version":"1","outputs":[{"name":"predictions","shape":[1],"datatype":"FP32","data":[0.5]}]}"#)
        head = HTTPResponseHead(
            version: .http1_1, status: .ok, headers: ["content-type": "application/json", "content-length": "\(answer.readableBytes)"])
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = unwrapInboundIn(data) else { return }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(answer))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}

guard CommandLine.arguments.count == 2, let port = Int(CommandLine.arguments[1]) else { fatalError("usage: nio-floor PORT") }
let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
let server = try await ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: 256)
    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
            try channel.pipeline.syncOperations.addHandler(FixedAnswerHandler())
        }
    }
    .bind(host: "127.0.0.1", port: port).get()
try await server.closeFuture.get()
