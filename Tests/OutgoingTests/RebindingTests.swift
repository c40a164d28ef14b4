import Contracts
import NIOCore
import NIOHTTP1
import NIOPosix
import Outgoing
import Registry
import Synchronization
import Testing

/// Answers each question for a name with the next of its answers.
final class ChangingNames: HostResolver {
    private let answers: Mutex<[[String]]>
    let asked = Mutex<[String]>([])

    init(_ answers: [[String]]) { self.answers = Mutex(answers) }

    func addresses(of host: String) async throws -> [NetworkAddress] {
        asked.withLock { $0.append(host) }
        return answers.withLock { $0.isEmpty ? [] : $0.removeFirst() }.compactMap(NetworkAddress.init(literal:))
    }
}

/// A receiver on one address; it keeps the `Host` of what it was sent and counts connections.
final class LocalReceiver: Sendable {
    let hosts = Mutex<[String]>([])
    let connections = Mutex(0)
    private let channel = Mutex<(any Channel)?>(nil)

    /// - Parameter status: what it answers with; with `location`, a redirect.
    static func start(
        on address: String, port: Int = 0, status: HTTPResponseStatus = .ok, location: String? = nil, body: String = ""
    ) async throws -> LocalReceiver {
        let receiver = LocalReceiver()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                receiver.connections.withLock { $0 += 1 }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(receiver, status, location, body))
                }
            }.bind(host: address, port: port).get()
        receiver.channel.withLock { $0 = channel }
        return receiver
    }

    var port: Int { channel.withLock { $0?.localAddress?.port ?? 0 } }
    func stop() async throws { try await channel.withLock { $0 }?.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        let receiver: LocalReceiver
        let status: HTTPResponseStatus
        let location: String?
        let body: String
        init(_ receiver: LocalReceiver, _ status: HTTPResponseStatus, _ location: String?, _ body: String) {
            self.receiver = receiver
            self.status = status
            self.location = location
            self.body = body
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): receiver.hosts.withLock { $0.append(head.headers.first(name: "host") ?? "") }
            case .body: break
            case .end:
                var headers = HTTPHeaders([("Content-Length", "\(body.utf8.count)")])
                if let location { headers.add(name: "Location", value: location) }
                context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))), promise: nil)
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}

private func sender(_ names: any HostResolver, allowsInternal: Bool) throws -> WebhookHTTP {
    WebhookHTTP(schemes: ["http"], allowsInternal: allowsInternal, resolver: names, http: try OutgoingHTTP(trusting: nil))
}

@Suite("Names whose addresses change between the check and the call")
struct RebindingTests {
    @Test("the address that was checked is the one that is called: a name is asked for once")
    func once() async throws {
        let checked = try await LocalReceiver.start(on: "127.0.0.1")
        let other = try await LocalReceiver.start(on: "127.0.0.2", port: checked.port)
        let names = ChangingNames([["127.0.0.1"], ["127.0.0.2"]])
        let answer = try await sender(names, allowsInternal: true).post("{}", headers: [], to: "http://changing.example:\(checked.port)/")
        #expect(answer.status == 200)
        #expect(names.asked.withLock { $0 } == ["changing.example"])
        #expect(checked.hosts.withLock { $0 } == ["changing.example:\(checked.port)"] && other.connections.withLock { $0 } == 0)
        try await checked.stop()
        try await other.stop()
    }

    @Test("a name that was public when the webhook was made and is internal when it is called is not connected to")
    func later() async throws {
        let inner = try await LocalReceiver.start(on: "127.0.0.1")
        let names = ChangingNames([["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
        let (sender, url) = (try sender(names, allowsInternal: false), "http://changing.example:\(inner.port)/")
        try await sender.check(url: url)
        for _ in 0..<2 {
            let error = await #expect(throws: KeelError.self) { _ = try await sender.post("{}", headers: [], to: url) }
            #expect(error?.code == .invalidArgument && error?.message.contains("non-public") == true)
        }
        #expect(inner.connections.withLock { $0 } == 0)
        try await inner.stop()
    }

    @Test("a redirect is an answer, not a place to go", arguments: [301, 302, 303, 307, 308])
    func redirects(status: Int) async throws {
        let inner = try await LocalReceiver.start(on: "127.0.0.1")
        let outer = try await LocalReceiver.start(
            on: "127.0.0.1", status: HTTPResponseStatus(statusCode: status), location: "http://127.0.0.1:\(inner.port)/")
        let answer = try await sender(SystemResolver(), allowsInternal: true).post("{}", headers: [], to: "http://127.0.0.1:\(outer.port)/")
        #expect(answer.status == status && outer.hosts.withLock { $0.count } == 1 && inner.connections.withLock { $0 } == 0)
        try await inner.stop()
        try await outer.stop()
    }

    @Test("of several addresses the first that takes the connection is called")
    func several() async throws {
        let receiver = try await LocalReceiver.start(on: "127.0.0.1")
        let names = ChangingNames([["127.0.0.3", "127.0.0.1"]])
        let answer = try await sender(names, allowsInternal: true).post("{}", headers: [], to: "http://two.example:\(receiver.port)/")
        #expect(answer.status == 200)
        try await receiver.stop()
    }

    @Test("a document is read whole or not at all, and not from an internal address unless that is allowed")
    func documents() async throws {
        let text = String(repeating: "x", count: 100_000)
        let receiver = try await LocalReceiver.start(on: "127.0.0.1", body: text)
        func http(allowsInternal: Bool) throws -> GuardedHTTP {
            GuardedHTTP(
                for: .issuer, schemes: ["http"], allowsInternal: allowsInternal, resolver: SystemResolver(),
                http: try OutgoingHTTP(trusting: nil))
        }
        let url = "http://127.0.0.1:\(receiver.port)/keys"
        let whole = try await http(allowsInternal: true).get(url, bytesMax: 100_001)
        #expect(whole.status == 200 && whole.body == Array(text.utf8))
        let large = await #expect(throws: KeelError.self) { _ = try await http(allowsInternal: true).get(url, bytesMax: 100_000) }
        #expect(large?.code == .unavailable && large?.message.contains("more than 100000 bytes") == true)
        let refused = await #expect(throws: KeelError.self) { _ = try await http(allowsInternal: false).get(url, bytesMax: 100_001) }
        #expect(refused?.code == .invalidArgument && refused?.hint == "the setting oidc.internal allows it")
        #expect(receiver.connections.withLock { $0 } == 2)
        try await receiver.stop()
    }
}
