import Logging
import NIOCore

/// Ends connections that hold the server's memory without making progress: heads and bodies that trickle in, clients that do not read, and
/// connections that nobody uses. It stands before the HTTP decoder and counts bytes.
///
/// Only the client's slowness counts: time in which the server itself does not ask for more is not the client's.
public final class ConnectionWatch: ChannelDuplexHandler {
    public typealias InboundIn = ByteBuffer
    public typealias OutboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    /// What is expected of the client now.
    public enum Phase { case head, body, nothing }

    private static let interval = TimeAmount.seconds(1)
    /// From the first byte of a head to its last.
    private static let headTime = TimeAmount.seconds(10)
    /// To the first byte of a new connection, TLS included.
    private static let firstByteTime = TimeAmount.seconds(30)
    /// Between requests.
    private static let idleTime = TimeAmount.seconds(120)
    /// After this long, a body must have come at `bodyBytesPerSecond` on average.
    private static let bodyTime = TimeAmount.seconds(10)
    private static let bodyBytesPerSecond: Int64 = 1000
    /// How long a client may send nothing of a body, or take nothing of an answer.
    private static let stallTime = TimeAmount.seconds(60)

    private let logger: Logger
    private var phase = Phase.head
    private var phaseStart = NIODeadline.now()
    private var isFirst = true
    private var headStart: NIODeadline?
    private var bodyBytes: Int64 = 0
    /// Since when the server waits for bytes.
    private var asked: NIODeadline?
    /// How long it has waited for those of the body, those that came.
    private var waited = TimeAmount.zero
    private var unsentBytes = 0
    private var unsentSince = NIODeadline.now()
    private var task: RepeatedTask?

    init(logger: Logger) { self.logger = logger }

    public func expect(_ phase: Phase) {
        self.phase = phase
        phaseStart = .now()
        headStart = nil
        bodyBytes = 0
        waited = .zero
        if phase == .body { isFirst = false }
        if asked != nil { asked = phaseStart }
    }

    public func handlerAdded(context: ChannelHandlerContext) {
        let box = NIOLoopBound((watch: self, context: context), eventLoop: context.eventLoop)
        task = context.eventLoop.scheduleRepeatedTask(initialDelay: ConnectionWatch.interval, delay: ConnectionWatch.interval) { _ in
            box.value.watch.check(box.value.context)
        }
    }

    public func handlerRemoved(context: ChannelHandlerContext) { task?.cancel() }

    public func channelInactive(context: ChannelHandlerContext) {
        task?.cancel()
        context.fireChannelInactive()
    }

    public func read(context: ChannelHandlerContext) {
        if asked == nil { asked = .now() }
        context.read()
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let now = NIODeadline.now()
        if let asked { waited = waited + (now - asked) }
        asked = nil
        bodyBytes += Int64(unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
        // What did not end as a whole head is the beginning of one.
        if phase == .head, headStart == nil { headStart = now }
    }

    private func check(_ context: ChannelHandlerContext) {
        guard let problem = problem(at: .now(), unsent: unsent(context)) else { return }
        logger.debug("a connection is closed: \(problem)")
        context.close(promise: nil)
    }

    private func unsent(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    private func problem(at now: NIODeadline, unsent: Int) -> String? {
        if unsent == 0 || unsent != unsentBytes { unsentSince = now }
        unsentBytes = unsent
        if now - unsentSince > ConnectionWatch.stallTime { return "the client takes nothing of its answer" }
        switch phase {
        case .nothing: return nil
        case .head:
            if let headStart { return now - headStart > ConnectionWatch.headTime ? "the head does not end" : nil }
            let idle = isFirst ? ConnectionWatch.firstByteTime : ConnectionWatch.idleTime
            return now - phaseStart > idle && unsent == 0 ? "it is not used" : nil
        case .body:
            let waiting = asked.map { now - $0 } ?? .zero
            if waiting > ConnectionWatch.stallTime { return "the body does not go on" }
            let total = waited + waiting
            let isSlow =
                total > ConnectionWatch.bodyTime && bodyBytes < total.nanoseconds / 1_000_000_000 * ConnectionWatch.bodyBytesPerSecond
            return isSlow ? "the body is too slow" : nil
        }
    }
}
