import Contracts
import Engines
import Foundation
import Storage
import Synchronization

/// Writes the prediction log to Parquet files in the lake, as it grows.
///
/// A row is in no file as long as it is one of `UnexportedRows`: a file is written whole, synced and given its name, and one transaction then records the
/// file and takes its rows off those. A crash before that leaves a file that nothing refers to, which the next start removes, and rows that are still to be
/// written; so no row is lost and none is in two files. Files never change; many small ones are replaced by a large one (`PredictionCompaction`). Labels, which
/// come later than their predictions, are in files of their own, newer ones in place of older ones.
///
/// One task at a time exports.
public final class PredictionExporter: Sendable {
    /// Rows of one release of an endpoint, or labels of one type, that are in no file.
    private struct Group: Hashable {
        enum Content: Hashable {
            case release(Int)
            case labels(Label.Kind)
        }

        let endpoint: ResourceRef
        let content: Content
    }

    private let database: Database
    private let objects: any ObjectStore
    private let lake: String
    private let duckdb: DuckDB
    private let damage: DamageRegister
    /// Since when a group has rows to write.
    private let waiting = Mutex<[Group: ContinuousClock.Instant]>([:])
    private let verified = VerifiedFiles()
    /// Of one file.
    private let rowsMax: Int
    /// So many small files become one.
    private let filesMin: Int
    /// How long files are kept that others have replaced.
    private let keepTime: TimeSpan
    private static let bytesMax = 32 << 20

    /// - Parameters:
    ///   - lake: the folder of the lake, which `duckdb` may write to.
    ///   - rowsMax: how many rows a file has at most when it is written first. A file of as many is written at once.
    ///   - filesMin: so many small files become one.
    ///   - keepTime: how long files are kept that others have replaced: longer than a query or a backup reads them.
    public init(
        database: Database, objects: any ObjectStore, lake: String, duckdb: DuckDB, damage: DamageRegister = DamageRegister(), rowsMax: Int = 5000,
        filesMin: Int = 16, keepTime: TimeSpan = .hours(6)
    ) {
        self.filesMin = filesMin
        self.keepTime = keepTime
        self.database = database
        self.objects = objects
        self.lake = lake
        self.duckdb = duckdb
        self.damage = damage
        self.rowsMax = rowsMax
    }

    /// Removes what a crash left in the lake. Call it once, before anything is exported.
    public func start() async throws {
        let files = try await database.read { db in try PredictionFile.known(in: db) }
        let known = Dictionary(grouping: files, by: \.endpoint)
        try await Blocking.run { [self] in
            for (workspace, name) in try WorkspaceFolder.entries(of: "\(lake)/\(PredictionFile.folder)") {
                let endpoint = ResourceRef(EndpointSpec.kind, stored: name, in: workspace)
                do { try removeLeftovers(of: endpoint, known[endpoint] ?? []) } catch { damage.report(endpoint, KeelError.wrapping(error)) }
            }
        }
        for file in files where file.holds != .replaced && !FileManager.default.fileExists(atPath: "\(lake)/\(file.path)") {
            damage.report(
                file.endpoint,
                KeelError(.corrupted, "the file \(file.path) of the prediction log is missing", hint: "put it back from a backup; queries fail until then"))
        }
    }

    private func removeLeftovers(of endpoint: ResourceRef, _ files: [PredictionFile]) throws {
        let folder = PredictionFile.folder(of: endpoint)
        let known = Set(files.map(\.path))
        let next = (files.map(\.number).max() ?? 0) + 1
        var unknown: [String] = []
        for name in try Folder.names("\(lake)/\(folder)") where !known.contains("\(folder)/\(name)") {
            if name.hasSuffix(AtomicFile.temporarySuffix) { unlink("\(lake)/\(folder)/\(name)") } else { unknown.append(name) }
        }
        // A crash leaves one file at most, the next one: others are of a database that knew more than this one.
        if unknown.count == 1, unknown[0].hasPrefix("\(next)-") {
            unlink("\(lake)/\(folder)/\(unknown[0])")
        } else if !unknown.isEmpty {
            damage.report(
                endpoint,
                KeelError(
                    .corrupted, "\(unknown.count) files in lake/\(folder) are none that the database knows: they are left there and not read",
                    hint: "keel.sqlite may be older than the lake: restore its backup"))
        }
    }

