import Contracts
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Calls one server again and again, on connections that are kept.
///
/// Each connection is made as a single call is: the name is resolved, all addresses are checked, and one that was checked is connected to. A connection is used
/// for a minute at most, so that a name that moved is followed. No redirects, no proxies.
package final class OutgoingSession: Sendable {
    package struct Request: Sendable {
        package let method: String
        /// What follows the URL of the session.
        package let path: String
        package let headers: [(name: String, value: String)]
        package let body: [UInt8]
        /// A larger answer is an error.
        package let answerBytesMax: Int
        /// What its answer takes memory of as it comes; nil: it is not counted.
        package let memory: MemoryReservation?

        package init(
            _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [], answerBytesMax: Int,
            memory: MemoryReservation? = nil
        ) {
            self.memory = memory
            self.method = method
            self.path = path
            self.headers = headers
            self.body = body
            self.answerBytesMax = answerBytesMax
        }
    }

    private struct Idle {
        let channel: any Channel
        let opened: ContinuousClock.Instant
    }

    private let target: OutgoingTarget
    private let guarded: GuardedHTTP
    private let http: OutgoingHTTP
    private let idle = Mutex<[Idle]>([])
    private let idleMax: Int
    private static let ageMax = Duration.seconds(60)

    /// - Parameter idleMax: connections that are kept.
    /// - Throws: `invalidArgument` for a URL that may not be called.
    package init(_ url: String, idleMax: Int, through guarded: GuardedHTTP) throws(KeelError) {
        target = try guarded.target(url)
        self.guarded = guarded
        http = guarded.http
        self.idleMax = idleMax
    }

    deinit { for connection in idle.withLock({ $0 }) { connection.channel.close(promise: nil) } }

    /// `host:port`, as messages name the server.
    package var name: String { target.authority }
    /// The scheme, host and port: what a secret is for.
    package var origin: String { target.origin }
    /// The path of its URL, which those of all requests begin with.
    package var path: String { target.path("") }

    /// Asks once. A kept connection that the server closed before a byte of the answer is replaced by a new one, once.
    /// - Parameter done: called once, on any thread: `invalidArgument` for an address that may not be called, `unavailable` without an answer, `badGateway` for
    ///   one that is too large or no HTTP, `deadlineExceeded`.
    package func send(
        _ request: Request, until deadline: ContinuousClock.Instant, done: @escaping @Sendable (Result<OutgoingHTTP.Answer, KeelError>) -> Void
    ) {
        send(request, until: deadline, mayReuse: true, done)
    }

    private func send(
        _ request: Request, until deadline: ContinuousClock.Instant, mayReuse: Bool,
        _ done: @escaping @Sendable (Result<OutgoingHTTP.Answer, KeelError>) -> Void
    ) {
        let left = deadline - .now
        guard left > .zero else { return done(.failure(late)) }
        if mayReuse, let connection = takeIdle() {
            return exchange(request, on: connection, within: left) { [self] result in
                if case .failure(.lostBeforeAnswer) = result { return send(request, until: deadline, mayReuse: false, done) }
                finish(result, connection, done)
            }
        }
        Task { [self] in
            do {
                let channel = try await http.session(to: target, at: try await guarded.addresses(of: target), within: left)
                let connection = Idle(channel: channel, opened: .now)
                exchange(request, on: connection, within: deadline - .now) { [self] result in finish(result, connection, done) }
            } catch {
                done(.failure((error as? KeelError) ?? unreachable(OutgoingHTTP.words(error, target))))
            }
        }
    }

    private func takeIdle() -> Idle? {
        let now = ContinuousClock.now
        let (found, old) = idle.withLock { idle -> (Idle?, [Idle]) in
            let old = idle.filter { now - $0.opened > Self.ageMax || !$0.channel.isActive }
            idle.removeAll { now - $0.opened > Self.ageMax || !$0.channel.isActive }
            return (idle.popLast(), old)
        }
        for connection in old { connection.channel.close(promise: nil) }
        return found
    }

    private func exchange(
        _ request: Request, on connection: Idle, within left: Duration, _ done: @escaping @Sendable (Result<SessionAnswer, SessionFailure>) -> Void
    ) {
        var head = HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: request.method), uri: target.path(request.path))
        head.headers.add(name: "Host", value: target.authority)
        head.headers.add(name: "User-Agent", value: "Keel/\(KeelVersion.text)")
        for header in request.headers { head.headers.add(name: header.name, value: header.value) }
        if !request.body.isEmpty || request.method != "GET" { head.headers.add(name: "Content-Length", value: String(request.body.count)) }
        let exchange = SessionExchange(
            head: head, body: ByteBuffer(bytes: request.body), answerBytesMax: request.answerBytesMax, memory: request.memory,
            limit: .nanoseconds(max(0, Int64(left / .nanoseconds(1)))), done: done)
        connection.channel.writeAndFlush(exchange).whenFailure { _ in exchange.end(.failure(.lostBeforeAnswer)) }
    }

    private func finish(
        _ result: Result<SessionAnswer, SessionFailure>, _ connection: Idle, _ done: (Result<OutgoingHTTP.Answer, KeelError>) -> Void
    ) {
        switch result {
        case .success(let answer):
            let isKept = answer.keepsAlive
                && idle.withLock { idle in
                    guard idle.count < idleMax else { return false }
                    idle.append(connection)
                    return true
                }
            if !isKept { connection.channel.close(promise: nil) }
            done(.success(answer.answer))
        case .failure(let failure):
            connection.channel.close(promise: nil)
            done(.failure(error(failure)))
        }
    }

    private func error(_ failure: SessionFailure) -> KeelError {
        switch failure {
        case .lostBeforeAnswer: unreachable("it closed the connection without an answer")
        case .lostInAnswer: KeelError(.badGateway, "the server '\(name)' closed the connection in the middle of its answer")
        case .tooLarge(let bytesMax): KeelError(.badGateway, "the server '\(name)' answered with more than \(bytesMax) bytes")
        case .tooMuch(let error): Self.tooMuch(error, from: name)
        case .notHTTP: KeelError(.badGateway, "the server '\(name)' answered with something that is no HTTP")
        case .late: late
        }
    }

    /// There is no memory for an answer: now, or at all.
    package static func tooMuch(_ error: KeelError, from name: String) -> KeelError {
        KeelError(
            error.code == .payloadTooLarge ? .badGateway : error.code, "the answer of the server '\(name)' cannot be taken: \(error.message)", hint: error.hint)
    }

    private var late: KeelError { KeelError(.deadlineExceeded, "the server '\(name)' gave no whole answer in time") }

    private func unreachable(_ words: String) -> KeelError { KeelError(.unavailable, "the server '\(name)' could not be reached: \(words)") }
}

