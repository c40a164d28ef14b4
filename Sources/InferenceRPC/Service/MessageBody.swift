import Contracts
import Engines
import NIOCore

/// How the messages of a call are compressed, as `grpc-encoding` says.
package enum MessageEncoding: String, CaseIterable, Sendable {
    case identity, gzip, deflate
}

/// A message of a request, perhaps compressed, and the memory that it takes.
package struct MessageBody: Sendable {
    let message: GRPCMessage
    let encoding: MessageEncoding
    /// As long as this is kept, the memory is taken.
    let memory: MemoryReservation

    package init(message: GRPCMessage, encoding: MessageEncoding, memory: MemoryReservation) {
        self.message = message
        self.encoding = encoding
        self.memory = memory
    }

    /// As it was sent.
    var bytes: Int { message.bytes.readableBytes }

    /// What tells whether it is read on an event loop: what inflates is not.
    var workBytes: Int { message.isCompressed ? max(bytes, 1 << 20) : bytes }

    /// What the message is for. Of one that is compressed, the beginning is inflated.
    package func target() throws(KeelError) -> ModelInferRequest.Target {
        guard message.isCompressed else { return try message.bytes.read { (raw) throws(KeelError) in try ModelInferRequest.Target(raw) } }
        let head = try inflated(bytesMax: MessageBody.headBytes, isWhole: false)
        return try head.read { (raw) throws(KeelError) in try ModelInferRequest.Target(raw) }
    }
    private static let headBytes = 16 << 10

    /// The request's id, for an answer that says what is wrong with it; empty when it cannot be read.
    package var requestID: String {
        let id = try? read(bytesMax: MessageBody.headBytes) { (raw) throws(KeelError) in
            var reader = ProtobufReader(raw)
            while let field = try reader.next(), field.number <= 3 { if field.number == 3 { return try field.text() } }
            return ""
        }
        return id ?? ""
    }

    /// Calls `body` with the message as it was before it was compressed.
    /// - Throws: `payloadTooLarge` when that has more than `bytesMax` bytes, `unavailable` when there is no memory for it.
    package func read<Value>(bytesMax: Int, _ body: (UnsafeRawBufferPointer) throws(KeelError) -> Value) throws(KeelError) -> Value {
        guard message.isCompressed else { return try message.bytes.read(body) }
        return try inflated(bytesMax: bytesMax, isWhole: true).read(body)
    }

    private func inflated(bytesMax: Int, isWhole: Bool) throws(KeelError) -> ByteBuffer {
        guard encoding != .identity else { throw .invalid("a message is compressed, and grpc-encoding names no compression") }
        var input = message.bytes
        do throws(KeelError) {
            let inflate = try Inflate(encoding == .gzip ? .gzip : .zlib, name: "the message") { (target) throws(KeelError) in
                let count = min(target.count, input.readableBytes)
                input.readWithUnsafeReadableBytes { bytes in
                    UnsafeMutableRawBufferPointer(target).copyBytes(from: bytes.prefix(count))
                    return count
                }
                return count
            }
            return try output(of: inflate, bytesMax: bytesMax, isWhole: isWhole)
        } catch {
            guard error.code == .corrupted else { throw error }
            throw .invalid("the message is not compressed as grpc-encoding says")
        }
    }

    private func output(of inflate: Inflate, bytesMax: Int, isWhole: Bool) throws(KeelError) -> ByteBuffer {
        var output = ByteBuffer()
        let piece = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: MessageBody.headBytes)
        defer { piece.deallocate() }
        while true {
            let count = try inflate.read(into: piece)
            guard count > 0 else { return output }
            guard output.readableBytes + count <= bytesMax else {
                guard isWhole else { return output }
                throw KeelError(.payloadTooLarge, "the message inflates to more than \(bytesMax) bytes", hint: "send fewer rows a request")
            }
            if isWhole { try memory.take(count * MessageBody.bytesPerByte, for: .requests) }
            output.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(piece)[..<count]))
            if !isWhole, output.readableBytes >= bytesMax { return output }
        }
    }

    /// What each byte of a message takes while it is worked on: a number of one byte becomes a value of eight, with the message and a copy beside it.
    static let bytesPerByte = 16
}

extension ByteBuffer {
    func read<Value>(_ body: (UnsafeRawBufferPointer) throws(KeelError) -> Value) throws(KeelError) -> Value {
        let result: Result<Value, KeelError> = withUnsafeReadableBytes { raw in
            do throws(KeelError) { return .success(try body(raw)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
