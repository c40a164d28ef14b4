import Contracts
import Engines
import Foundation
import Storage
import Synchronization

/// Datasets: contracts, snapshots, quarantine, streams.
///
/// Snapshots lie as Parquet in the lake; the newest holds all rows sealed so far, and a dataset's stream holds the rows pushed since.
/// `ingest` and `seal` of one dataset run one after another; `push` runs beside them on any thread.
public final class DatasetService: Sendable {
    struct Entry: Sendable {
        let dataset: ResourceRef
        let spec: DatasetSpec
        let pipeline: RowPipeline
        let stream: DatasetStream
    }

    let database: Database
    let lake: String
    let streams: String
    let duckdb: DuckDB
    package let verified = VerifiedFiles()
    let damage: DamageRegister
    let clock: any Clock
    /// By workspace and name.
    let entries = Mutex<[WorkspaceID: [String: Entry]]>([:])
    /// Declared datasets that could not be opened, and why.
    let disabled = Mutex<[WorkspaceID: [String: KeelError]]>([:])

    /// - Parameters:
    ///   - lake: the folder of Parquet files; this module's lie below `datasets`.
    ///   - streams: the folder of the datasets' logs.
    ///   - damage: told of files and logs that are not what they were.
    public init(
        database: Database, lake: String, streams: String, duckdb: DuckDB, damage: DamageRegister = DamageRegister(),
        clock: any Clock = SystemClock()
    ) throws {
        self.database = database
        self.lake = lake
        self.streams = streams
        self.duckdb = duckdb
        self.damage = damage
        self.clock = clock
        try Folder.make("\(lake)/\(SnapshotWriter.folder)")
        try Folder.make(streams)
    }

    /// The full name of a dataset in the workspace of a grant.
    static func thing(_ dataset: String, _ grant: Grant) -> ResourceRef { ResourceRef("Dataset", dataset, in: grant.workspace) }

    /// The folder of a dataset's logs.
    func streamFolder(_ dataset: ResourceRef) -> String { "\(streams)/\(WorkspaceFolder.prefix(dataset.workspace))\(dataset.name)" }

    func open(_ dataset: ResourceRef, _ existing: DatasetStream?) async throws -> DatasetStream {
        let stream = try existing ?? DatasetStream(folder: streamFolder(dataset)) { [damage] in damage.report(dataset, $0) }
        try await refresh(dataset, stream)
        return stream
    }

    /// Whether the dataset is declared and its newest snapshot or its stream cannot be read.
    public func isDisabled(_ dataset: ResourceRef) -> Bool {
        disabled.withLock { $0[dataset.workspace]?[dataset.name] != nil }
    }

    /// Brings everything that was pushed to the disk; for the shutdown.
    public func sync() throws {
        for entry in entries.withLock({ $0.values.flatMap(\.values) }) {
            try entry.stream.rows.sync()
            try entry.stream.rejected.sync()
        }
    }

    /// The contract of a dataset.
    public func spec(_ dataset: ResourceRef) throws -> DatasetSpec { try entry(dataset).spec }

    /// From now on the dataset is unknown here; what is under way with it goes on.
    func forget(_ dataset: ResourceRef) -> Entry? {
        entries.withLock { $0[dataset.workspace]?.removeValue(forKey: dataset.name) }
    }

    /// - Parameter replacing: for callers that replace all rows and so can do without what cannot be read.
    func entry(_ dataset: ResourceRef, replacing: Bool = false) throws(KeelError) -> Entry {
        let name = dataset.name
        let found = entries.withLock { $0[dataset.workspace]?[name] }
        if let reason = disabled.withLock({ $0[dataset.workspace]?[name] }), !(replacing && found != nil) {
            throw DatasetService.isDisabled(name, reason)
        }
        if let found { return found }
        let known = entries.withLock { Array($0[dataset.workspace, default: [:]].keys) }
        throw .notFound(
            "there is no Dataset '\(name)'", hint: nearest(name, in: known).map { "did you mean '\($0)'?" } ?? "apply one first")
    }

    static func isDisabled(_ dataset: String, _ reason: KeelError) -> KeelError {
        KeelError(reason.code, "the dataset '\(dataset)' is disabled: \(reason.message)", hint: reason.hint)
    }

    // MARK: Ingest

