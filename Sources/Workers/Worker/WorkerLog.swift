import Contracts
import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The lines that the workers of a pool write, in two files of at most `bytesMax / 2` each: when the first is full it takes the place of the second.
///
/// They lie where workers cannot reach them. A log that cannot be written does not fail the work that it tells of.
final class WorkerLog: Sendable {
    static let bytesMax: Int64 = 8 << 20
    /// What one read returns at most.
    private static let readBytesMax: Int64 = 1 << 20

    private struct State {
        var file: Int32?
        var size: Int64 = 0
    }
    private let path: String
    private let bytesMax: Int64
    private let state = Mutex(State())

    init(path: String, bytesMax: Int64 = WorkerLog.bytesMax) {
        self.path = path
        self.bytesMax = bytesMax
    }

    deinit { close() }

    func write(_ line: String) {
        let bytes = Array(line.utf8) + [10]
        state.withLock { state in
            if state.size + Int64(bytes.count) > bytesMax / 2, let file = state.file {
                Glibc.close(file)
                state.file = nil
                rename(path, path + ".1")
            }
            guard let file = openFile(&state) else { return }
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            state.size += Int64(max(0, count))
        }
    }

    /// The last lines, the oldest first.
    func tail(_ count: Int) -> [String] {
        state.withLock { _ in
            let text = WorkerLog.end(of: path + ".1") + WorkerLog.end(of: path)
            var lines = text.split(separator: 10, omittingEmptySubsequences: false)
            if lines.last?.isEmpty == true { lines.removeLast() }
            return lines.suffix(max(0, count)).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    func close() {
        state.withLock { state in
            if let file = state.file { Glibc.close(file) }
            state.file = nil
        }
    }

    func remove() {
        close()
        for file in [path, path + ".1"] { unlink(file) }
    }

    private func openFile(_ state: inout State) -> Int32? {
        if let file = state.file { return file }
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { return nil }
        state.file = file
        state.size = Int64(lseek(file, 0, SEEK_END))
        return file
    }

    private static func end(of path: String) -> [UInt8] {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { return [] }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        let size = Int64(lseek(file, 0, SEEK_END))
        try? handle.seek(toOffset: UInt64(max(0, size - readBytesMax)))
        return Array((try? handle.read(upToCount: Int(readBytesMax))) ?? Data())
    }
}
