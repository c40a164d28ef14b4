import CSupervisor
import Contracts
import Foundation
import Storage
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The log file of a step, over all its attempts: made with the first line.
///
/// It keeps its first and its last `endBytesMax` bytes; what lies between is given back to the disk as it grows (a hole in the file), so that every
/// byte keeps its place. It lies beside the working directory of its step, which programs in a sandbox cannot leave; whatever others put in its place
/// is neither written to nor read, unless it is a plain file.
package final class StepLog: Sendable {
    package static let endBytesMax: Int64 = 32 << 20
    /// A hole is made when so much has come since the last one.
    private static let holeStep: Int64 = 1 << 20

    let path: String
    private let endBytesMax: Int64

    private struct State {
        var file: Int32?
        var size: Int64 = 0
        var holeEnd: Int64 = 0
        /// Of the attempt under way.
        var begin: Int64 = 0
        var lines = 0
        var hasher = Digest.Hasher()
    }
    private let state = Mutex(State())

    static func path(run: String, step: String, in workFolder: String) -> String { "\(workFolder)/\(run)/\(step).log" }

    package init(path: String, endBytesMax: Int64 = StepLog.endBytesMax) {
        self.path = path
        self.endBytesMax = endBytesMax
    }

    deinit { close() }

    /// From here on `reference` is about what a new attempt writes.
    package func beginAttempt() {
        state.withLock { state in
            state.begin = state.size
            state.lines = 0
            state.hasher = Digest.Hasher()
        }
    }

    /// A log that cannot be written does not fail the work that it tells of.
    package func write(_ line: String) {
        let bytes = Array(line.utf8) + [10]
        state.withLock { state in
            guard let file = openFile(&state) else { return }
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            state.size += Int64(count)
            state.lines += 1
            state.hasher.update(bytes)
            makeHole(file, &state)
        }
    }

    /// Where the attempt's lines are, and their digest: what the ledger says of them. Nil when it wrote none.
    package var reference: JSON? {
        state.withLock { state in
            guard state.lines > 0 else { return nil }
            return [
                "from": .int(state.begin), "to": .int(state.size), "lines": .int(Int64(state.lines)),
                "digest": .string(state.hasher.finish().hex),
            ]
        }
    }

    package func close() {
        state.withLock { state in
            if let file = state.file { Glibc.close(file) }
            state.file = nil
        }
    }

    private func openFile(_ state: inout State) -> Int32? {
        if let file = state.file { return file }
        guard let file = try? StoredFile.open(path, name: "the step's log", O_WRONLY | O_CREAT | O_APPEND) else { return nil }
        state.file = file
        state.size = Int64(lseek(file, 0, SEEK_END))
        state.begin = state.size
        return file
    }

    private func makeHole(_ file: Int32, _ state: inout State) {
        let end = state.size - endBytesMax
        guard end > endBytesMax, end >= max(state.holeEnd, endBytesMax) + min(StepLog.holeStep, endBytesMax) else { return }
        // A file system without holes keeps the bytes.
        _ = keel_punch_hole(file, endBytesMax, end - endBytesMax)
        state.holeEnd = end
    }
}

/// Some lines of a step's log.
public struct LogPage: Sendable, Hashable {
    /// What is read at once at most.
    static let bytesMax = 1 << 20

    public let lines: [String]
    /// Where the next page begins; the same as before when nothing has come.
    public let next: Int64
    /// The bytes of the whole log.
    public let size: Int64
    /// Bytes between the page asked for and these lines that are not kept: the middle of a large log.
    public let leftOut: Int64

    public var json: JSON {
        ["lines": .array(lines.map(JSON.string)), "next": .int(next), "size": .int(size), "left_out": .int(leftOut)]
    }

    private init(lines: [String], next: Int64, size: Int64, leftOut: Int64) {
        self.lines = lines
        self.next = next
        self.size = size
        self.leftOut = leftOut
    }

    /// Reads whole lines from a byte on. A line that is not ended yet comes with a later page.
    /// - Parameter tail: read the last so many lines instead.
    package static func read(_ path: String, from: Int64, tail: Int?, endBytesMax: Int64 = StepLog.endBytesMax) throws -> LogPage {
        guard let file = try? StoredFile.open(path, name: "the step's log") else {
            return LogPage(lines: [], next: 0, size: 0, leftOut: 0)
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        let size = Int64(try handle.seekToEnd())
        var start = tail == nil ? min(max(0, from), size) : max(0, size - Int64(bytesMax))
        var leftOut: Int64 = 0
        // The hole is known by its place; the line that its end cuts is left out with it.
        let holeEnd = size - endBytesMax
        var isCut = tail != nil && start > 0
        if start >= endBytesMax, start < holeEnd {
            leftOut = holeEnd - start
            start = holeEnd
            isCut = true
        }
        let end = start < endBytesMax && holeEnd > endBytesMax ? min(start + Int64(bytesMax), endBytesMax) : start + Int64(bytesMax)
        try handle.seek(toOffset: UInt64(start))
        let bytes = Array(try handle.read(upToCount: Int(end - start)) ?? Data())
        var lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
        // What stands behind the last newline is no whole line. At the hole's beginning it never becomes one.
        let rest = lines.popLast()?.count ?? 0
        let next = end == endBytesMax && holeEnd > endBytesMax ? end : start + Int64(bytes.count - rest)
        if isCut, !lines.isEmpty { lines.removeFirst() }
        let texts = lines.map { String(decoding: $0, as: UTF8.self) }
        return LogPage(lines: tail.map { texts.suffix($0) } ?? texts, next: next, size: size, leftOut: leftOut)
    }
}
