import Contracts
import Foundation
import Synchronization

/// The newest records of a log, in a file that is mapped into memory: an append is a copy in memory, without a system call, and what was appended is
/// there when the process is killed. After a power cut there is what happened to reach the disk.
///
/// Records stand in the ring until they are elsewhere (`release`). They have the form of `LogSegment`, so that each can be recognised and says its
/// place; the offset of a record never comes again. The file is mapped twice in a row, so that every record lies in one piece. Its first page says where
/// the oldest record begins; when that cannot be read, every whole record counts, also those that had been released.
///
/// Thread-safe. One process at a time opens a file.
public final class MappedRing: Sendable {
    private struct State {
        /// The offsets of the oldest record and behind the newest.
        var start: UInt64
        var end: UInt64
        var buffer: [UInt8] = []
    }

    /// In the first page: the mark, the start, and the start with all bits turned.
    private static let mark: UInt64 = 0x3147_4E49_524C_454B  // "KELRING1"

    private let capacity: Int
    private let page = Int(getpagesize())
    /// The first page, and behind it the ring, twice. Written under `state`'s lock; unmapped by `deinit` alone.
    private nonisolated(unsafe) let base: UnsafeMutableRawPointer
    private let state: Mutex<State>
    /// Whether the first page was whole.
    private let knewStart: Bool

    /// Opens the ring at `path`, or makes one.
    /// - Parameter capacity: bytes, a multiple of the page size.
    /// - Throws: `unavailable` when the disk has no room for it; `corrupted` when something else than a file stands there.
    public init(path: String, capacity: Int) throws {
        self.capacity = capacity
        let whole = page + capacity
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw MappedRing.unusable(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw MappedRing.unusable(path) }
        if Int(status.st_size) != whole {
            guard ftruncate(descriptor, 0) == 0 else { throw AtomicFile.failure("make the ring \(path)") }
            try [UInt8](repeating: 0, count: whole).withUnsafeBytes { try AtomicFile.writeAll(descriptor, $0) }
        }
        // A page that the disk has no room for would end the process when it is written.
        errno = posix_fallocate(descriptor, 0, off_t(whole))
        guard errno == 0 else { throw AtomicFile.failure("make room for the ring \(path)") }
        base = try MappedRing.map(descriptor, page: page, capacity: capacity)
        let first = base
        let header = (0..<3).map { UInt64(littleEndian: first.load(fromByteOffset: 8 * $0, as: UInt64.self)) }
        state = Mutex(State(start: 0, end: 0))
        knewStart = header[0] == MappedRing.mark && header[1] == ~header[2] && header[1] < LogSegment.offsetMax
        state.withLock { state in
            if knewStart {
                state.start = header[1]
                state.end = lastEnd(from: state.start, count: capacity) ?? state.start
            } else if let end = lastEnd(from: 0, count: 2 * capacity) {
                state.start = end - min(end, UInt64(capacity))
                state.end = end
            }
            base.storeBytes(of: MappedRing.mark.littleEndian, as: UInt64.self)
            write(start: state.start)
        }
    }

    deinit { munmap(base, page + 2 * capacity) }

    /// Bytes that are free.
    public var free: Int { state.withLock { capacity - Int($0.end - $0.start) } }

    /// Appends a record.
    /// - Returns: the offset behind it; nil when there is no room.
    public func append(_ record: [UInt8]) -> UInt64? {
        state.withLock { state -> UInt64? in
            let next = state.end + UInt64(LogSegment.head + record.count)
            guard next - state.start <= UInt64(capacity) else { return nil }
            state.buffer.removeAll(keepingCapacity: true)
            LogSegment.append(record, at: state.end, to: &state.buffer)
            state.buffer.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(start: place(of: state.end), count: bytes.count).copyMemory(from: bytes)
            }
            state.end = next
            return next
        }
    }

    /// Frees the room of the records before `offset`: they are elsewhere.
    public func release(before offset: UInt64) {
        state.withLock { state in
            guard offset > state.start, offset <= state.end else { return }
            state.start = offset
            write(start: offset)
        }
    }

    /// The records in the ring, oldest first, each with the offset behind it; and what is damaged between them.
    public func records() throws -> (records: [(bytes: [UInt8], end: UInt64)], damage: [KeelError]) {
        var records: [(bytes: [UInt8], end: UInt64)] = []
        var damage: [KeelError] = []
        let (start, end) = state.withLock { ($0.start, $0.end) }
        try scan(from: start, count: capacity) { finding in
            switch finding {
            case .record(let bytes, _, let next): if next <= end { records.append((Array(bytes), next)) }
            case .lost(_, let offsets):
                // Behind the newest stands what is older, or was being written; before the oldest too, when nothing says where it begins.
                guard knewStart || !records.isEmpty, offsets.upperBound <= end else { break }
                damage.append(KeelError(.corrupted, "\(offsets.count) bytes of a ring are damaged: what they held is lost"))
            }
        }
        return (records, damage)
    }

    private func lastEnd(from start: UInt64, count: Int) -> UInt64? {
        var last: UInt64?
        try? scan(from: start, count: count) { finding in if case .record(_, _, let next) = finding { last = next } }
        return last
    }

    private func scan(from start: UInt64, count: Int, _ body: (LogSegment.Finding) throws -> Void) throws {
        try LogSegment.scan(UnsafeRawBufferPointer(start: place(of: start), count: count), start: start, from: 0, body)
    }

    private func write(start: UInt64) {
        base.storeBytes(of: start.littleEndian, toByteOffset: 8, as: UInt64.self)
        base.storeBytes(of: (~start).littleEndian, toByteOffset: 16, as: UInt64.self)
    }

    private func place(of offset: UInt64) -> UnsafeMutableRawPointer { base + page + Int(offset % UInt64(capacity)) }

    private static func map(_ descriptor: Int32, page: Int, capacity: Int) throws -> UnsafeMutableRawPointer {
        let whole = page + 2 * capacity
        guard let space = mmap(nil, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), space != MAP_FAILED else {
            throw AtomicFile.failure("map a ring")
        }
        for (at, offset, count) in [(0, 0, page + capacity), (page + capacity, page, capacity)] {
            let mapped = mmap(space + at, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, off_t(offset))
            guard mapped != MAP_FAILED else {
                let failure = AtomicFile.failure("map a ring")
                munmap(space, whole)
                throw failure
            }
        }
        return space
    }

    private static func unusable(_ path: String) -> KeelError {
        KeelError(.corrupted, "'\(path)' is not a file that can be written", hint: "remove it: it is made anew")
    }
}
