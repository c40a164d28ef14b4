import Contracts
import Glibc
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Takes connections and answers their requests until the service group stops.
///
/// Hummingbird's own server takes connections on an event loop that also serves some of them, and waits while ten have no task yet. The system's queue
/// is short (`net.core.somaxconn`; 128 on some machines), and a client that finds it full tries again only after a second. Here the listening
/// socket has a thread of its own that does nothing else, and takes all that wait; `ConnectionLimiter` bounds how many.
public struct Listener: Service {
    private static let acceptsMax: UInt = 256
    /// The thread that takes connections; like NIO's own it lives as long as the process.
    private static let taking = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private let options: ServerChannel.Options
    private let respond: HTTPChannelHandler.Responder
    private let host: String
    private let port: Int
    private let onListening: @Sendable (SocketAddress?) -> Void
    private let backlog: Int32
    private let logger: Logger

    /// - Parameters:
    ///   - port: 0 lets the system choose.
    ///   - backlog: how many connections that are not taken yet the system keeps, where it allows that many.
    ///   - onListening: called once connections are taken, with the address.
    public init(
        router: Router<KeelContext>, options: ServerChannel.Options, host: String, port: Int, serverName: String, logger: Logger,
        backlog: Int32 = 4096, onListening: @escaping @Sendable (SocketAddress?) -> Void
    ) {
        let responder = router.buildResponder()
        let date = DateHeader()
        self.options = options
        self.host = host
        self.port = port
        self.backlog = backlog
        self.logger = logger
        self.onListening = onListening
        respond = { request, writer, channel in
            var response = try await responder.respond(to: request, context: KeelContext(source: .init(channel: channel, logger: logger)))
            response.headers[.date] = date.text
            response.headers[.server] = serverName
            try await writer.write(response: response.head, body: response.body)
        }
    }

    /// Ends after a graceful shutdown, when every connection is closed.
    ///
    /// - Throws: when the address cannot be listened on.
    public func run() async throws {
        let server = ServerChannel(responder: respond, options: options)
        let quiescing = ServerQuiescingHelper(group: Listener.taking)
        // Never reached: the limiter refuses connections before it.
        let connectionsMax = options.connections.total + 1
        let listener = try await ServerBootstrap(group: Listener.taking, childGroup: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: Listener.acceptsMax)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(
                host: host, port: port, serverBackPressureStrategy: .init(lowWatermark: connectionsMax, highWatermark: connectionsMax)
            ) { server.setup(channel: $0, logger: logger) }
        await withGracefulShutdownHandler {
            onListening(listener.channel.localAddress)
            await withDiscardingTaskGroup { group in
                do {
                    try await listener.executeThenClose { connections in
                        for try await connection in connections {
                            group.addTask { await server.handle(value: connection, logger: logger) }
                        }
                    }
                } catch { logger.error("no more connections are taken: \(error)") }
            }
        } onGracefulShutdown: {
            quiescing.initiateShutdown(promise: nil)
        }
    }
}

/// The time of an answer as HTTP writes it (RFC 9110, 5.6.7), made once a second.
package final class DateHeader: Sendable {
    private let clock: any Clock
    private let last = Mutex((second: Int64(-1), text: ""))

    package init(clock: any Clock = SystemClock()) { self.clock = clock }

    package var text: String {
        let now = clock.now().milliseconds / 1000
        return last.withLock { last in
            if last.second != now { last = (now, DateHeader.text(second: now)) }
            return last.text
        }
    }

    /// - Parameter second: since 1970.
    package static func text(second: Int64) -> String {
        var second = time_t(second)
        var fields = tm()
        gmtime_r(&second, &fields)
        // The process never sets a locale, so the names are those of "C".
        return String(unsafeUninitializedCapacity: 32) { strftime($0.baseAddress!, $0.count, "%a, %d %b %Y %H:%M:%S GMT", &fields) }
    }
}
