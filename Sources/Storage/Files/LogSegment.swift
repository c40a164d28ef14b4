import Contracts
import Foundation

/// The bytes of one segment file of a `DurableLog`.
///
/// A record is its head (a mark, the length of its body, its offset in the log, the body's checksum, and a checksum of all these) and its body. As each
/// record says where it belongs and can be recognised by its mark, reading goes on behind damage, and whatever bytes are lost, the records behind them
/// keep their offsets. Segments of Keel 0.1.0 hold only length, checksum and body; they are read, and never appended to.
package struct LogSegment {
    /// Bytes of a head.
    static let head = 24
    private static let mark: UInt32 = 0x324B_4C4B  // "KLK2"
    private static let oldHead = 8
    /// No log gets so long. A head or the name of a file that says so lies.
    static let offsetMax: UInt64 = 1 << 62

    package enum Finding {
        case record(UnsafeRawBufferPointer, at: UInt64, next: UInt64)
        /// Bytes of the file that are no record, or none when records are missing; and the offsets of what is lost.
        case lost(bytes: Range<Int>, offsets: Range<UInt64>)
    }

    /// What a scan found at the end.
    package struct End {
        /// The offset after the last record.
        package var offset: UInt64
        /// Bytes up to the end of the last record, and of the file.
        package var valid: Int
        package var size: Int
        /// Whether what follows the last record is one that was being written, as a crash leaves it.
        package var isTorn = false
        package var isOld = false
        package var isDamaged = false
    }

    /// What errors call the segment in a file: `the log file rows/00000000000000000000.log`.
    static func name(_ path: String) -> String { "the log file \(path.split(separator: "/").suffix(2).joined(separator: "/"))" }

    let path: String
    /// The offset of the segment's first record.
    let start: UInt64

    package static func append(_ body: [UInt8], at offset: UInt64, to buffer: inout [UInt8]) {
        let begin = buffer.count
        func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { buffer.append(contentsOf: $0) } }
        put(mark)
        put(UInt32(body.count))
        put(offset)
        put(body.withUnsafeBytes(checksum))
        put(buffer.withUnsafeBytes { checksum(UnsafeRawBufferPointer(rebasing: $0[begin..<(begin + head - 4)])) })
        buffer.append(contentsOf: body)
    }

    /// Calls `body` with every record, and with what is lost between them.
    /// - Parameters:
    ///   - offset: where to begin when a record of that offset lies where it should; else the scan begins at the start.
    ///   - size: how many bytes of the file count; nil is all.
    @discardableResult
    func scan(from offset: UInt64? = nil, size: Int? = nil, _ body: (Finding) throws -> Void) throws -> End {
        let data = try StoredFile.map(path, name: LogSegment.name(path))
        return try data.withUnsafeBytes { all in
            let bytes = UnsafeRawBufferPointer(rebasing: all[..<min(all.count, size ?? .max)])
            return try LogSegment.oldRecord(bytes, 0) == nil
                ? LogSegment.scan(bytes, start: start, from: offset.map { Int(clamping: $0 - min($0, start)) } ?? 0, body)
                : scanOld(bytes, body)
        }
    }

    /// As the other `scan`, over bytes in memory whose first has the offset `start`.
    @discardableResult
    package static func scan(_ bytes: UnsafeRawBufferPointer, start: UInt64, from begin: Int, _ body: (Finding) throws -> Void) throws -> End {
        var end = End(offset: start, valid: 0, size: bytes.count)
        if begin > 0, LogSegment.readHead(bytes, begin)?.offset == start + UInt64(begin) {
            end.offset = start + UInt64(begin)
            end.valid = begin
        }
        var position = end.valid
        while position < bytes.count {
            if let head = LogSegment.readHead(bytes, position), head.offset >= end.offset, let record = head.body(bytes, position) {
                if position > end.valid || head.offset > end.offset {
                    end.isDamaged = true
                    try body(.lost(bytes: end.valid..<position, offsets: end.offset..<head.offset))
                }
                position += LogSegment.head + record.count
                end.valid = position
                end.offset = head.offset + UInt64(LogSegment.head + record.count)
                try body(.record(record, at: head.offset, next: end.offset))
            } else {
                position = LogSegment.nextMark(bytes, position + 1)
            }
        }
        guard end.valid < bytes.count else { return end }
        if LogSegment.isTorn(bytes, end.valid) {
            end.isTorn = true
        } else {
            end.isDamaged = true
            let lost = end.offset..<(end.offset + UInt64(bytes.count - end.valid))
            try body(.lost(bytes: end.valid..<bytes.count, offsets: lost))
            end.offset = lost.upperBound
        }
        return end
    }

    private func scanOld(_ bytes: UnsafeRawBufferPointer, _ body: (Finding) throws -> Void) throws -> End {
        var end = End(offset: start, valid: 0, size: bytes.count, isOld: true)
        while let record = LogSegment.oldRecord(bytes, end.valid) {
            let at = end.offset
            end.valid += LogSegment.oldHead + record.count
            end.offset = start + UInt64(end.valid)
            try body(.record(record, at: at, next: end.offset))
        }
        guard end.valid < bytes.count else { return end }
        if bytes.count - end.valid < LogSegment.oldHead
            || end.valid + LogSegment.oldHead + Int(LogSegment.word(bytes, end.valid)) > bytes.count
        {
            end.isTorn = true
        } else {
            end.isDamaged = true
            try body(.lost(bytes: end.valid..<bytes.count, offsets: end.offset..<(start + UInt64(bytes.count))))
            end.offset = start + UInt64(bytes.count)
        }
        return end
    }

    // MARK: Heads

    private struct Head {
        let length: Int
        let offset: UInt64
        let sum: UInt32

        /// The body behind a head at `position`; nil unless it is whole and what its checksum says.
        func body(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> UnsafeRawBufferPointer? {
            guard position + LogSegment.head + length <= bytes.count else { return nil }
            let body = UnsafeRawBufferPointer(rebasing: bytes[(position + LogSegment.head)..<(position + LogSegment.head + length)])
            return checksum(body) == sum ? body : nil
        }
    }

    private static func readHead(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> Head? {
        guard position + head <= bytes.count, word(bytes, position) == mark else { return nil }
        let covered = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + head - 4)])
        guard checksum(covered) == word(bytes, position + head - 4) else { return nil }
        let offset = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self))
        guard offset <= offsetMax else { return nil }
        return Head(length: Int(word(bytes, position + 4)), offset: offset, sum: word(bytes, position + 16))
    }

    private static func oldRecord(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> UnsafeRawBufferPointer? {
        guard position + oldHead <= bytes.count else { return nil }
        let end = position + oldHead + Int(word(bytes, position))
        guard end <= bytes.count else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: bytes[(position + oldHead)..<end])
        return checksum(body) == word(bytes, position + 4) ? body : nil
    }

    /// Whether the bytes from `position` to the end are what a crash leaves of an append: part of a head, a whole head with part of its body, or space
    /// that the file system gave and did not fill.
    private static func isTorn(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> Bool {
        if bytes.count - position < head { return true }
        if let head = readHead(bytes, position) { return position + LogSegment.head + head.length > bytes.count }
        return bytes[position...].allSatisfy { $0 == 0 }
    }

    private static func nextMark(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> Int {
        var i = position
        while i + 4 <= bytes.count, let base = bytes.baseAddress {
            guard let found = memchr(base + i, Int32(UInt8(truncatingIfNeeded: mark)), bytes.count - i - 3) else { break }
            i = base.distance(to: found)
            if word(bytes, i) == mark { return i }
            i += 1
        }
        return bytes.count
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> UInt32 {
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
    }
}

/// FNV-1a over 8 bytes at a time, folded to 32 bits: finds torn writes, not forgers.
private func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var i = 0
    while i + 8 <= bytes.count {
        hash = (hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self))) &* 0x100_0000_01b3
        hash ^= hash >> 29
        i += 8
    }
    while i < bytes.count {
        hash = (hash ^ UInt64(bytes[i])) &* 0x100_0000_01b3
        i += 1
    }
    return UInt32(truncatingIfNeeded: hash ^ hash >> 32)
}
