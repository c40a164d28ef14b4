import Contracts
import Foundation
import Synchronization

/// The log file of a step: made with the first line, closed to more after `bytesMax`.
final class StepLog: Sendable {
    static let bytesMax = 16 << 20
    let path: String
    private let state = Mutex<(file: FileHandle?, bytes: Int)>((nil, 0))

    init(path: String) { self.path = path }

    func write(_ line: String) {
        state.withLock { state in
            guard state.bytes < StepLog.bytesMax else { return }
            if state.file == nil {
                if !FileManager.default.fileExists(atPath: path) { _ = FileManager.default.createFile(atPath: path, contents: nil) }
                state.file = FileHandle(forWritingAtPath: path)
                _ = try? state.file?.seekToEnd()
            }
            var bytes = Array(line.utf8) + [10]
            state.bytes += bytes.count
            if state.bytes >= StepLog.bytesMax { bytes += Array("… the log ends here: it reached \(StepLog.bytesMax >> 20) MiB\n".utf8) }
            // A log that cannot be written must not fail the work it tells of.
            try? state.file?.write(contentsOf: Data(bytes))
        }
    }

    func close() { state.withLock { state in try? state.file?.close() } }
}
