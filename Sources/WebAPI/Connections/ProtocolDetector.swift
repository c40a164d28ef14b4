import NIOCore

/// Reads the beginning of a connection and adds the handlers of the protocol that the client speaks: HTTP/2 when it sends that preface (RFC 9113, 3.4),
/// and HTTP/1 otherwise. Then it removes itself.
///
/// The preface decides under TLS too: a client that negotiated HTTP/2 sends it as well.
package final class ProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer

    package enum Version { case http1, http2 }

    /// What no request of HTTP/1 begins with.
    package static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private let add: (ProtocolDetector, Version) throws -> Void
    private var held: ByteBuffer?

    /// - Parameter add: adds the handlers of the protocol behind the detector.
    init(add: @escaping (ProtocolDetector, Version) throws -> Void) { self.add = add }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if var held {
            held.writeBuffer(&bytes)
            bytes = held
        }
        guard let version = ProtocolDetector.version(of: bytes.readableBytesView) else {
            held = bytes
            return
        }
        held = nil
        do { try add(self, version) } catch { return context.close(promise: nil) }
        context.fireChannelRead(wrapInboundOut(bytes))
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Nothing was asked yet, and the server is about to stop.
        if event is ChannelShouldQuiesceEvent { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    /// Nil while the bytes may still become either.
    package static func version(of bytes: some Collection<UInt8>) -> Version? {
        guard preface.starts(with: bytes.prefix(preface.count)) else { return .http1 }
        return bytes.count >= preface.count ? .http2 : nil
    }
}
