import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// Whole messages over a socket, each until a deadline: a header (JSON) and a body (bytes).
///
/// On the wire: the four bytes `KLW1`, the header's length (uint32), the body's length (uint64), all little-endian, then both. One thread uses a channel at
/// a time.
package struct FrameChannel: Sendable {
    package struct Message: Sendable {
        package let header: JSON
        package let body: [UInt8]
    }

    /// What ends the use of a channel.
    package enum Fault: Error, Hashable {
        /// The other side is gone.
        case closed
        /// The deadline has passed.
        case late
        /// What came is no message.
        case rubbish(String)
    }

    static let magic: [UInt8] = Array("KLW1".utf8)
    static let headerBytesMax = 4 << 20
    private static let prefixBytes = 16

    private let descriptor: Descriptor

    /// - Parameter descriptor: of a stream socket, which does not block from here on.
    package init(_ descriptor: Descriptor) throws(KeelError) {
        self.descriptor = descriptor
        _ = fcntl(try descriptor.number(), F_SETFL, O_NONBLOCK)
    }

    package func send(_ header: JSON, body: [UInt8] = [], until deadline: ContinuousClock.Instant) throws(Fault) {
        let head = header.bytes
        var bytes = FrameChannel.magic
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: head.count).littleEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: UInt64(body.count).littleEndian) { bytes.append(contentsOf: $0) }
        try write(bytes + head, until: deadline)
        try write(body, until: deadline)
    }

    /// - Parameter bodyBytesMax: a longer body is rubbish; it is not read.
    package func receive(bodyBytesMax: Int, until deadline: ContinuousClock.Instant) throws(Fault) -> Message {
        let prefix = try read(FrameChannel.prefixBytes, until: deadline)
        guard prefix.starts(with: FrameChannel.magic) else { throw .rubbish("it does not begin as a message does") }
        let headerBytes = prefix[4..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let bodyBytes = prefix[8..<16].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard headerBytes <= FrameChannel.headerBytesMax else { throw .rubbish("its header is said to have \(headerBytes) bytes") }
        guard bodyBytes <= UInt64(max(0, bodyBytesMax)) else {
            throw .rubbish("its table has \(bodyBytes) bytes, more than the \(bodyBytesMax) that are allowed")
        }
        let text = try read(headerBytes, until: deadline)
        let body = try read(Int(bodyBytes), until: deadline)
        let header: JSON
        do throws(KeelError) { header = try JSON.parse(text) } catch { throw .rubbish("its header is no JSON") }
        return Message(header: header, body: body)
    }

    /// Whether the other side is gone, or has sent something that nobody asked for.
    package var isBroken: Bool {
        guard let number = try? descriptor.number() else { return true }
        var waiting = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, 0) != 0
    }

    package func close() { descriptor.close() }

    private func write(_ bytes: [UInt8], until deadline: ContinuousClock.Instant) throws(Fault) {
        guard let number = try? descriptor.number() else { throw .closed }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                guard let base = $0.baseAddress else { return 0 }
                return Glibc.send(number, base + done, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                done += count
            } else if errno == EAGAIN {
                try wait(number, POLLOUT, until: deadline)
            } else if errno != EINTR {
                throw .closed
            }
        }
    }

    /// Memory is taken as the bytes come: a length that lies costs nothing.
    private func read(_ count: Int, until deadline: ContinuousClock.Instant) throws(Fault) -> [UInt8] {
        guard let number = try? descriptor.number() else { throw .closed }
        var bytes = [UInt8](repeating: 0, count: min(count, FrameChannel.step))
        var done = 0
        while done < count {
            if done == bytes.count { bytes.append(contentsOf: repeatElement(0, count: min(count - done, max(done, FrameChannel.step)))) }
            let got = bytes.withUnsafeMutableBytes {
                guard let base = $0.baseAddress else { return 0 }
                return recv(number, base + done, $0.count - done, 0)
            }
            if got > 0 {
                done += got
            } else if got == 0 {
                throw .closed
            } else if errno == EAGAIN {
                try wait(number, POLLIN, until: deadline)
            } else if errno != EINTR {
                throw .closed
            }
        }
        return bytes
    }

    private static let step = 256 << 10

    private func wait(_ number: Int32, _ events: Int32, until deadline: ContinuousClock.Instant) throws(Fault) {
        let left = ContinuousClock.now.duration(to: deadline)
        guard left > .zero else { throw .late }
        // Rounded up: a wait of 0 ms would spin. A later round looks at the deadline again.
        let milliseconds = min(left.components.seconds, 60) * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
        var waiting = pollfd(fd: number, events: Int16(events), revents: 0)
        poll(&waiting, 1, Int32(clamping: milliseconds))
    }
}
