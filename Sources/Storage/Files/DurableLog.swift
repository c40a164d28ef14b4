import Contracts
import Foundation
import Synchronization

/// An append-only log of records in segment files: what streams and write-ahead logs stand on.
///
/// `append` returns after the operating system has the bytes, so a killed process loses nothing; the disk has them after the next `sync`,
/// which runs every `syncInterval` (a power cut may cost that much) or on every append when the interval is nil. When the disk refuses a sync, nobody
/// knows what it holds: the log takes nothing more until it is opened again.
///
/// A record that a crash cut off while it was written is dropped when the log is opened. Anything else that is no record is *damage*: its bytes are
/// copied to the folder `damaged`, it is reported, and the records behind it are read. Offsets never go back.
public final class DurableLog: Sendable {
    private struct State {
        var descriptor: Int32 = -1
        var segmentStart: UInt64 = 0
        var segmentSize: UInt64 = 0
        /// The offset of the next record.
        var end: UInt64 = 0
        var dirty = false
        var buffer: [UInt8] = []
        /// Why nothing more is taken.
        var failure: KeelError?
    }

    public let folder: String
    private let segmentBytesMax: UInt64
    private let syncInterval: TimeSpan?
    private let report: @Sendable (KeelError) -> Void
    private let state: Mutex<State>
    /// Touched only by `init` and `deinit`.
    private nonisolated(unsafe) let timer: (any DispatchSourceTimer)?

    /// Opens the log in `folder`, making it when absent.
    /// - Parameters:
    ///   - keepsUnreadable: whether a segment that the system does not let the server open is an error; otherwise it is set aside as damage.
    ///   - report: told of damage and of a disk that refuses a sync, from any thread; the same finding may come more than once.
    public init(
        folder: String, segmentBytesMax: Int = 64 << 20, syncInterval: TimeSpan? = .milliseconds(100),
        keepsUnreadable: Bool = false, report: @escaping @Sendable (KeelError) -> Void = { _ in }
    ) throws {
        self.folder = folder
        self.segmentBytesMax = UInt64(segmentBytesMax)
        self.syncInterval = syncInterval
        self.report = report
        try Folder.make(folder)
        var state = State()
        let floor = try DurableLog.clear(folder, keepsUnreadable: keepsUnreadable, report)
        if let last = try DurableLog.segments(folder).last {
            let segment = LogSegment(path: DurableLog.path(folder, last), start: last)
            let end = try segment.scan { finding in
                if case .lost(let bytes, let offsets) = finding {
                    report(try DurableLog.setAside(bytes, offsets, of: segment, below: folder))
                }
            }
            if end.isTorn, !end.isOld, truncate(segment.path, off_t(end.valid)) != 0 {
                throw AtomicFile.failure("cut the torn end of the log")
            }
            state.end = end.offset
            state.segmentStart = last
            state.segmentSize = UInt64(end.valid)
            // Behind damage, and behind the records of an older version, a new segment begins: where a record lies in its segment says its offset.
            if end.isDamaged || end.isOld, end.offset > last {
                state.segmentStart = end.offset
                state.segmentSize = 0
            }
        }
        if floor > state.end {
            state.segmentStart = floor
            state.segmentSize = 0
            state.end = floor
        }
        state.descriptor = try DurableLog.openSegment(folder, state.segmentStart)
        // The cut is on the disk before anything is written behind it.
        guard fdatasync(state.descriptor) == 0 else { throw AtomicFile.failure("sync the log") }
        self.state = Mutex(state)
        if let syncInterval {
            timer = DispatchSource.makeTimerSource(queue: .global(qos: .utility))
            timer?.schedule(deadline: .now() + syncInterval.seconds, repeating: syncInterval.seconds)
        } else {
            timer = nil
        }
        timer?.setEventHandler { [weak self] in self?.syncOrReport() }
        timer?.resume()
    }

    deinit {
        timer?.cancel()
        syncOrReport()
        state.withLock { _ = close($0.descriptor) }
    }

    /// The offset after the last record.
    public var end: UInt64 { state.withLock { $0.end } }

    /// From the first offset that is kept to the end.
    public func bounds() throws -> Range<UInt64> {
        let end = end
        return min(try DurableLog.segments(folder).first ?? end, end)..<end
    }

