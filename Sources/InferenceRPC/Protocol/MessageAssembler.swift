import Contracts
import NIOCore

/// One message of a call as it came.
package struct GRPCMessage: Sendable {
    package let isCompressed: Bool
    package let bytes: ByteBuffer
}

/// Puts the messages of a call together from pieces of its body. Each has five bytes before it: whether it is compressed, and its length
/// (gRPC over HTTP/2, Length-Prefixed-Message).
package struct MessageAssembler {
    private var buffer = ByteBuffer()

    package init() {}

    /// What is held of messages that are not taken yet.
    package var heldBytes: Int { buffer.readableBytes }

    package mutating func append(_ part: inout ByteBuffer) {
        if buffer.readableBytes == 0 { buffer = part } else { buffer.writeBuffer(&part) }
    }

    /// The next message that is there whole; nil when more of it must come.
    /// - Throws: as `announced`.
    package mutating func next(bytesMax: Int) throws(KeelError) -> GRPCMessage? {
        guard let length = try announced(bytesMax: bytesMax), buffer.readableBytes >= 5 + length else { return nil }
        let isCompressed = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) == 1
        buffer.moveReaderIndex(forwardBy: 5)
        guard let bytes = buffer.readSlice(length: length) else { return nil }
        if buffer.readableBytes == 0 { buffer = ByteBuffer() }
        return GRPCMessage(isCompressed: isCompressed, bytes: bytes)
    }

    /// The length of the next message; nil when that has not come yet.
    /// - Throws: `payloadTooLarge` as soon as a message announces more than `bytesMax`; `invalidArgument` for an unknown flag.
    func announced(bytesMax: Int) throws(KeelError) -> Int? {
        guard let flag = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return nil }
        guard flag <= 1 else { throw .invalid("a message begins with \(flag), where gRPC has 0 or 1") }
        guard let length = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt32.self) else { return nil }
        guard Int(length) <= bytesMax else {
            throw KeelError(.payloadTooLarge, "the message has \(length) bytes, \(bytesMax) are allowed", hint: "send fewer rows a request")
        }
        return Int(length)
    }
}
