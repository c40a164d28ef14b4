import Contracts

/// All rows of a dataset in order of arrival: those of the newest snapshot, then those pushed since.
public struct DatasetHistory: Sendable {
    /// The snapshot's Parquet files, in order.
    public let files: [String]
    /// Where in the stream the rows behind the snapshot begin.
    public let start: UInt64
    let stream: DatasetStream

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

extension DatasetService {
    /// Calls `body` with a dataset's history. Until it returns nothing is ingested or sealed, so that files and stream fit together; pushes go on.
    public func withHistory<T: Sendable>(_ dataset: String, _ body: @Sendable (DatasetHistory) async throws -> T) async throws -> T {
        let entry = try entry(dataset)
        return try await entry.stream.turn.run { [self] in
            let snapshot = try await snapshot(dataset)
            let sealed = entry.stream.keys.withLock { $0.sealed.stream }
            let files = if let snapshot { try await files(of: snapshot) } else { [String]() }
            return try await body(DatasetHistory(files: files, start: sealed, stream: entry.stream))
        }
    }
}
