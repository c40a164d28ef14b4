import Contracts

/// A moving view of a stream of bytes: what is not yet consumed lies together in memory, and more is read on demand.
package final class ByteWindow {
    /// Fills a buffer with the next bytes; returns how many, 0 at the end.
    package typealias Refill = (UnsafeMutableBufferPointer<UInt8>) throws(KeelError) -> Int

    private let refill: Refill
    private var buffer: UnsafeMutableBufferPointer<UInt8>
    private(set) var start = 0
    private(set) var end = 0
    private(set) var atEnd = false
    /// How many bytes were consumed.
    private(set) var consumed = 0

    package init(capacity: Int = 1 << 20, _ refill: @escaping Refill) {
        self.refill = refill
        buffer = .allocate(capacity: capacity)
    }

    deinit { buffer.deallocate() }

    /// The bytes that are there; valid until the next `more` or `consume`.
    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: buffer[start..<end]) }

    func consume(_ count: Int) {
        start += count
        consumed += count
    }

    /// Reads more behind what is there; false at the end of the stream.
    func more() throws(KeelError) -> Bool {
        guard !atEnd else { return false }
        if start > 0 {
            if end > start, let base = buffer.baseAddress { base.update(from: base + start, count: end - start) }
            (start, end) = (0, end - start)
        }
        if end == buffer.count {
            let wider = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: buffer.count * 2)
            _ = wider.update(fromContentsOf: buffer)
            buffer.deallocate()
            buffer = wider
        }
        let count = try refill(UnsafeMutableBufferPointer(rebasing: buffer[end...]))
        guard count > 0 else {
            atEnd = true
            return false
        }
        end += count
        return true
    }

    /// Skips a byte order mark.
    func skipMark() throws(KeelError) {
        while end - start < 3, try more() {}
        if end - start >= 3, buffer[start] == 0xef, buffer[start + 1] == 0xbb, buffer[start + 2] == 0xbf { consume(3) }
    }
}
