import Contracts
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOSSL

/// What stands on each connection, from the socket inwards: TLS, the watch over slow clients, the HTTP decoder with its limits, the admission of
/// requests, the handlers of `/health` and of hot routes, and hummingbird for all others. A connection that begins as HTTP/2 gets the handlers of that
/// instead of all behind the watch.
public struct ServerChannel: HTTPChannelHandler {
    public struct Options: Sendable {
        let gate: RequestGate
        let open: OpenRoutes
        let connections: ConnectionLimiter
        let memory: MemoryBudget
        let tls: ServerTLS?
        let hotHandlers: @Sendable (HTTPConnection) -> [any ChannelHandler]
        let http2Handlers: @Sendable (HTTPConnection, ConnectionWatch) -> [any ChannelHandler]

        /// - Parameters:
        ///   - open: the routes that need no caller.
        ///   - tls: nil for plain HTTP.
        ///   - hotHandlers: made for each connection; they answer their routes on its event loop and pass on every other request.
        ///   - http2Handlers: made for each connection that begins with the preface of HTTP/2: they answer everything on it, and tell the watch what is
        ///     expected of the client.
        public init(
            gate: RequestGate, open: OpenRoutes, connections: ConnectionLimiter, memory: MemoryBudget, tls: ServerTLS?,
            hotHandlers: @escaping @Sendable (HTTPConnection) -> [any ChannelHandler],
            http2Handlers: @escaping @Sendable (HTTPConnection, ConnectionWatch) -> [any ChannelHandler]
        ) {
            self.gate = gate
            self.open = open
            self.connections = connections
            self.memory = memory
            self.tls = tls
            self.hotHandlers = hotHandlers
            self.http2Handlers = http2Handlers
        }
    }

    public struct Value: ServerChildChannelValue {
        let parts: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
        let connection: HTTPConnection
        public var channel: any Channel { parts.channel }
    }

    /// What the system holds for one connection of an answer that is on its way.
    private static let sendBufferBytes = 512 << 10
    private static let headerBytesMax = 64 << 10
    private static let headerFieldBytesMax = 32 << 10
    private static let headerFieldsMax = 200

    public let responder: Responder
    private let options: Options

    public init(responder: @escaping Responder, options: Options) {
        self.responder = responder
        self.options = options
    }

    public func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let connection = HTTPConnection(channel: channel, isEncrypted: options.tls != nil, memory: options.memory)
        let connections = options.connections
        if case .refused(let isNews) = connections.open(connection.client) {
            if isNews {
                logger.warning(
                    "a connection of \(connection.client) was refused: \(connections.count) of \(connections.total) are open, \(connections.perClient) are allowed from one address (connections.max, connections.client)"
                )
            }
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(KeelError(.unavailable, "there are too many connections"))
        }
        channel.closeFuture.whenComplete { _ in connections.close(connection.client) }
        return channel.eventLoop.makeCompletedFuture {
            try channel.syncOptions?.setOption(.socketOption(.so_sndbuf), value: .init(ServerChannel.sendBufferBytes))
            // One buffer of one connection at a time: what is in it may be thousands of small parts, and others wait for the event loop.
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            let pipeline = channel.pipeline.syncOperations
            if let tls = options.tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls.context)) }
            let watch = ConnectionWatch(logger: logger)
            try pipeline.addHandler(watch)
            try pipeline.addHandler(
                ProtocolDetector { [options] detector, version in
                    switch version {
                    case .http1: try ServerChannel.addHTTP1(to: pipeline, behind: detector, options, connection, watch)
                    case .http2: try pipeline.addHandlers(options.http2Handlers(connection, watch), position: .after(detector))
                    }
                })
            let parts = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            return Value(parts: parts, connection: connection)
        }
    }

    private static func addHTTP1(
        to pipeline: ChannelPipeline.SynchronousOperations, behind detector: ProtocolDetector, _ options: Options, _ connection: HTTPConnection,
        _ watch: ConnectionWatch
    ) throws {
        let admission = RequestAdmission(connection: connection, gate: options.gate, open: options.open, watch: watch)
        try pipeline.addHandlers(
            [admission, HealthHandler()] + options.hotHandlers(connection) + [HTTP1ToHTTPServerCodec(secure: connection.isEncrypted)],
            position: .after(detector))
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderListSize = headerBytesMax
        limits.maxHeaderFieldSize = headerFieldBytesMax
        limits.maxHeaderFieldCount = headerFieldsMax
        // They stand before what was added above.
        try pipeline.configureHTTPServerPipeline(
            position: .after(detector), withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
    }

    public func handle(value: Value, logger: Logger) async {
        await HTTPConnection.$current.withValue(value.connection) { await handleHTTP(asyncChannel: value.parts, logger: logger) }
    }
}

extension HTTPServerBuilder {
    public static func keel(_ options: ServerChannel.Options) -> HTTPServerBuilder {
        HTTPServerBuilder { ServerChannel(responder: $0, options: options) }
    }
}
