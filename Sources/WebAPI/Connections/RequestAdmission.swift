import Contracts
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// Lets one request of a connection pass at a time, and asks who sent it as soon as its head is there. Small pieces of a body pass together.
///
/// It stands behind the HTTP decoder, before everything that answers. The body of a request that has no caller is dropped as it comes: what
/// answers sees the head and an empty body, and says why in its own shape. Requests that are pipelined behind an unanswered one are held, and no
/// more than one read of them: the connection is not read while something is held, nor is a request begun while answers wait to be sent.
final class RequestAdmission: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// How much of a body that nobody reads is taken before the connection is closed instead.
    private static let unreadBytesMax = 64 << 10
    /// How long the rest of a body is taken after the answer, so that the client gets to read the answer.
    private static let lingerTime = TimeAmount.seconds(5)
    /// Pieces of a body up to this size are put together as long as they arrive in one read: what a piece costs further in does not depend on its size,
    /// and a client may send a byte a piece.
    private static let smallPieceBytes = 1024

    private let connection: HTTPConnection
    private let gate: RequestGate
    private let open: OpenRoutes
    private let watch: ConnectionWatch

    private var held: CircularBuffer<HTTPServerRequestPart> = []
    /// Between the head and the end of the request that is worked on.
    private var isReceiving = false
    /// What has come of its body and has not passed yet.
    private var pieces: ByteBuffer?
    /// Between its head and the end of its answer.
    private var isAnswering = false
    /// Whether the rest of its body goes nowhere.
    private var dropsBody = false
    /// How much of its body is to come, as far as it was announced.
    private var announcedBytes = 0
    /// Whether its answer has a head alone.
    private var isHead = false
    /// Whether it cannot be read to its end.
    private var isBroken = false
    /// Whether the connection ends with the answer.
    private var closes = false
    /// Whether its last answer has been sent.
    private var isSent = false
    private var isProceeding = false
    /// The last head that had to be read for what it claims, and that. Connections repeat their heads.
    private var lastRead: (head: HTTPRequestHead, claim: RequestClaim)?
    private var inputClosed = false

    init(connection: HTTPConnection, gate: RequestGate, open: OpenRoutes, watch: ConnectionWatch) {
        self.connection = connection
        self.gate = gate
        self.open = open
        self.watch = watch
    }

    private var isIdle: Bool { !isReceiving && !isAnswering }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard held.isEmpty, takes(context) else { return held.append(part) }
        take(part, context)
    }

    private func takes(_ context: ChannelHandlerContext) -> Bool {
        isReceiving || !isAnswering && !closes && context.channel.isWritable
    }

    private func take(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head): begin(head, context)
        case .body(let bytes):
            announcedBytes -= bytes.readableBytes
            if !dropsBody { collect(bytes, context) }
        case .end:
            isReceiving = false
            watch.expect(.nothing)
            passPieces(context)
            if !dropsBody { context.fireChannelRead(wrapInboundOut(part)) }
            finish(context)
        }
    }

    private func collect(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        if bytes.readableBytes <= RequestAdmission.smallPieceBytes, pieces != nil {
            pieces?.writeImmutableBuffer(bytes)
        } else {
            passPieces(context)
            pieces = bytes
        }
    }

    private func passPieces(_ context: ChannelHandlerContext) {
        guard let bytes = pieces else { return }
        pieces = nil
        if !dropsBody { context.fireChannelRead(wrapInboundOut(.body(bytes))) }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        isReceiving = true
        isAnswering = true
        dropsBody = false
        isHead = head.method == .HEAD
        announcedBytes = head.headers.first(name: "content-length").flatMap { Int($0) } ?? (head.headers.contains(name: "transfer-encoding") ? .max : 0)
        if !head.isKeepAlive { closes = true }
        watch.expect(.body)
        var head = head
        do throws(KeelError) {
            if let caller = try caller(of: &head) { connection.set(caller: .success(caller)) }
        } catch {
            connection.set(caller: .failure(error))
            dropsBody = true
        }
        context.fireChannelRead(wrapInboundOut(.head(head)))
        guard dropsBody else { return }
        context.fireChannelRead(wrapInboundOut(.end(nil)))
    }

    /// Who sent the request; nil when nobody asks. Gives a head that names its target by a whole URL the path alone.
    private func caller(of head: inout HTTPRequestHead) throws(KeelError) -> Caller? {
        if let lastRead, head.claimsTheSame(as: lastRead.head) { return try gate.caller(lastRead.claim, on: connection) }
        guard let request = try? HTTPRequest(head, secure: connection.isEncrypted, splitCookie: false) else {
            throw KeelError(.invalidArgument, "the method '\(head.method.rawValue.prefix(40))' is none")
        }
        if !head.uri.hasPrefix("/"), let path = request.path { head.uri = path }
        guard !open.contains(request) else { return nil }
        let claim = try gate.claim(of: request, on: connection)
        lastRead = (head, claim)
        return try gate.caller(claim, on: connection)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        passPieces(context)
        context.fireChannelReadComplete()
        // The channel reads on demand, and nobody behind this handler asks for what it drops or holds.
        if held.isEmpty, isIdle || dropsBody { context.read() }
    }

    func read(context: ChannelHandlerContext) {
        if held.isEmpty { context.read() }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200:
            if isReceiving, announcedBytes > RequestAdmission.unreadBytesMax { closes = true }
            // Without a length the encoder would write the marks of a body in pieces.
            if isHead, !head.headers.contains(name: "content-length") { closes = true }
            if closes { head.headers.replaceOrAdd(name: "connection", value: "close") }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body where isHead: promise?.succeed()
        case .end:
            isAnswering = false
            guard closes else {
                context.write(data, promise: promise)
                return ended(context)
            }
            let sent = promise ?? context.eventLoop.makePromise()
            let box = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
            sent.futureResult.whenComplete { _ in box.value.handler.close(box.value.context) }
            context.write(data, promise: sent)
            ended(context)
        default: context.write(data, promise: promise)
        }
    }

    private func ended(_ context: ChannelHandlerContext) {
        if isReceiving, !dropsBody {
            // It was answered without its body: what answered waits for no more of it.
            dropsBody = true
            guard !isBroken else { return }
            context.fireChannelRead(wrapInboundOut(.end(nil)))
            context.fireChannelReadComplete()
            context.read()
        }
        finish(context)
    }

    /// Closes when the answer is sent, and the request has come whole or has had the time for it: bytes that arrive at a closed socket would
    /// take the answer away from the client.
    private func close(_ context: ChannelHandlerContext) {
        isSent = true
        guard isReceiving, context.channel.isActive else { return context.close(promise: nil) }
        context.read()
        let box = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: RequestAdmission.lingerTime) { box.value.close(promise: nil) }
    }

    /// Goes on with the next request when this one has come whole and its answer has been given.
    private func finish(_ context: ChannelHandlerContext) {
        guard isIdle else { return }
        connection.set(caller: nil)
        if closes { return isSent ? context.close(promise: nil) : () }
        watch.expect(.head)
        proceed(context)
    }

    private func proceed(_ context: ChannelHandlerContext) {
        guard !isProceeding else { return }
        isProceeding = true
        defer { isProceeding = false }
        var hasTaken = false
        while takes(context), let part = held.popFirst() {
            take(part, context)
            hasTaken = true
        }
        passPieces(context)
        if hasTaken { context.fireChannelReadComplete() }
        guard held.isEmpty else { return }
        if inputClosed, isIdle {
            inputClosed = false
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        context.fireChannelWritabilityChanged()
        if context.channel.isWritable { connection.resumeWriters() }
        if isIdle { proceed(context) }
    }

    // MARK: The end

    func channelInactive(context: ChannelHandlerContext) {
        connection.resumeWriters()
        connection.clientLeft()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Nothing that follows can be read: the answer that says so is the last.
        closes = true
        isBroken = true
        pieces = nil
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            closes = true
            if isIdle { context.close(promise: nil) }
        case ChannelEvent.inputClosed where !isReceiving && !(isIdle && held.isEmpty):
            // The client has sent its last request, and waits for the answers, or has left.
            inputClosed = true
            connection.clientLeft()
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}
