import Contracts
import Engines
import Foundation
import Statistics
import Storage

/// Writes the files of a snapshot under way: Parquet parts and the quarantine. They get their names in `finish`, and nothing refers to them until the
/// snapshot is committed. `discard` removes them; what a crash leaves without a name is removed at the next start.
final class SnapshotWriter {
    private let connection: DuckDBConnection
    private let lake: String
    /// The folder of the dataset's files below the lake's.
    private let folder: String
    private let spec: DatasetSpec
    private let number: Int
    private var joiner = TableJoiner()
    private(set) var files: [Snapshot.File] = []
    /// Files that are whole and have no name yet: where each lies, and what it is to be called.
    private var unnamed: [(temporary: String, path: String)] = []
    private var quarantine: AtomicFile?
    private var buffered: [UInt8] = []
    private(set) var quarantined = 0
    private(set) var rows = 0
    /// Of the rows that were appended and have the contract's columns.
    private(set) var profile: Profile
    private(set) var eventTimes: ClosedRange<Timestamp>?
    private(set) var quarantineFile: String?
    private static let partRows = 524_288
    private static let partBytes = 64 << 20
    private var quarantineBytes = 0
    private static let quarantineBytesMax = 1 << 30

    init(_ connection: DuckDBConnection, lake: String, _ dataset: ResourceRef, spec: DatasetSpec, number: Int) throws {
        (self.connection, self.lake, self.spec, self.number) = (connection, lake, spec, number)
        folder = SnapshotWriter.folder(of: dataset)
        profile = Profile(spec.schema.fields)
        try Folder.make("\(lake)/\(folder)")
    }

    /// The folder of this module below the lake's.
    static let folder = "datasets"
    /// The folder of a dataset's files below the lake's.
    static func folder(of dataset: ResourceRef) -> String { "\(folder)/\(WorkspaceFolder.prefix(dataset.workspace))\(dataset.name)" }

    func append(_ table: Table) throws {
        guard table.rowCount > 0 else { return }
        rows += table.rowCount
        // Rows that were pushed under an older contract are kept as they are; the profile is of this one's columns.
        let described = table.index(of: AcceptedTime.column) == nil ? table : try table.selecting(table.names.filter { $0 != AcceptedTime.column })
        if described.names == spec.schema.names, zip(described.columns, spec.schema.fields).allSatisfy({ $0.type == $1.type }) {
            try profile.add(described)
        }
        noteEventTimes(table)
        if !joiner.append(table) {
            try flushRows()
            _ = joiner.append(table)
        }
        if joiner.rowCount >= SnapshotWriter.partRows || joiner.byteCount >= SnapshotWriter.partBytes { try flushRows() }
    }

    private func noteEventTimes(_ table: Table) {
        guard let name = spec.eventTime, let column = table[name] else { return }
        switch column.buffer {
        case .int64(let values):
            guard let low = values.min(), let high = values.max() else { return }
            eventTimes = SnapshotWriter.union(eventTimes, Timestamp(microseconds: low)...Timestamp(microseconds: high))
        case .int32(let days):
            guard let low = days.min(), let high = days.max() else { return }
            eventTimes = SnapshotWriter.union(eventTimes, Timestamp(day: low)...Timestamp(day: high))
        default: return
        }
    }

    static func union(_ a: ClosedRange<Timestamp>?, _ b: ClosedRange<Timestamp>?) -> ClosedRange<Timestamp>? {
        guard let a, let b else { return a ?? b }
        return min(a.lowerBound, b.lowerBound)...max(a.upperBound, b.upperBound)
    }

    /// What the files make, after `finish`.
    /// - Parameter replacing: whether the rows of `previous` are no longer part of the dataset.
    func draft(
        after previous: Snapshot?, replacing: Bool = false, source: String, filtered: Int, sealed: SnapshotStore.Sealed, at now: Timestamp
    ) throws
        -> SnapshotStore.Draft
    {
        // When the contract's columns changed, the profile begins anew: it describes one set of columns.
        let base = replacing ? nil : previous
        let merged: Profile = if let before = base?.profile, let both = try? before.merged(with: profile) { both } else { profile }
        let snapshot = Snapshot(
            dataset: spec.name, number: number, files: (base?.files ?? []) + files, quarantinedCount: quarantined, schema: spec.schema,
            profile: merged, createdAt: now, parent: previous?.number, eventTimes: SnapshotWriter.union(base?.eventTimes, eventTimes))
        return SnapshotStore.Draft(
            snapshot: snapshot, added: files, replaces: replacing, filtered: filtered, quarantineFile: quarantineFile, source: source,
            sealed: sealed)
    }

    /// Sets a row aside. Beyond `quarantineBytesMax` rows are counted and no longer kept: a file of bad rows must not fill the disk.
    func quarantine(_ row: QuarantinedRow) throws {
        quarantined += 1
        guard quarantineBytes < SnapshotWriter.quarantineBytesMax else { return }
        let before = buffered.count
        row.json.write(to: &buffered)
        buffered.append(10)
        quarantineBytes += buffered.count - before
        if buffered.count > 1 << 18 { try flushQuarantine() }
    }

    /// Writes what is left; afterwards all files are durable under their names.
    func finish() throws {
        try flushRows()
        for (temporary, path) in unnamed {
            guard rename(temporary, path) == 0 else { throw KeelError(.internal, "could not rename a file of the lake") }
        }
        if !unnamed.isEmpty { try Folder.sync("\(lake)/\(folder)") }
        unnamed = []
        if quarantined > 0 {
            try flushQuarantine()
            try quarantine?.commit()
        }
    }

    func discard() {
        quarantine?.discard()
        for (temporary, _) in unnamed { try? FileManager.default.removeItem(atPath: temporary) }
        for path in files.map(\.path) + [quarantineFile].compactMap({ $0 }) {
            try? FileManager.default.removeItem(atPath: "\(lake)/\(path)")
        }
    }

    private func flushRows() throws {
        guard joiner.rowCount > 0 else { return }
        let table = try joiner.take()
        let temporary = "\(lake)/\(folder)/part-\(Identifier.hex32()).tmp"
        try connection.writeParquet(table, to: temporary)
        let written = try InputFile(path: temporary, name: "a new file of the lake")
        let digest = try written.digest()
        let path = "\(folder)/\(number)-\(files.count)-\(digest.short).parquet"
        unnamed.append((temporary, "\(lake)/\(path)"))
        files.append(Snapshot.File(path: path, rows: table.rowCount, bytes: written.size, digest: digest))
    }

    private func flushQuarantine() throws {
        if quarantine == nil {
            let path = "\(folder)/\(number)-quarantine-\(Identifier.hex32().prefix(12)).jsonl"
            quarantineFile = path
            quarantine = try AtomicFile(path: "\(lake)/\(path)", temporaryFolder: "\(lake)/\(folder)")
        }
        try quarantine?.write(buffered)
        buffered.removeAll(keepingCapacity: true)
    }
}
