import Contracts

/// All rows of a dataset in order of arrival: those of the newest snapshot, then those pushed since.
public struct DatasetHistory: Sendable {
    /// Where in the stream the rows behind the snapshot begin.
    public let start: UInt64
    /// Says which rows those are that did not come through the stream. Histories of one origin differ only in how far the stream goes: to seal it changes
    /// nothing here, to ingest or to remove rows does.
    public let origin: String
    /// When the newest of the rows that were ingested came; nil when there are none.
    let lastIngested: Timestamp?
    let stream: DatasetStream
    let snapshotFiles: @Sendable () async throws -> [String]

    /// The snapshot's Parquet files, in order. Each is what its digest says; that is found out once in a process.
    /// - Throws: `corrupted` when a file was changed.
    public func files() async throws -> [String] { try await snapshotFiles() }

    /// No row was accepted or ingested later than then; nil when there is none that says it. It may be ahead of the clock, where that was set back. Blocks.
    public func lastKnown() throws -> Timestamp? {
        let accepted = try stream.loadLastAccepted()
        let times = [accepted == .min ? nil : Timestamp(microseconds: accepted), lastIngested]
        return times.compactMap { $0 }.max()
    }

    /// Whether `replay` from this place gives all rows behind it that there are. Of the part that snapshots hold, the stream may have lost some, and
    /// removes all in time. Blocks.
    public func covers(from place: UInt64) throws -> Bool {
        let bounds = try stream.rows.bounds()
        guard bounds.contains(place) || place == bounds.upperBound else { return false }
        return try place >= start || stream.rows.replay(from: place) { _, _ in }
    }

    /// Calls `body` with the rows pushed at or after a place in the stream, oldest first; rows of one contract come many at a time.
    /// - Returns: the place behind the last of them.
    public func replay(from place: UInt64, _ body: (Table) throws -> Void) throws -> UInt64 {
        var end = place
        var joiner = TableJoiner()
        func flush() throws { if joiner.rowCount > 0 { try body(try joiner.take()) } }
        try stream.rows.replay(from: place) { record, next in
            let table = try TableCodec.decode(record)
            if !joiner.append(table) {
                try flush()
                _ = joiner.append(table)
            }
            if joiner.rowCount >= RowBatcher.rowsMax { try flush() }
            end = next
        }
        try flush()
        return end
    }
}

extension DatasetDraft {
    fileprivate func entry(_ dataset: ResourceRef) throws(KeelError) -> DatasetService.Entry {
        let name = dataset.name
        guard dataset.workspace == workspace else { throw KeelError(.internal, "\(dataset) was looked for in a draft of \(workspace)") }
        if let reason = failures[name] { throw DatasetService.isDisabled(name, reason) }
        guard let entry = entries[name] else { throw .notFound("there is no Dataset '\(name)'", hint: "apply one first") }
        return entry
    }
}

extension DatasetService {
    /// Calls `body` with a dataset's history. Until it returns nothing is ingested or sealed, so that files and stream fit together; pushes go on.
    /// - Parameter draft: when given, the dataset as it will be when this is in force.
    public func withHistory<T: Sendable>(
        _ dataset: ResourceRef, in draft: DatasetDraft? = nil, _ body: @Sendable (DatasetHistory) async throws -> T
    ) async throws -> T {
        let entry = try draft.map { (draft) throws(KeelError) in try draft.entry(dataset) } ?? entry(dataset)
        return try await entry.stream.turn.run { [self] in
            let snapshot = try await snapshot(dataset)
            let (origin, ingested) = try await database.read(in: dataset.workspace) { db in
                (try SnapshotStore.origin(dataset.name, db), try SnapshotStore.ingestTimes(dataset.name, upTo: snapshot?.number ?? 0, db).values.max())
            }
            let history = DatasetHistory(
                start: entry.stream.keys.withLock { $0.sealed.stream }, origin: origin, lastIngested: ingested, stream: entry.stream,
                snapshotFiles: { [self] in
                    guard let snapshot else { return [] }
                    return try await checked(snapshot.files, of: dataset)
                })
            return try await body(history)
        }
    }

    /// From the first place in a dataset's stream that is kept to its end.
    public func streamBounds(_ dataset: ResourceRef) throws -> Range<UInt64> { try entry(dataset).stream.rows.bounds() }

    /// Brings a dataset's stream to the disk.
    public func syncStream(_ dataset: ResourceRef) throws { try entry(dataset).stream.rows.sync() }
}