    /// Reads a file into a new snapshot that holds the rows of the newest one and those of the file. On any error nothing is changed.
    ///
    /// - Parameters:
    ///   - file: CSV, JSON (lines, or one array) or Parquet; the first two also in gzip or zip.
    ///   - member: which file of a zip archive that holds several.
    ///   - source: what errors, quarantine and manifest call the file, when it is not its own name.
    ///   - overwrite: whether the rows of the file replace all others, those in the stream too. Earlier snapshots stay readable by their number, and keys are
    ///     compared within the file alone.
    ///   - format: nil takes the contract's, or what the name says.
    ///   - from, until: only rows whose event time is in `from ..< until`; others count as filtered.
    ///   - progress: called now and then from the reading thread.
    ///   - willTakeTime: called when the file is read, just before its rows are given the time at which they came. When the ingest fails it may have been
    ///     called or not.
    /// - Throws: `contractViolation` when a batch is refused, `notFound`, `corrupted`, `unavailable` when the disk is full.
    public func ingest(
        dataset: String, file: String, member: String? = nil, named source: String? = nil, format: DatasetSpec.Format? = nil,
        from: Timestamp? = nil, until: Timestamp? = nil, overwrite: Bool = false, grant: Grant,
        progress: @escaping @Sendable (IngestProgress) -> Void = { _ in }, willTakeTime: @escaping @Sendable () -> Void = {}
    ) async throws -> IngestReport {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.datasetsIngest, on: thing)
        let entry = try entry(thing, replacing: overwrite)
        if from != nil || until != nil, entry.spec.eventTime == nil {
            throw KeelError.invalid("the dataset '\(dataset)' has no event time to filter by", hint: "declare eventTime in the Dataset")
        }
        return try await entry.stream.turn.run { [self] in
            try entry.stream.checkKept(dataset)
            let isRepair = isDisabled(thing)
            if overwrite { _ = try await sealInTurn(entry, replacing: isRepair, grant) } else { try await loadKeys(entry) }
            let (previous, sealed, number) = try await database.read(in: thing.workspace) { [self] db in
                (
                    isRepair ? nil : try find(thing, nil, db), try SnapshotStore.sealed(dataset, db),
                    try SnapshotStore.nextNumber(dataset, db)
                )
            }
            let name = source ?? (file as NSString).lastPathComponent
            var (draft, reasons, warnings) = try await Blocking.run { [self] in
                try read(
                    entry, file: file, member: member, source: name, format: format, from: from, until: until, overwrite: overwrite,
                    number: number, previous: previous, sealed: sealed, progress: progress, willTakeTime: willTakeTime)
            }
            try await commit(draft, entry, grant)
            if isRepair { disabled.withLock { $0[thing.workspace]?[dataset] = nil } }
            if draft.added.isEmpty, draft.snapshot.quarantinedCount > 0 {
                warnings.append(
                    "no row was kept: snapshot \(number) \(overwrite ? "is empty" : "adds no rows"), and all rows read are in its quarantine"
                )
            }
            return IngestReport(
                snapshot: draft.snapshot, rows: draft.added.reduce(0) { $0 + $1.rows }, filtered: draft.filtered,
                quarantined: draft.snapshot.quarantinedCount, reasons: reasons, warnings: warnings)
        }
    }

    private func read(
        _ entry: Entry, file: String, member: String?, source: String, format: DatasetSpec.Format?, from: Timestamp?, until: Timestamp?,
        overwrite: Bool, number: Int, previous: Snapshot?, sealed: SnapshotStore.Sealed,
        progress: @escaping @Sendable (IngestProgress) -> Void, willTakeTime: () -> Void
    ) throws -> (SnapshotStore.Draft, [IngestReport.Reason], [String]) {
        let (spec, stream) = (entry.spec, entry.stream)
        let connection = try duckdb.connect()
        let writer = try SnapshotWriter(connection, lake: lake, entry.dataset, spec: spec, number: number)
        let job = Ingest(
            spec, source: source, from: from, until: until, writer: writer,
            uniqueKeys: { [self] hashes in
                try stream.keys.withLock { keys in
                    guard overwrite else {
                        try load(&keys, entry)
                        return hashes.map { keys.set.insert($0) }
                    }
                    var set = try keys.replacement ?? keySet(entry, files: [], from: keys.sealed.stream)
                    keys.replacement = nil
                    defer { keys.replacement = set }
                    return hashes.map { set.insert($0) }
                }
            }, progress: progress)
        do {
            let warnings = try job.run(file: file, member: member, format: format, connection: try duckdb.connect())
            willTakeTime()
            let draft = try writer.draft(
                after: previous, replacing: overwrite, source: source, filtered: job.filtered, sealed: sealed, at: clock.now())
            return (draft, job.reasons, warnings)
        } catch {
            writer.discard()
            // The keys of the rows that were read are in the set; it is loaded again when it is needed.
            stream.keys.withLock { $0.forget() }
            throw error
        }
    }

    /// Makes the draft a snapshot; its files are durable by now.
    func commit(_ draft: SnapshotStore.Draft, _ entry: Entry, _ grant: Grant) async throws {
        let stream = entry.stream
        do {
            try await database.write(in: entry.dataset.workspace) { try SnapshotStore.insert(draft, $0, grant) }
        } catch {
            for path in draft.added.map(\.path) + [draft.quarantineFile].compactMap({ $0 }) {
                try? FileManager.default.removeItem(atPath: "\(lake)/\(path)")
            }
            stream.keys.withLock { $0.forget() }
            throw error
        }
        // What was replaced has no keys any more.
        if draft.replaces { stream.keys.withLock { $0.forget() } }
        try await refresh(entry.dataset, stream)
    }

    // MARK: Keys

    /// Notes what is committed, from which keys are loaded, and frees the log up to there.
    private func refresh(_ dataset: ResourceRef, _ stream: DatasetStream) async throws {
        let (files, sealed) = try await database.read(in: dataset.workspace) { db in
            (try SnapshotStore.newestFiles(dataset.name, db), try SnapshotStore.sealed(dataset.name, db))
        }
        try stream.keys.withLock { keys in
            keys.files = files
            keys.sealed = sealed
            // A log that was cut goes on behind what snapshots hold: rows at offsets that count as sealed would be lost.
            try stream.rows.advance(to: sealed.stream)
            try stream.rejected.advance(to: sealed.rejected)
            // Under this lock no one loads keys from the segments that go.
            try stream.rows.removeSegments(before: sealed.stream)
            try stream.rejected.removeSegments(before: sealed.rejected)
        }
    }

    /// Reads the keys of a dataset's rows unless they are known, away from Swift's threads, so that a push does not have to.
    public func loadKeys(_ dataset: ResourceRef) async throws { try await loadKeys(try entry(dataset)) }

    private func loadKeys(_ entry: Entry) async throws {
        let spec = entry.spec
        let stream = entry.stream
        if stream.keys.withLock({ $0.lastAccepted == nil }) {
            _ = try await Blocking.run { try stream.loadLastAccepted() }
        }
        guard !spec.key.isEmpty else { return }
        // Who comes meanwhile waits here, not for the lock that is held while keys are read.
        try await stream.loading.run { [self] in
            guard let files = stream.keys.withLock({ $0.columns == spec.key ? nil : $0.files }) else { return }
            _ = try await checked(files, of: entry.dataset)
            try await Blocking.run { [self] in try stream.keys.withLock { keys in try load(&keys, entry) } }
        }
    }

    /// Fills the key set from the snapshot and the stream, unless it is.
    func load(_ keys: inout DatasetStream.Keys, _ entry: Entry) throws {
        guard keys.columns != entry.spec.key else { return }
        keys.set = try keySet(entry, files: keys.files, from: keys.sealed.stream)
        keys.columns = entry.spec.key
    }

    private func keySet(_ entry: Entry, files: [Snapshot.File], from offset: UInt64) throws -> KeySet {
        let spec = entry.spec
        var set = KeySet()
        if !files.isEmpty {
            let rows = ParquetRows(try checkedInPlace(files, of: entry.dataset), spec.key.compactMap { spec.schema[$0] })
            let list = spec.key.map { "\(rows.column($0)) AS \(DuckDBConnection.quoted($0))" }.joined(separator: ", ")
            try duckdb.connect().forEachChunk("SELECT \(list) FROM \(rows.sql)") { (chunk) throws(KeelError) in
                for hash in try KeySet.hashes(chunk, spec.key) { _ = set.insert(hash) }
                return true
            }
        }
        try entry.stream.rows.replay(from: offset) { record, _ in
            let table = try TableCodec.decode(record)
            // Rows of an older contract may lack a column of the key.
            guard spec.key.allSatisfy({ table.index(of: $0) != nil }) else { return }
            for hash in try KeySet.hashes(table, spec.key) { _ = set.insert(hash) }
        }
        return set
    }
}