    /// Appends records, all or none; returns the offset after them.
    /// - Throws: `unavailable` when the disk is full: nothing of them is kept.
    @discardableResult
    public func append(_ records: [[UInt8]]) throws -> UInt64 {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            if state.segmentSize >= segmentBytesMax { try roll(&state, to: state.end) }
            state.buffer.removeAll(keepingCapacity: true)
            for record in records { LogSegment.append(record, at: state.end + UInt64(state.buffer.count), to: &state.buffer) }
            do {
                try state.buffer.withUnsafeBytes { try AtomicFile.writeAll(state.descriptor, $0) }
            } catch {
                // Part of the bytes may be there: cut them off so that the log stays whole.
                try cut(&state, to: state.segmentSize)
                throw error
            }
            state.segmentSize += UInt64(state.buffer.count)
            state.end += UInt64(state.buffer.count)
            state.dirty = true
            if syncInterval == nil { try sync(&state) }
            return state.end
        }
    }

    /// Takes back what was appended last. Nothing else may have been appended, and nobody may have been told, since the log ended at `offset`.
    public func takeBack(to offset: UInt64) throws {
        try state.withLock { state in
            guard offset < state.end else { return }
            try cut(&state, to: offset - min(offset, state.segmentStart))
            state.end = max(offset, state.segmentStart)
            state.dirty = true
        }
    }

    /// Makes the log go on at `offset` when it ends before: someone holds what was in it up to there. What is missing between is reported.
    public func advance(to offset: UInt64) throws {
        try state.withLock { state in
            guard offset > state.end else { return }
            report(DurableLog.missing(state.end..<offset))
            try roll(&state, to: offset)
        }
    }

    /// Brings what was appended to the disk.
    public func sync() throws { try state.withLock { try sync(&$0) } }

    private func syncOrReport() {
        do { try sync() } catch { report(KeelError.wrapping(error)) }
    }

    private func sync(_ state: inout State) throws {
        if let failure = state.failure { throw failure }
        guard state.dirty else { return }
        guard fdatasync(state.descriptor) == 0 else { throw stop(&state, AtomicFile.failure("sync the log")) }
        state.dirty = false
    }

    /// After this nothing is appended any more.
    private func stop(_ state: inout State, _ error: KeelError) -> KeelError {
        let failure = KeelError(
            .unavailable, "\(error.message): nothing more is taken until the server starts again",
            hint: "check the disk, then restart the server")
        state.failure = failure
        report(failure)
        return failure
    }

    private func cut(_ state: inout State, to size: UInt64) throws {
        guard ftruncate(state.descriptor, off_t(size)) == 0 else { throw stop(&state, AtomicFile.failure("cut the end of the log")) }
        state.segmentSize = size
    }

    /// Calls `body` with every record at or after `offset`, oldest first, and the offset after it.
    /// - Returns: whether they are all there; what is not is reported.
    @discardableResult
    public func replay(from offset: UInt64 = 0, _ body: (_ record: UnsafeRawBufferPointer, _ next: UInt64) throws -> Void) throws -> Bool {
        var isWhole = true
        func lost(_ problem: KeelError) {
            isWhole = false
            report(problem)
        }
        let (limit, last, lastSize) = state.withLock { ($0.end, $0.segmentStart, Int($0.segmentSize)) }
        guard offset < limit else { return true }
        let starts = try DurableLog.segments(folder).filter { $0 <= last }
        var expected = offset
        for (i, start) in starts.enumerated() where start < limit {
            if i + 1 < starts.count, starts[i + 1] <= offset { continue }
            if start > expected { lost(DurableLog.missing(expected..<start)) }
            let segment = LogSegment(path: DurableLog.path(folder, start), start: start)
            let end = try segment.scan(from: offset > start ? offset : nil, size: start == last ? lastSize : nil) { finding in
                switch finding {
                case .record(let record, let at, let next): if at >= offset { try body(record, next) }
                case .lost(let bytes, let offsets):
                    if offsets.upperBound > offset { lost(try DurableLog.setAside(bytes, offsets, of: segment, below: folder)) }
                }
            }
            expected = max(expected, end.offset)
        }
        if expected < limit { lost(DurableLog.missing(expected..<limit)) }
        return isWhole
    }

    /// Removes whole segments that end at or before `offset`.
    public func removeSegments(before offset: UInt64) throws {
        let starts = try DurableLog.segments(folder)
        for (start, next) in zip(starts, starts.dropFirst()) where next <= offset { unlink(DurableLog.path(folder, start)) }
    }

    /// Begins a segment. The one before it is on the disk by then, so only the last can have a torn end.
    private func roll(_ state: inout State, to offset: UInt64) throws {
        state.dirty = true
        try sync(&state)
        let next = try DurableLog.openSegment(folder, offset)
        close(state.descriptor)
        state.descriptor = next
        state.segmentStart = offset
        state.segmentSize = 0
        state.end = offset
    }

    // MARK: Damage

    /// Moves what has the name of a segment and cannot be opened as a file to the folder `damaged`.
    /// - Returns: the offset at which the log goes on at the earliest, as what was moved held those before.
    private static func clear(_ folder: String, keepsUnreadable: Bool, _ report: (KeelError) -> Void) throws -> UInt64 {
        var floor: UInt64 = 0
        for start in try segments(folder) {
            let path = path(folder, start)
            do { close(try StoredFile.open(path, name: LogSegment.name(path))) } catch {
                var status = stat()
                guard lstat(path, &status) == 0 else { continue }
                let isFile = status.st_mode & S_IFMT == S_IFREG
                if isFile, keepsUnreadable { throw error }
                let aside = try StoredFile.setAside(path, into: folder + "/damaged")
                floor = max(floor, start + (isFile ? UInt64(status.st_size) : 0))
                report(
                    KeelError(
                        .corrupted, "\(error.message): it was moved to \(name(folder))/damaged/\(aside), and what it held is not read",
                        hint: isFile
                            ? "stop the server, make the file readable, move it back, and start the server again"
                            : "put the file back from a backup, or push those rows again"))
            }
        }
        return floor
    }

    /// Copies bytes that are no record to the folder `damaged`, once, and says what is lost.
    private static func setAside(_ bytes: Range<Int>, _ offsets: Range<UInt64>, of segment: LogSegment, below folder: String) throws
        -> KeelError
    {
        guard !bytes.isEmpty else { return missing(offsets) }
        let copy = "\(folder)/damaged/\(digits(segment.start))-\(bytes.lowerBound)-\(bytes.count)"
        if !FileManager.default.fileExists(atPath: copy) {
            try Folder.make(folder + "/damaged")
            let file = try AtomicFile(path: copy, temporaryFolder: folder + "/damaged")
            let data = try StoredFile.map(segment.path, name: LogSegment.name(segment.path))
            try data.withUnsafeBytes { try file.write(UnsafeRawBufferPointer(rebasing: $0[bytes])) }
            try file.commit()
        }
        return KeelError(
            .corrupted,
            "\(bytes.count) bytes of the log '\(name(folder))' at offset \(offsets.lowerBound) are damaged: what they held is lost, what follows them is read",
            hint: "a copy of the bytes lies beside the log, in the folder 'damaged'; push those rows again, or restore a backup")
    }

    private static func missing(_ offsets: Range<UInt64>) -> KeelError {
        KeelError(
            .corrupted, "the log lacks the \(offsets.count) bytes from offset \(offsets.lowerBound) on: what they held is lost",
            hint: "push those rows again, or restore a backup")
    }

    private static func name(_ folder: String) -> Substring {
        folder[(folder.lastIndex(of: "/").map { folder.index(after: $0) } ?? folder.startIndex)...]
    }

    // MARK: Segments

    /// The offset behind what a folder's files hold, of a log that is not open; 0 when there is none.
    public static func end(in folder: String) -> UInt64 {
        guard let last = (try? segments(folder))?.last else { return 0 }
        var status = stat()
        return stat(path(folder, last), &status) == 0 ? last + UInt64(status.st_size) : last
    }

    private static func digits(_ start: UInt64) -> String {
        let digits = String(start)
        return String(repeating: "0", count: 20 - digits.count) + digits
    }

    private static func path(_ folder: String, _ start: UInt64) -> String { "\(folder)/\(digits(start)).log" }

    private static func segments(_ folder: String) throws -> [UInt64] {
        try Folder.names(folder).compactMap { name in
            name.hasSuffix(".log") ? UInt64(name.dropLast(4)).flatMap { $0 <= LogSegment.offsetMax ? $0 : nil } : nil
        }.sorted()
    }

    /// Opens a segment to append to it; its name is durable.
    private static func openSegment(_ folder: String, _ start: UInt64) throws -> Int32 {
        let path = path(folder, start)
        let descriptor = try StoredFile.open(path, name: LogSegment.name(path), O_WRONLY | O_CREAT | O_APPEND)
        do { try Folder.sync(folder) } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }
}