    /// Exports until the task is cancelled.
    /// - Parameter gatherTime: how long rows wait for more, so that files are not small.
    public func run(every gatherTime: TimeSpan) async {
        let gathering = Duration.microseconds(gatherTime.microseconds)
        let pause = min(max(gathering / 10, .milliseconds(50)), .seconds(10))
        while !Task.isCancelled {
            await export(waited: gathering)
            try? await Task.sleep(for: pause)
        }
    }

    /// Writes what has waited long enough or fills a file. What fails is reported as damage of its endpoint and tried again the next time; the other
    /// endpoints go on.
    /// - Parameter gatherTime: how long what does not fill a file waits for more.
    public func export(waited gatherTime: Duration = .zero) async {
        let groups: [Group]
        do { groups = try await pending() } catch {
            // A stop is no damage: the next start goes on.
            if !Task.isCancelled { damage.report("Predictions/export", KeelError.wrapping(error)) }
            return
        }
        let now = ContinuousClock.now
        let since = waiting.withLock { waiting in
            waiting = Dictionary(uniqueKeysWithValues: groups.map { ($0, waiting[$0] ?? now) })
            return waiting
        }
        for group in groups {
            let isDue = now - (since[group] ?? now) >= gatherTime
            do {
                while !Task.isCancelled, try await exportFile(group, evenSmall: isDue) {}
                if isDue { waiting.withLock { $0[group] = nil } }
            } catch {
                if Task.isCancelled { return }
                damage.report(group.endpoint, KeelError.wrapping(error))
            }
        }
        await compact()
    }

    private func compact() async {
        let compaction = PredictionCompaction(
            database: database, lake: lake, duckdb: duckdb, path: { [self] in try await path(of: $0) }, filesMin: filesMin, keepTime: keepTime)
        do {
            for endpoint in try await compaction.endpoints() where !Task.isCancelled {
                do { try await compaction.run(endpoint) } catch {
                    if Task.isCancelled { return }
                    damage.report(endpoint, KeelError.wrapping(error))
                }
            }
        } catch where !Task.isCancelled {
            damage.report("Predictions/compaction", KeelError.wrapping(error))
        } catch {}
    }

    private func pending() async throws -> [Group] {
        try await database.read { db in
            try UnexportedRows.all(in: db).map { Group(endpoint: $0.endpoint, content: .release($0.release)) }
                + db.rows("SELECT DISTINCT workspace, endpoint, label_type FROM predictions WHERE label_pending IS NOT NULL").map {
                    Group(endpoint: ReleaseStore.endpoint($0), content: .labels(Label.Kind($0)))
                }
        }
    }

    /// - Returns: whether there may be more for another file.
    private func exportFile(_ group: Group, evenSmall: Bool) async throws -> Bool {
        let endpoint = group.endpoint
        let number = try await database.read { db in try PredictionFile.nextNumber(of: endpoint, in: db) }
        let limit = rowsMax
        let batch: Batch
        switch group.content {
        case .release(let release):
            let columns = try await layout(endpoint, release)
            batch = try await database.read { db in try PredictionExporter.rows(of: endpoint, release, columns, limit: limit, in: db) }
        case .labels(let kind):
            batch = try await database.read { db in
                try PredictionExporter.labels(of: endpoint, kind, part: Int64(number), limit: limit, in: db)
            }
        }
        let count = batch.table.rowCount
        guard count > 0, evenSmall || count == rowsMax || batch.isCut else { return false }
        if batch.misfits > 0 {
            damage.report(
                group.endpoint,
                KeelError(
                    .corrupted, "\(batch.misfits) logged predictions have values that are none of the signature of their release",
                    hint: "in the lake those columns are null in their rows; the column request has what was asked"))
        }
        let file = try await write(batch.table, group, number)
        do { try await record(file, batch, group) } catch {
            unlink("\(lake)/\(file.path)")
            throw error
        }
        return count == rowsMax || batch.isCut
    }

    private func write(_ table: Table, _ group: Group, _ number: Int) async throws -> PredictionFile {
        let holds: PredictionFile.Content = if case .labels(let kind) = group.content { .labels(kind) } else { .rows }
        return try await PredictionFile.write(group.endpoint, number, holds, lake: lake) { [duckdb] temporary in
            try duckdb.connect().writeParquet(table, to: temporary)
            return table.rowCount
        }
    }

