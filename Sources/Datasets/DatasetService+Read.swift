import Contracts
import Engines
import Foundation
import Storage

/// Reading: snapshots, their rows, their quarantine. Each takes a grant for `datasets.read` (or for the work that needs the rows).
extension DatasetService {
    /// Snapshots newest first, those older than number `before`, without their profiles.
    public func snapshots(_ dataset: String, before: Int? = nil, limit: Int = 100, grant: Grant) async throws -> [Snapshot] {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.datasetsRead, on: thing)
        _ = try entry(thing)
        return try await database.read(in: grant.workspace) { try SnapshotStore.list(dataset, before: before, limit: min(max(limit, 1), 1000), $0) }
    }

    /// One snapshot; without a number the newest, nil when there is none yet.
    /// - Throws: `notFound` for a number that is not there.
    public func snapshot(_ dataset: ResourceRef, _ number: Int? = nil) async throws -> Snapshot? {
        let found = try await database.read(in: dataset.workspace) { [self] db in try find(dataset, number, db) }
        if found == nil, let number { throw KeelError.notFound("the dataset '\(dataset.name)' has no snapshot \(number)") }
        return found
    }

    /// The absolute paths of a snapshot's Parquet files, in order. Each is what its digest says; that is found out once in a process.
    /// - Throws: `corrupted` when a file was changed.
    public func files(of snapshot: Snapshot, in workspace: WorkspaceID) async throws -> [String] {
        try await checked(snapshot.files, of: ResourceRef("Dataset", snapshot.dataset, in: workspace))
    }

    /// The files of a snapshot as `files(of:in:)` gives them, with when their rows came to Keel.
    public func parts(of snapshot: Snapshot, in workspace: WorkspaceID) async throws -> [SnapshotPart] {
        let dataset = ResourceRef("Dataset", snapshot.dataset, in: workspace)
        let added = try await database.read(in: workspace) { try SnapshotStore.ingested(dataset.name, upTo: snapshot.number, $0) }
        let paths = try await checked(snapshot.files, of: dataset)
        var parts: [SnapshotPart] = []
        var first = 0
        for i in paths.indices {
            let time = added[snapshot.files[i].path]
            guard i + 1 == paths.count || added[snapshot.files[i + 1].path] != time else { continue }
            parts.append(SnapshotPart(files: Array(paths[first...i]), ingestedAt: time))
            first = i + 1
        }
        return parts
    }

    /// The files of all snapshots of all datasets in all workspaces.
    public func allFiles() async throws -> [(dataset: ResourceRef, file: Snapshot.File)] {
        try await database.read { try SnapshotStore.everyFile($0) }
    }

    /// Every file that a snapshot in any workspace refers to, below the folder of the lake.
    public static func storedFiles(in db: some Querying) throws -> Set<String> { try SnapshotStore.allFiles(db) }

    /// Reads a file of the lake through, whether or not it was checked before.
    /// - Throws: `corrupted` when it is not what was written, `notFound`.
    public func verify(_ file: Snapshot.File, of dataset: ResourceRef) async throws {
        _ = try await checked(file, of: dataset, again: true)
    }

    func checked(_ files: [Snapshot.File], of dataset: ResourceRef) async throws -> [String] {
        var paths: [String] = []
        for file in files { paths.append(try await checked(file, of: dataset, again: false)) }
        return paths
    }

    private func checked(_ file: Snapshot.File, of dataset: ResourceRef, again: Bool) async throws -> String {
        let path = "\(lake)/\(file.path)"
        do {
            try await verified.check(path, is: file.digest, name: DatasetService.name(of: file, of: dataset), again: again)
        } catch { throw reported(error, of: dataset) }
        return path
    }

    /// As `checked`, for callers that hold a lock and have had the files checked before: it reads only what has changed since, and blocks for that long.
    func checkedInPlace(_ files: [Snapshot.File], of dataset: ResourceRef) throws -> [String] {
        try files.map { file in
            let path = "\(lake)/\(file.path)"
            do { try verified.checkInPlace(path, is: file.digest, name: DatasetService.name(of: file, of: dataset)) } catch {
                throw reported(error, of: dataset)
            }
            return path
        }
    }

    private static func name(of file: Snapshot.File, of dataset: ResourceRef) -> String {
        "the file \(file.path) of dataset '\(dataset.name)'"
    }

    private func reported(_ error: any Error, of dataset: ResourceRef) -> any Error {
        damage.report(dataset, KeelError.wrapping(error))
        return error
    }

    /// Rows of a snapshot, in the order they arrived.
    /// - Parameter columns: nil is all columns that the contract had then.
    public func read(dataset: String, snapshot number: Int? = nil, columns: [String]? = nil, limit: Int? = nil, grant: Grant) async throws
        -> Table
    {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.datasetsRead, on: thing)
        guard let snapshot = try await snapshot(thing, number) else {
            throw KeelError.notFound("the dataset '\(dataset)' has no snapshot yet", hint: "ingest a file first")
        }
        let schema = snapshot.schema
        for name in columns ?? [] where schema[name] == nil {
            throw KeelError.invalid(
                "'\(name)' is not a column of '\(dataset)'", hint: nearest(name, in: schema.names).map { "did you mean '\($0)'?" })
        }
        let names = columns ?? schema.names
        let files = try await files(of: snapshot, in: grant.workspace)
        guard !files.isEmpty else { return Table(emptyOf: names.compactMap { schema[$0] }) }
        let fields = names.compactMap { schema[$0] }
        let rows = ParquetRows(files, fields)
        let list = names.map { "\(rows.column($0)) AS \(DuckDBConnection.quoted($0))" }.joined(separator: ", ")
        let select = "SELECT \(list) FROM \(rows.sql)\(limit.map { " LIMIT \(max($0, 0))" } ?? "")"
        return try await Blocking.run { [duckdb] in try duckdb.connect().query(select) }
    }

    /// Rows that were set aside when the snapshot was made, in order.
    /// - Parameter after: how many to pass over: the position of the page's first row.
    public func quarantine(dataset: String, snapshot number: Int, after: Int = 0, limit: Int = 100, grant: Grant) async throws
        -> [QuarantinedRow]
    {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.datasetsRead, on: thing)
        _ = try await snapshot(thing, number)
        guard let path = try await database.read(in: grant.workspace, { try SnapshotStore.quarantineFile(dataset, number, $0) }) else { return [] }
        return try await Blocking.run { [lake] in
            let file = try InputFile(path: "\(lake)/\(path)", name: "the quarantine of \(dataset)@\(number)")
            var position = 0
            let window = ByteWindow { (buffer) throws(KeelError) in
                let count = try file.read(into: buffer, at: position)
                position += count
                return count
            }
            var (out, line) = ([QuarantinedRow](), 0)
            while out.count < limit {
                let bytes = window.bytes
                guard let end = bytes.firstIndex(of: 10) else {
                    guard try window.more() else { break }
                    continue
                }
                if line >= after, let row = QuarantinedRow(json: try JSON.parse(Array(bytes[..<end]))) { out.append(row) }
                window.consume(end + 1)
                line += 1
            }
            return out
        }
    }
}