struct SessionAnswer: Sendable {
    let answer: OutgoingHTTP.Answer
    let keepsAlive: Bool
}

enum SessionFailure: Error {
    /// The connection ended, and not a byte of an answer had come.
    case lostBeforeAnswer
    case lostInAnswer
    case tooLarge(bytesMax: Int)
    case tooMuch(KeelError)
    case notHTTP
    case late
}

/// One request on a connection, and who waits for its answer.
final class SessionExchange: Sendable {
    let head: HTTPRequestHead
    let body: ByteBuffer
    let answerBytesMax: Int
    let memory: MemoryReservation?
    let limit: TimeAmount
    private let done: Mutex<(@Sendable (Result<SessionAnswer, SessionFailure>) -> Void)?>

    init(
        head: HTTPRequestHead, body: ByteBuffer, answerBytesMax: Int, memory: MemoryReservation?, limit: TimeAmount,
        done: @escaping @Sendable (Result<SessionAnswer, SessionFailure>) -> Void
    ) {
        self.head = head
        self.body = body
        self.answerBytesMax = answerBytesMax
        self.memory = memory
        self.limit = limit
        self.done = Mutex(done)
    }

    /// The first end counts.
    func end(_ result: Result<SessionAnswer, SessionFailure>) {
        let done = done.withLock { done in
            defer { done = nil }
            return done
        }
        done?(result)
    }
}

/// Sends what is written to a connection, one exchange at a time, and reads its answer.
final class SessionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = SessionExchange
    typealias OutboundOut = HTTPClientRequestPart

    private var exchange: SessionExchange?
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []
    private var deadline: Scheduled<Void>?

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let exchange = unwrapOutboundIn(data)
        self.exchange = exchange
        let channel = context.channel
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: exchange.limit) {
            self.end(.failure(.late))
            channel.close(promise: nil)
        }
        context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
        if exchange.body.readableBytes > 0 { context.write(wrapOutboundOut(.body(.byteBuffer(exchange.body))), promise: nil) }
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let exchange else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(let part):
            guard body.count + part.readableBytes <= exchange.answerBytesMax else {
                end(.failure(.tooLarge(bytesMax: exchange.answerBytesMax)))
                return context.close(promise: nil)
            }
            do throws(KeelError) { try exchange.memory?.take(part.readableBytes, for: .requests) } catch {
                end(.failure(.tooMuch(error)))
                return context.close(promise: nil)
            }
            body += part.readableBytesView
        case .end:
            guard let head else { return }
            let answer = OutgoingHTTP.Answer(status: Int(head.status.code), headers: head.headers, body: body, memory: exchange.memory)
            end(.success(SessionAnswer(answer: answer, keepsAlive: head.isKeepAlive)))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(.failure(error is HTTPParserError ? .notHTTP : lost))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { end(.failure(lost)) }

    private var lost: SessionFailure { head == nil ? .lostBeforeAnswer : .lostInAnswer }

    private func end(_ result: Result<SessionAnswer, SessionFailure>) {
        guard let ended = exchange else { return }
        exchange = nil
        head = nil
        body = []
        deadline?.cancel()
        deadline = nil
        ended.end(result)
    }
}
