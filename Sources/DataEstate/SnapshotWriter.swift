import Contracts
import Engines
import Foundation
import Storage

/// Writes the files of a snapshot under way: Parquet parts and the quarantine. Nothing refers to them until the snapshot is committed;
/// `discard` removes them, and what a crash leaves is removed at the next start.
final class SnapshotWriter {
    private let connection: DuckDBConnection
    private let lake: String
    private let dataset: String
    private let number: Int
    private var joiner = TableJoiner()
    private(set) var files: [SnapshotFile] = []
    private var quarantine: AtomicFile?
    private var buffered: [UInt8] = []
    private(set) var quarantined = 0
    private(set) var rows = 0
    private(set) var quarantineFile: String?
    private static let partRows = 524_288

    init(_ connection: DuckDBConnection, lake: String, dataset: String, number: Int) throws {
        (self.connection, self.lake, self.dataset, self.number) = (connection, lake, dataset, number)
        try FileManager.default.createDirectory(atPath: "\(lake)/\(SnapshotWriter.folder)/\(dataset)", withIntermediateDirectories: true)
    }

    /// The folder of this room below the lake's.
    static let folder = "datasets"

    func append(_ table: Table) throws {
        guard table.rowCount > 0 else { return }
        rows += table.rowCount
        if !joiner.append(table) {
            try flushRows()
            _ = joiner.append(table)
        }
        if joiner.rowCount >= SnapshotWriter.partRows { try flushRows() }
    }

    func quarantine(_ row: QuarantinedRow) throws {
        quarantined += 1
        row.json.write(to: &buffered)
        buffered.append(10)
        if buffered.count > 1 << 18 { try flushQuarantine() }
    }

    /// Writes what is left; afterwards all files are durable.
    func finish() throws {
        try flushRows()
        if quarantined > 0 {
            try flushQuarantine()
            try quarantine?.commit()
        }
    }

    func discard() {
        quarantine?.discard()
        for path in files.map(\.path) + [quarantineFile].compactMap({ $0 }) { try? FileManager.default.removeItem(atPath: "\(lake)/\(path)") }
    }

    private func flushRows() throws {
        guard joiner.rowCount > 0 else { return }
        let table = try joiner.take()
        let temporary = "\(lake)/\(SnapshotWriter.folder)/\(dataset)/part-\(Identifier.hex32()).tmp"
        try connection.writeParquet(table, to: temporary)
        let (digest, bytes) = try SnapshotWriter.digest(of: temporary)
        let path = "\(SnapshotWriter.folder)/\(dataset)/\(number)-\(files.count)-\(digest.short).parquet"
        guard rename(temporary, "\(lake)/\(path)") == 0 else { throw KeelError(.internal, "could not rename a file of the lake") }
        files.append(SnapshotFile(path: path, rows: table.rowCount, bytes: bytes, digest: digest))
    }

    private func flushQuarantine() throws {
        if quarantine == nil {
            let path = "\(SnapshotWriter.folder)/\(dataset)/\(number)-quarantine-\(Identifier.hex32().prefix(12)).jsonl"
            quarantineFile = path
            quarantine = try AtomicFile(path: "\(lake)/\(path)", temporaryFolder: "\(lake)/\(SnapshotWriter.folder)/\(dataset)")
        }
        try quarantine?.write(buffered)
        buffered.removeAll(keepingCapacity: true)
    }

    private static func digest(of path: String) throws -> (Digest, Int) {
        let handle = try InputFile(path: path)
        var hasher = Digest.Hasher()
        var position = 0
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 1 << 20)
        defer { buffer.deallocate() }
        while true {
            let count = try handle.read(into: buffer, at: position)
            guard count > 0 else { return (hasher.finish(), position) }
            hasher.update(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            position += count
        }
    }
}
