import Contracts
import Foundation
import Synchronization

/// The newest records of a log, in a file that is mapped into memory: an append is a copy in memory, without a system call, and what was appended is
/// there when the process is killed. It is not there after a power cut.
///
/// Records stand in the ring until they are elsewhere (`release`). They have the form of `LogSegment`; the offset of a record never comes again. The file
/// is mapped twice in a row, so that every record lies in one piece. Its first page holds where the oldest record begins, and of which start of the
/// machine the content is: that of an earlier one is what happened to reach the disk, and is passed over.
///
/// Thread-safe. One process at a time opens a file.
public final class MappedRing: Sendable {
    private struct State {
        /// The offsets of the oldest record and behind the newest.
        var start: UInt64
        var end: UInt64
        var buffer: [UInt8] = []
    }

    /// In the first page: the mark, the start, and 36 bytes of text that name a start of the machine.
    private static let mark: UInt64 = 0x3147_4E49_524C_454B  // "KELRING1"
    private static let startAt = 8
    private static let bootAt = 16
    private static let bootBytes = 36

    private let capacity: Int
    private let page = Int(getpagesize())
    /// The first page, and behind it the ring, twice. Written under `state`'s lock; unmapped by `deinit` alone.
    private nonisolated(unsafe) let base: UnsafeMutableRawPointer
    private let state: Mutex<State>

    /// Opens the ring at `path`, or makes one.
    /// - Parameters:
    ///   - capacity: bytes, a multiple of the page size.
    ///   - boot: names this start of the machine.
    public init(path: String, capacity: Int, boot: String = MappedRing.currentBoot) throws {
        self.capacity = capacity
        let boot = Array(boot.utf8.prefix(MappedRing.bootBytes))
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw AtomicFile.failure("open the ring \(path)") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw AtomicFile.failure("open the ring \(path)") }
        if Int(status.st_size) != page + capacity {
            // Zeros are written, so that the disk has room for every page before one is used.
            guard ftruncate(descriptor, 0) == 0 else { throw AtomicFile.failure("make the ring \(path)") }
            try [UInt8](repeating: 0, count: page + capacity).withUnsafeBytes { try AtomicFile.writeAll(descriptor, $0) }
        }
        base = try MappedRing.map(descriptor, page: page, capacity: capacity)
        let start = UInt64(littleEndian: base.load(fromByteOffset: MappedRing.startAt, as: UInt64.self))
        let isOurs = base.load(as: UInt64.self) == MappedRing.mark && start < 1 << 62
        let isOfThisBoot = (base + MappedRing.bootAt).elementsEqual(boot, count: boot.count)
        state = Mutex(State(start: isOurs ? start : 0, end: isOurs ? start : 0))
        guard isOurs, isOfThisBoot else {
            // Begun anew, behind every offset of what may still stand in it.
            let next = isOurs ? (start / UInt64(capacity) + 2) * UInt64(capacity) : 0
            state.withLock { state in
                state.start = next
                state.end = next
                base.storeBytes(of: MappedRing.mark, as: UInt64.self)
                base.storeBytes(of: next.littleEndian, toByteOffset: MappedRing.startAt, as: UInt64.self)
                (base + MappedRing.bootAt).copyMemory(from: boot, byteCount: boot.count)
            }
            return
        }
        // What is behind the last whole record is of an earlier round, or was being written.
        state.withLock { state in
            _ = try? scan(from: start) { finding in if case .record(_, _, let next) = finding { state.end = next } }
        }
    }

    deinit { munmap(base, page + 2 * capacity) }

    /// The offset behind the newest record.
    public var end: UInt64 { state.withLock { $0.end } }

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
            base.storeBytes(of: offset.littleEndian, toByteOffset: MappedRing.startAt, as: UInt64.self)
        }
    }

    /// The records in the ring, oldest first, each with the offset behind it; and what is damaged between them.
    public func records() throws -> (records: [(bytes: [UInt8], end: UInt64)], damage: [KeelError]) {
        var records: [(bytes: [UInt8], end: UInt64)] = []
        var damage: [KeelError] = []
        let (start, end) = state.withLock { ($0.start, $0.end) }
        try scan(from: start) { finding in
            switch finding {
            case .record(let bytes, _, let next): if next <= end { records.append((Array(bytes), next)) }
            case .lost(_, let offsets):
                guard offsets.lowerBound < end, offsets.upperBound <= end else { break }
                damage.append(KeelError(.corrupted, "\(offsets.count) bytes of a ring are damaged: what they held is lost"))
            }
        }
        return (records, damage)
    }

    private func scan(from start: UInt64, _ body: (LogSegment.Finding) throws -> Void) throws {
        let bytes = UnsafeRawBufferPointer(start: place(of: start), count: capacity)
        try LogSegment.scan(bytes, start: start, from: 0, body)
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

    /// Differs from one start of the machine to the next.
    public static var currentBoot: String {
        let text = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ""
        return text.filter { !$0.isWhitespace }
    }
}

extension UnsafeMutableRawPointer {
    fileprivate func elementsEqual(_ bytes: [UInt8], count: Int) -> Bool {
        UnsafeRawBufferPointer(start: self, count: count).elementsEqual(bytes)
    }
}
