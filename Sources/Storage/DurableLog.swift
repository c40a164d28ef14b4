import Contracts
import Foundation
import Synchronization

/// An append-only log of records in segment files: what streams and write-ahead logs stand on.
///
/// Each record is framed with its length and a checksum; a torn end, as a crash leaves it, is cut off when the log is opened.
/// `append` returns after the operating system has the bytes, so a killed process loses nothing; the disk has them after the next `sync`,
/// which runs every `syncInterval` (power loss may cost that much) or on every append when the interval is nil.
public final class DurableLog: Sendable {
    private struct State {
        var descriptor: Int32 = -1
        var segmentStart: UInt64 = 0
        var segmentSize: UInt64 = 0
        /// Number of bytes ever appended: the offset of the next record.
        var end: UInt64 = 0
        var dirty = false
        var buffer: [UInt8] = []
    }

    public let folder: String
    private let segmentBytesMax: UInt64
    private let syncInterval: TimeSpan?
    private let state: Mutex<State>
    /// Touched only by `init` and `deinit`.
    private nonisolated(unsafe) let timer: (any DispatchSourceTimer)?
    private static let frame = 8

    /// Opens the log in `folder`, making it when absent.
    public init(folder: String, segmentBytesMax: Int = 64 << 20, syncInterval: TimeSpan? = .milliseconds(100)) throws {
        self.folder = folder
        self.segmentBytesMax = UInt64(segmentBytesMax)
        self.syncInterval = syncInterval
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var state = State()
        if let last = try DurableLog.segments(folder).last {
            let valid = try DurableLog.scan(DurableLog.path(folder, last), from: 0) { _, _ in }
            state.segmentStart = last
            state.segmentSize = valid
            state.end = last + valid
            guard truncate(DurableLog.path(folder, last), off_t(valid)) == 0 else {
                throw AtomicFile.failure("cut the torn end of the log")
            }
        }
        state.descriptor = try DurableLog.openSegment(folder, state.segmentStart)
        self.state = Mutex(state)
        if let syncInterval {
            timer = DispatchSource.makeTimerSource(queue: .global(qos: .utility))
            timer?.schedule(deadline: .now() + syncInterval.seconds, repeating: syncInterval.seconds)
        } else {
            timer = nil
        }
        timer?.setEventHandler { [weak self] in try? self?.sync() }
        timer?.resume()
    }

    deinit {
        timer?.cancel()
        state.withLock { state in
            fsync(state.descriptor)
            close(state.descriptor)
        }
    }

    /// The offset after the last record.
    public var end: UInt64 { state.withLock { $0.end } }

    /// Appends records, all or none; returns the offset after them.
    /// - Throws: `unavailable` when the disk is full: nothing of them is kept.
    @discardableResult
    public func append(_ records: [[UInt8]]) throws -> UInt64 {
        try state.withLock { state in
            if state.segmentSize >= segmentBytesMax { try roll(&state) }
            state.buffer.removeAll(keepingCapacity: true)
            for record in records {
                withUnsafeBytes(of: UInt32(record.count).littleEndian) { state.buffer.append(contentsOf: $0) }
                withUnsafeBytes(of: checksum(record).littleEndian) { state.buffer.append(contentsOf: $0) }
                state.buffer.append(contentsOf: record)
            }
            do {
                try state.buffer.withUnsafeBytes { try AtomicFile.writeAll(state.descriptor, $0) }
                if syncInterval == nil, fdatasync(state.descriptor) != 0 { throw AtomicFile.failure("sync the log") }
            } catch {
                // Part of the bytes may be there: cut them off so that the log stays whole.
                ftruncate(state.descriptor, off_t(state.segmentSize))
                throw error
            }
            state.segmentSize += UInt64(state.buffer.count)
            state.end += UInt64(state.buffer.count)
            state.dirty = syncInterval != nil
            return state.end
        }
    }

    /// Brings what was appended to the disk.
    public func sync() throws {
        try state.withLock { state in
            guard state.dirty else { return }
            state.dirty = false
            guard fdatasync(state.descriptor) == 0 else { throw AtomicFile.failure("sync the log") }
        }
    }

    /// Calls `body` with every record at or after `offset`, oldest first, and the offset after it.
    public func replay(from offset: UInt64 = 0, _ body: (_ record: UnsafeRawBufferPointer, _ next: UInt64) throws -> Void) throws {
        let limit = end
        for start in try DurableLog.segments(folder) where start < limit {
            let next = try DurableLog.segments(folder).first { $0 > start } ?? .max
            if next <= offset { continue }
            _ = try DurableLog.scan(DurableLog.path(folder, start), from: offset > start ? offset - start : 0, limit: limit - start) {
                record, after in
                try body(record, start + after)
            }
        }
    }

    /// Removes whole segments that end at or before `offset`.
    public func removeSegments(before offset: UInt64) throws {
        let starts = try DurableLog.segments(folder)
        for (start, next) in zip(starts, starts.dropFirst()) where next <= offset { unlink(DurableLog.path(folder, start)) }
    }

    private func roll(_ state: inout State) throws {
        let next = try DurableLog.openSegment(folder, state.end)
        fdatasync(state.descriptor)
        close(state.descriptor)
        state.descriptor = next
        state.segmentStart = state.end
        state.segmentSize = 0
    }

    private static func path(_ folder: String, _ start: UInt64) -> String {
        let digits = String(start)
        return folder + "/" + String(repeating: "0", count: 20 - digits.count) + digits + ".log"
    }

    private static func segments(_ folder: String) throws -> [UInt64] {
        try FileManager.default.contentsOfDirectory(atPath: folder).compactMap { name in
            name.hasSuffix(".log") ? UInt64(name.dropLast(4)) : nil
        }.sorted()
    }

    private static func openSegment(_ folder: String, _ start: UInt64) throws -> Int32 {
        let descriptor = open(path(folder, start), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw AtomicFile.failure("open the log in \(folder)") }
        return descriptor
    }

    /// Reads frames from a segment until its end or the first torn or damaged one; returns the size of the valid part.
    private static func scan(
        _ path: String, from: UInt64, limit: UInt64 = .max, _ body: (UnsafeRawBufferPointer, UInt64) throws -> Void
    ) throws -> UInt64 {
        let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        return try data.withUnsafeBytes { bytes in
            var position = Int(from)
            let bound = min(UInt64(bytes.count), limit)
            while UInt64(position + frame) <= bound {
                let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
                let sum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self))
                guard UInt64(position + frame + length) <= bound else { break }
                let record = UnsafeRawBufferPointer(rebasing: bytes[(position + frame)..<(position + frame + length)])
                guard checksum(record) == sum else { break }
                position += frame + length
                try body(record, UInt64(position))
            }
            return UInt64(position)
        }
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

private func checksum(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes(checksum) }
