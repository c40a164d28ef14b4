import Contracts
import Engines
import Foundation
import Storage

/// Makes large files of many small ones, so that a log of years is read in as few files as one of a day.
///
/// Files never change: a new one takes the place of several, which are deleted some time later, as queries and backups may have begun to read them. The new
/// file is written whole and named before one transaction notes that it is in force and the others are not. A crash before that leaves a file that nothing
/// refers to, and one after it files that the next round deletes.
struct PredictionCompaction: Sendable {
    let database: Database
    let lake: String
    let duckdb: DuckDB
    /// Where a file lies, once its bytes are known to be those that were written.
    let path: @Sendable (PredictionFile) async throws -> String
    /// So many files of one size become one.
    let filesMin: Int
    /// How long files are kept that others have replaced.
    let keepTime: TimeSpan

    /// Files between two of these are put together with each other alone, so that a row is written anew a few times and not with every new file. One of more
    /// than the last is large enough.
    private static let sizes = [64 << 10, 1 << 20, 16 << 20]
    /// Of one new file.
    private static let filesMax = 64

    /// Deletes what was replaced long enough ago, and replaces what is small.
    func run(_ endpoint: ResourceRef) async throws {
        try await deleteReplaced(of: endpoint)
        while !Task.isCancelled, let files = try await next(of: endpoint) { try await replace(files, of: endpoint) }
    }

    /// Endpoints that may have something to do.
    func endpoints() async throws -> [ResourceRef] {
        try await database.read { db in
            try db.rows(
                """
                SELECT workspace, endpoint FROM prediction_files WHERE holds = 'replaced' OR bytes < ? GROUP BY workspace, endpoint
                HAVING count(*) >= ? OR max(CASE WHEN holds = 'replaced' THEN 1 ELSE 0 END) = 1
                """, [.int(Int64(PredictionCompaction.sizes.last ?? 0)), .int(Int64(filesMin))]
            ).map(ReleaseStore.endpoint)
        }
    }

    /// The oldest files of one size that hold the same columns, when they are enough.
    private func next(of endpoint: ResourceRef) async throws -> [PredictionFile]? {
        let all = try await database.read { db in try PredictionFile.all(of: endpoint, in: db) }
        for (lower, upper) in zip([0] + PredictionCompaction.sizes, PredictionCompaction.sizes) {
            let small = all.filter { (lower..<upper).contains($0.bytes) }
            for files in Dictionary(grouping: small, by: \.holds).values where files.count >= filesMin {
                var byColumns: [String: [PredictionFile]] = [:]
                for file in files { byColumns[try await columns(of: file), default: []].append(file) }
                let enough = byColumns.values.filter { $0.count >= filesMin }.min { $0[0].number < $1[0].number }
                if let enough { return Array(enough.prefix(PredictionCompaction.filesMax)) }
            }
        }
        return nil
    }

    private func columns(of file: PredictionFile) async throws -> String {
        let path = try await path(file)
        return try await Blocking.run { [duckdb] in
            let table = try duckdb.connect().query("DESCRIBE SELECT * FROM \(DuckDBConnection.parquet([path]))")
            return (0..<table.rowCount).map { table.row($0).prefix(2).map { $0.text ?? "" }.joined(separator: " ") }.joined(separator: ", ")
        }
    }

    private func replace(_ files: [PredictionFile], of endpoint: ResourceRef) async throws {
        var paths: [String] = []
        for file in files { paths.append(try await path(file)) }
        let number = try await database.read { db in try PredictionFile.nextNumber(of: endpoint, in: db) }
        let sources = paths
        let expected = files.reduce(0) { $0 + $1.rows }
        let new = try await PredictionFile.write(endpoint, number, files[0].holds, lake: lake) { [duckdb] temporary in
            let rows = try duckdb.connect().writeParquet(query: "SELECT * FROM \(DuckDBConnection.parquet(sources))", to: temporary)
            guard rows == expected else {
                throw KeelError(.corrupted, "files of the prediction log hold \(rows) rows, and the database says \(expected)")
            }
            return rows
        }
        do {
            try await database.write { tx in
                try new.insert(in: tx)
                for file in files { try file.setReplaced(in: tx) }
            }
        } catch {
            unlink("\(lake)/\(new.path)")
            throw error
        }
    }

    private func deleteReplaced(of endpoint: ResourceRef) async throws {
        let limit = Timestamp(microseconds: database.clock.now().microseconds - keepTime.microseconds)
        let old = try await database.read { db in try PredictionFile.replaced(of: endpoint, until: limit, in: db) }
        guard !old.isEmpty else { return }
        // The files first: one that the database does not know would be taken for another database's.
        for file in old where unlink("\(lake)/\(file.path)") != 0 && errno != ENOENT {
            throw KeelError(.internal, "could not delete \(file.path): \(String(cString: strerror(errno)))")
        }
        try await Blocking.run { [lake] in try Folder.sync("\(lake)/\(PredictionFile.folder(of: endpoint))") }
        try await database.write { tx in for file in old { try file.delete(in: tx) } }
    }
}