    /// Notes that the rows are in the file, in the transaction that records the file.
    private func record(_ file: PredictionFile, _ batch: Batch, _ group: Group) async throws {
        try await database.write { tx in
            try file.insert(in: tx)
            guard case .release(let release) = group.content else { return try PredictionExporter.settleLabels(batch, group.endpoint, in: tx) }
            let taken = try UnexportedRows(of: group.endpoint, release).remove(through: batch.last, in: tx)
            guard taken == batch.table.rowCount else {
                throw KeelError(.unavailable, "the predictions changed while they were exported; the next attempt takes them as they are")
            }
        }
    }

    /// A label that was posted anew since it was read stays to be written.
    private static func settleLabels(_ batch: Batch, _ endpoint: ResourceRef, in tx: Transaction) throws {
        for (i, version) in batch.labelVersions.enumerated() {
            let row = batch.table.row(i)
            try tx.execute(
                """
                UPDATE predictions SET label_pending = NULL
                WHERE workspace = ? AND endpoint = ? AND id = ? AND release_number = ? AND label_pending = ?
                """, ReleaseStore.key(endpoint) + row[0..<2] + [.int(version)])
        }
    }

    // MARK: Reading the table

    struct Batch: Sendable {
        var table: Table
        /// Rows with values that their columns do not take.
        var misfits = 0
        /// Whether rows were left for the next batch because these are large.
        var isCut = false
        /// Of rows: the number of the last.
        var last: Int64 = 0
        /// Of labels: what the column `label_pending` was when each was read.
        var labelVersions: [Int64] = []

        /// Says that rows may be left when there are as many as were asked for.
        func checked(_ limit: Int) -> Batch {
            var batch = self
            if table.rowCount == limit { batch.isCut = true }
            return batch
        }
    }

    /// The columns of a release's predictions.
    /// - Throws: when the release or its bundle cannot be read; its rows then stay in the table.
    func layout(_ endpoint: ResourceRef, _ number: Int) async throws -> LoggedColumns {
        let release = try await database.read(in: endpoint.workspace) { try ReleaseStore.find(endpoint, number, in: $0) }
        return LoggedColumns(release, try await ModelBundle.read(release.bundle, from: objects).signature)
    }

    /// Rows of a release that are in no file.
    static func rows(of endpoint: ResourceRef, _ release: Int, _ columns: LoggedColumns, limit: Int, in db: some Querying) throws -> Batch {
        var batch = Batch(table: columns.empty)
        var bytes = 0
        try UnexportedRows(of: endpoint, release).scan(LoggedColumns.read, limit: limit, in: db) { row in
            guard bytes < bytesMax else { return batch.isCut = true }
            let read = try columns.append(row, to: &batch.table)
            bytes += read.bytes
            if !read.isWhole { batch.misfits += 1 }
            batch.last = row.int(0)
        }
        return batch
    }

    /// Labels of one type of an endpoint that are in no file.
    static func labels(of endpoint: ResourceRef, _ kind: Label.Kind, part: Int64, limit: Int, in db: some Querying) throws -> Batch {
        var batch = Batch(table: Table(emptyOf: LoggedColumns.ofLabels(kind)))
        let isOfKind = kind == .float64 ? "(label_type = ? OR label_type IS NULL)" : "label_type = ?"
        try db.forEach(
            """
            SELECT id, release_number, label, label_text, label_type, label_at, label_pending FROM predictions
            WHERE workspace = ? AND endpoint = ? AND label_pending IS NOT NULL AND \(isOfKind) LIMIT ?
            """, ReleaseStore.key(endpoint) + [.string(kind.rawValue), .int(Int64(limit))]
        ) { row in
            let label = Label(row)?.value ?? .null
            try batch.table.append(row: [
                .string(row.text("id")), .int(row.int("release_number")), label, .timestamp(row.time("label_at")), .int(part),
            ])
            batch.labelVersions.append(row.int("label_pending"))
        }
        return batch
    }

    // MARK: Verifying

    /// The files of every endpoint in every workspace.
    public func allFiles() async throws -> [PredictionFile] { try await database.read { try PredictionFile.all(in: $0) } }

    /// Reads a file whole and compares it with its digest.
    /// - Throws: `corrupted` or `notFound`, which is also reported as damage of the endpoint.
    public func verify(_ file: PredictionFile) async throws { _ = try await path(of: file, again: true) }

    /// Where a file lies, once it is known to be what was written; a file that did not change since is not read again.
    func path(of file: PredictionFile, again: Bool = false) async throws -> String {
        let path = "\(lake)/\(file.path)"
        do { try await verified.check(path, is: file.digest, name: "\(file.path) of the prediction log", again: again) } catch {
            damage.report(file.endpoint, KeelError.wrapping(error))
            throw error
        }
        return path
    }
}
