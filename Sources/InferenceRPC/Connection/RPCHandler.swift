import Contracts
import NIOCore
import NIOHPACK
import NIOHTTP2
import Serving
import WebAPI

/// Serves gRPC on one connection of HTTP/2. Calls are answered on the event loop that owns the connection, without a task or a channel for each.
///
/// It stands behind NIO's handler of HTTP/2, which keeps the rules of that protocol, splits what is written into frames and holds it until the client's
/// windows allow it. The windows of what comes in are given from here: a call has at most one window of bytes beyond the message that is worked on.
final class RPCHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// Calls at a time on one connection.
    static let callsMax = 128
    /// Bytes that may come of one call before it takes them, and of all calls together.
    static let windowBytes = 1 << 20
    private static let connectionWindowBytes = 4 << 20
    private static let tick = TimeAmount.seconds(5)
    /// After this long, a message must have come at `bytesPerSecond` on average.
    private static let slowTime = TimeAmount.seconds(10)
    private static let bytesPerSecond: Int64 = 1000
    /// An answer that is larger keeps its memory until the client has taken it.
    private static let smallBytes = 16 << 10

    private let service: InferenceService
    private let connection: HTTPConnection
    private let watch: ConnectionWatch
    private var calls: [HTTP2StreamID: RPCCall] = [:]
    private var lastStream = HTTP2StreamID.rootStream
    /// The last head that had to be read whole, and what was read.
    private var lastRead: (headers: HPACKHeaders, head: RPCHead)?
    /// The server stops, or the connection is broken: no call is begun any more.
    private var isClosing = false
    /// The connection is closed as soon as everything is sent.
    private var isEnding = false
    private var isReading = false
    private var needsFlush = false
    private var ticks: RepeatedTask?

    private static let head: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
    private static let success: HPACKHeaders = ["grpc-status": "0"]

    init(service: InferenceService, connection: HTTPConnection, watch: ConnectionWatch) {
        self.service = service
        self.connection = connection
        self.watch = watch
    }

    // MARK: The connection

    func handlerAdded(context: ChannelHandlerContext) {
        // A channel of gRPC is kept for calls to come: it has the time of a connection that was used.
        watch.expect(.body)
        watch.expect(.head)
        let box = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        ticks = context.eventLoop.scheduleRepeatedTask(initialDelay: RPCHandler.tick, delay: RPCHandler.tick) { _ in
            box.value.handler.endSlowCalls(box.value.context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { stop() }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    private func stop() {
        ticks?.cancel()
        isClosing = true
        calls = [:]
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush(context)
        // While calls are worked on, nothing is expected of the client; this handler looks after their bodies itself.
        watch.expect(calls.isEmpty ? .head : .nothing)
        context.fireChannelReadComplete()
        context.read()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Of one stream the rest of the connection knows nothing: NIO has reset it.
        if error is NIOHTTP2Errors.StreamError { return }
        isClosing = true
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let event as NIOHTTP2WindowUpdatedEvent where event.streamID == .rootStream:
            if let size = event.inboundWindowSize, size <= RPCHandler.connectionWindowBytes / 2 {
                write(context, .rootStream, .windowUpdate(windowSizeIncrement: RPCHandler.connectionWindowBytes - size))
            }
        case let event as StreamClosedEvent:
            calls[event.streamID] = nil
            closeIfDone(context)
        case is ChannelShouldQuiesceEvent:
            isClosing = true
            write(context, .rootStream, .goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil))
            flush(context)
            closeIfDone(context)
        case ChannelEvent.inputClosed:
            // The client sends nothing more; calls that have come whole are answered.
            for call in calls.values where !call.hasEnded { calls[call.stream] = nil }
            isClosing = true
            closeIfDone(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    private func closeIfDone(_ context: ChannelHandlerContext) {
        guard isClosing, calls.isEmpty, !isEnding, context.channel.isActive else { return }
        isEnding = true
        // What was answered is on its way to the client: the connection ends behind it.
        let sent = context.eventLoop.makePromise(of: Void.self)
        let box = NIOLoopBound(context, eventLoop: context.eventLoop)
        sent.futureResult.whenComplete { _ in box.value.close(promise: nil) }
        context.writeAndFlush(
            wrapOutboundOut(
                HTTP2Frame(streamID: .rootStream, payload: .goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil))),
            promise: sent)
    }

    private func endSlowCalls(_ context: ChannelHandlerContext) {
        let now = NIODeadline.now()
        for call in calls.values where !call.hasEnded && !call.isAnswering {
            if let deadline = call.head.deadline, deadline < now {
                fail(context, call, KeelError(.deadlineExceeded, "the request did not come whole in the time of its grpc-timeout"))
                continue
            }
            // A stream may wait for its next message as long as it likes.
            if call.head.method == .modelStreamInfer, call.assembler.heldBytes == 0 { continue }
            let waited = now - call.waitsSince
            guard waited > RPCHandler.slowTime, Int64(call.receivedBytes) < waited.nanoseconds / 1_000_000_000 * RPCHandler.bytesPerSecond
            else { continue }
            fail(context, call, KeelError(.deadlineExceeded, "the request comes too slowly"))
        }
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let headers):
            if let call = calls[frame.streamID] {
                if headers.endStream { end(context, call) }
            } else {
                begin(context, frame.streamID, headers.headers, isWhole: headers.endStream)
            }
        case .data(let data):
            guard case .byteBuffer(let bytes) = data.data, let call = calls[frame.streamID] else { break }
            call.hasEnded = data.endStream
            receive(context, call, bytes, padding: data.paddingBytes ?? 0)
            if data.endStream, calls[frame.streamID] != nil { end(context, call) }
        case .rstStream: calls[frame.streamID] = nil
        default: break
        }
    }

    private func begin(_ context: ChannelHandlerContext, _ stream: HTTP2StreamID, _ headers: HPACKHeaders, isWhole: Bool) {
        guard !isClosing else { return write(context, stream, .rstStream(.refusedStream)) }
        lastStream = max(lastStream, stream)
        do throws(RPCHead.Refusal) {
            let head = try head(headers)
            let call = RPCCall(
                stream, head, messageBytesMax: service.messageBytesMax(head.method, of: head.caller),
                memory: MemoryReservation(of: connection.memory))
            calls[stream] = call
            if isWhole { end(context, call) }
        } catch {
            switch error {
            case .grpc(let error): finish(context, stream, RPCHandler.trailers(error, isAlone: true), isWhole: isWhole)
            case .http(let status, let message):
                write(context, stream, .headers(.init(headers: [":status": status, "content-type": "text/plain"])))
                write(context, stream, .data(.init(data: .byteBuffer(ByteBuffer(string: message)), endStream: true)))
                if !isWhole { write(context, stream, .rstStream(.noError)) }
            }
        }
    }

    /// Reads a head. Connections repeat theirs.
    private func head(_ headers: HPACKHeaders) throws(RPCHead.Refusal) -> RPCHead {
        if let lastRead, headers.claimsTheSame(as: lastRead.headers) {
            return try RPCHead(headers, like: lastRead.head, gate: service.gate, connection: connection)
        }
        let head = try RPCHead(headers, gate: service.gate, connection: connection)
        lastRead = (headers, head)
        return head
    }

    private func receive(_ context: ChannelHandlerContext, _ call: RPCCall, _ bytes: ByteBuffer, padding: Int) {
        var bytes = bytes
        call.receivedBytes += bytes.readableBytes
        call.unacknowledgedBytes += bytes.readableBytes + padding
        do throws(KeelError) {
            try call.memory.take(bytes.readableBytes * MessageBody.bytesPerByte, for: .requests)
            call.assembler.append(&bytes)
            if call.head.method == .modelStreamInfer {
                try answerNext(context, call)
                return
            }
            if let length = try call.assembler.announced(bytesMax: call.messageBytesMax), call.assembler.heldBytes > 5 + length {
                throw .invalid("the call has more than one message")
            }
            acknowledge(context, call)
        } catch { fail(context, call, error) }
    }

    /// Lets the client send more of a call that waits for it.
    private func acknowledge(_ context: ChannelHandlerContext, _ call: RPCCall) {
        guard !call.hasEnded, call.unacknowledgedBytes >= RPCHandler.windowBytes / 2 else { return }
        write(context, call.stream, .windowUpdate(windowSizeIncrement: call.unacknowledgedBytes))
        call.unacknowledgedBytes = 0
    }

    /// The client has sent all of a call.
    private func end(_ context: ChannelHandlerContext, _ call: RPCCall) {
        call.hasEnded = true
        do throws(KeelError) {
            if call.head.method == .modelStreamInfer { return try answerNext(context, call) }
            guard let message = try call.assembler.next(bytesMax: call.messageBytesMax) else {
                throw .invalid("the call has no whole message")
            }
            guard call.assembler.heldBytes == 0 else { throw .invalid("the call has more than one message") }
            let body = MessageBody(message: message, encoding: call.head.encoding, memory: call.memory)
            guard call.head.method == .modelInfer else {
                let answer = try body.read(bytesMax: call.messageBytesMax) { (message) throws(KeelError) in
                    try service.answer(call.head.method, call.head.caller, message)
                }
                return succeed(context, call, answer, body.memory)
            }
            infer(context, call, body) { handler, context, result in
                switch result {
                case .success(let answer): handler.succeed(context, call, answer, body.memory)
                case .failure(let error): handler.fail(context, call, error)
                }
            }
        } catch { fail(context, call, error) }
    }

    /// Works on the next message of a stream, when the one before has been answered.
    private func answerNext(_ context: ChannelHandlerContext, _ call: RPCCall) throws(KeelError) {
        guard !call.isAnswering else { return }
        guard let message = try call.assembler.next(bytesMax: call.messageBytesMax) else {
            guard call.hasEnded else { return acknowledge(context, call) }
            guard call.assembler.heldBytes == 0 else { throw .invalid("the stream ends within a message") }
            return finish(
                context, call.stream, call.hasSentHead ? RPCHandler.success : RPCHandler.head.merging(RPCHandler.success), isWhole: true)
        }
        let body = MessageBody(message: message, encoding: call.head.encoding, memory: call.memory)
        call.memory = MemoryReservation(of: connection.memory)
        try call.memory.take(call.assembler.heldBytes * MessageBody.bytesPerByte, for: .requests)
        call.receivedBytes = call.assembler.heldBytes
        infer(context, call, body) { handler, context, result in
            let answer: [UInt8]
            switch result {
            case .success(let bytes): answer = bytes
            case .failure(let error): answer = InferenceService.failure(error, id: body.requestID)
            }
            handler.answerStream(context, call, answer, body.memory)
        }
    }

    private func infer(
        _ context: ChannelHandlerContext, _ call: RPCCall, _ body: MessageBody,
        then: @escaping (RPCHandler, ChannelHandlerContext, Result<[UInt8], KeelError>) -> Void
    ) {
        call.isAnswering = true
        let timeout = call.timeout
        if let timeout, timeout <= .zero {
            return then(self, context, .failure(KeelError(.deadlineExceeded, "the time of the request's grpc-timeout is over")))
        }
        let eventLoop = context.eventLoop
        let box = NIOLoopBound((handler: self, context: context, then: then), eventLoop: eventLoop)
        let isStream = call.head.method == .modelStreamInfer
        service.infer(.init(caller: call.head.caller, body: body, timeout: timeout, traceparent: call.head.traceparent, isStream: isStream)) { result in
            // The answer may come at once, or from another thread.
            if eventLoop.inEventLoop {
                box.value.then(box.value.handler, box.value.context, result)
            } else {
                eventLoop.execute { box.value.then(box.value.handler, box.value.context, result) }
            }
        }
    }

    // MARK: Answers

    private func succeed(_ context: ChannelHandlerContext, _ call: RPCCall, _ answer: [UInt8], _ memory: MemoryReservation) {
        // A call that was cancelled is not there any more.
        guard calls[call.stream] === call else { return }
        write(context, call.stream, .headers(.init(headers: RPCHandler.head)))
        let payload = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(RPCHandler.framed(answer, context))))
        if answer.count > RPCHandler.smallBytes {
            let sent = context.eventLoop.makePromise(of: Void.self)
            sent.futureResult.whenComplete { _ in _ = memory }
            context.write(wrapOutboundOut(HTTP2Frame(streamID: call.stream, payload: payload)), promise: sent)
        } else {
            write(context, call.stream, payload)
        }
        finish(context, call.stream, RPCHandler.success, isWhole: true)
    }

    /// Writes one answer of a stream. The next message is worked on when the client has taken it.
    private func answerStream(_ context: ChannelHandlerContext, _ call: RPCCall, _ answer: [UInt8], _ memory: MemoryReservation) {
        guard calls[call.stream] === call else { return }
        if !call.hasSentHead { write(context, call.stream, .headers(.init(headers: RPCHandler.head))) }
        call.hasSentHead = true
        let sent = context.eventLoop.makePromise(of: Void.self)
        let box = NIOLoopBound((handler: self, context: context, call: call), eventLoop: context.eventLoop)
        sent.futureResult.whenComplete { _ in
            _ = memory
            box.value.handler.proceed(box.value.context, box.value.call)
        }
        let payload = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(RPCHandler.framed(answer, context))))
        context.write(wrapOutboundOut(HTTP2Frame(streamID: call.stream, payload: payload)), promise: sent)
        flushSoon(context)
    }

    private func proceed(_ context: ChannelHandlerContext, _ call: RPCCall) {
        guard calls[call.stream] === call else { return }
        call.isAnswering = false
        call.waitsSince = .now()
        do throws(KeelError) { try answerNext(context, call) } catch { fail(context, call, error) }
        if !isReading { flush(context) }
    }

    private func fail(_ context: ChannelHandlerContext, _ call: RPCCall, _ error: KeelError) {
        guard calls[call.stream] === call else { return }
        finish(context, call.stream, RPCHandler.trailers(error, isAlone: !call.hasSentHead), isWhole: call.hasEnded)
    }

    /// Ends a call.
    /// - Parameter isWhole: whether the client has sent all of it; otherwise it is told to send no more (RFC 9113, 8.1).
    private func finish(_ context: ChannelHandlerContext, _ stream: HTTP2StreamID, _ trailers: HPACKHeaders, isWhole: Bool) {
        write(context, stream, .headers(.init(headers: trailers, endStream: true)))
        if !isWhole { write(context, stream, .rstStream(.noError)) }
        calls[stream] = nil
        flushSoon(context)
    }

    private static func trailers(_ error: KeelError, isAlone: Bool) -> HPACKHeaders {
        let status = GRPCStatus(error)
        let trailers: HPACKHeaders = ["grpc-status": String(status.code.rawValue), "grpc-message": status.encodedMessage]
        return isAlone ? head.merging(trailers) : trailers
    }

    /// A message with its five bytes before it.
    private static func framed(_ message: [UInt8], _ context: ChannelHandlerContext) -> ByteBuffer {
        var buffer = context.channel.allocator.buffer(capacity: 5 + message.count)
        buffer.writeInteger(UInt8(0))
        buffer.writeInteger(UInt32(message.count))
        buffer.writeBytes(message)
        return buffer
    }

    private func write(_ context: ChannelHandlerContext, _ stream: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload) {
        context.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
        needsFlush = true
    }

    /// Sends what was written: at once, or with everything else that is answered while bytes are read.
    private func flushSoon(_ context: ChannelHandlerContext) {
        needsFlush = true
        guard !isReading else { return }
        flush(context)
        watch.expect(calls.isEmpty ? .head : .nothing)
    }

    private func flush(_ context: ChannelHandlerContext) {
        guard needsFlush else { return }
        needsFlush = false
        context.flush()
    }
}

extension HPACKHeaders {
    fileprivate func merging(_ others: HPACKHeaders) -> HPACKHeaders {
        var merged = self
        merged.add(contentsOf: others)
        return merged
    }
}
