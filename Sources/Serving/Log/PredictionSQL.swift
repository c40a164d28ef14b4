import Contracts
import Engines
import Foundation
import Storage
import Synchronization

/// Answers SQL over the prediction log: one view for each endpoint that the caller may read. The newest rows, which are in no file of the lake yet, are in
/// the answer too.
public final class PredictionSQL: Sendable {
    /// Runs a job away from this process; see `QueryJob.run`.
    public typealias Runner = @Sendable (_ job: QueryJob, _ folder: String) async throws -> JSON

    private let database: Database
    private let exporter: PredictionExporter
    private let duckdb: DuckDB
    private let work: String
    private let runner: Runner
    private let places = Mutex(QueryPlaces())
    /// Of one release's rows that are in no file yet, and of an endpoint's labels.
    private static let pendingMax = 100_000

    /// - Parameter work: a folder for what a query needs while it runs, which `duckdb` may write to.
    public init(
        database: Database, exporter: PredictionExporter, duckdb: DuckDB, work: String,
        runner: @escaping Runner = { job, _ in try await Blocking.run { try job.run() } }
    ) {
        self.database = database
        self.exporter = exporter
        self.duckdb = duckdb
        // The process that runs a query works elsewhere.
        self.work = URL(fileURLWithPath: work).path
        self.runner = runner
    }

    /// - Returns: `columns` (`name`, `type`), `rows` as lists, `truncated`, and `notes` on what the answer lacks.
    /// - Throws: `invalidArgument` for what is not one `SELECT`, `notFound` for a table that is no endpoint of the caller's, `deadlineExceeded`,
    ///   `failedPrecondition` when the memory does not suffice, `tooManyRequests` when the caller, its workspace or all together run as many as they may.
    public func query(_ sql: String, limits: QueryLimits = QueryLimits(), _ grant: Grant) async throws -> JSON {
        try grant.requireSome(.predictionsRead)
        guard sql.utf8.count <= QueryLimits.sqlBytesMax, !sql.utf8.contains(0) else {
            throw KeelError.invalid("a query has at most \(QueryLimits.sqlBytesMax >> 10) KiB, and no zero byte", path: "sql")
        }
        try places.withLock { places throws(KeelError) in try places.take(for: grant.caller) }
        defer { places.withLock { $0.give(of: grant.caller) } }
        let endpoints = try await endpoints(grant)
        // A view that the text does not name cannot be meant. So a damaged file of one endpoint is in the way of no other.
        let text = Array(sql.lowercased().utf8)
        let named = endpoints.filter { QueryStatement.names($0.qualifiedName, in: text) }
        let folder = "\(work)/query-\(Identifier.hex32())"
        try Folder.make(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var notes: [String] = []
        var views: [QueryJob.View] = []
        var files: [String] = []
        for (i, endpoint) in named.enumerated() {
            let part = try await view(of: endpoint, in: folder, number: i)
            views.append(part.view)
            files += part.files
            notes += part.notes
        }
        let job = QueryJob(sql: sql, views: views, offered: endpoints.map(\.qualifiedName), files: files, limits: limits)
        var answer: JSON
        do { answer = try await runner(job, folder) } catch { throw PredictionSQL.withoutPaths(KeelError.wrapping(error), folder, files) }
        answer["notes"] = .array(notes.map(JSON.string))
        return answer
    }

    /// Where files lie is nobody's business.
    private static func withoutPaths(_ error: KeelError, _ folder: String, _ files: [String]) -> KeelError {
        var message = error.message
        for path in files + [folder] { message = message.replacing(path, with: path.split(separator: "/").last ?? "") }
        return KeelError(error.code, message, hint: error.hint, path: error.path)
    }

    /// The endpoints with predictions that the caller may read. Each prediction is in a file or waits for one.
    private func endpoints(_ grant: Grant) async throws -> [ResourceRef] {
        try await database.read(in: grant.workspace) { db in
            try db.rows(
                """
                SELECT workspace, endpoint FROM prediction_files WHERE workspace = ?
                UNION SELECT workspace, endpoint FROM unexported_predictions WHERE workspace = ? ORDER BY 2
                """, [db.inWorkspace, db.inWorkspace]
            ).map(ReleaseStore.endpoint).filter(grant.covers)
        }
    }

    private struct Part {
        let view: QueryJob.View
        let files: [String]
        let notes: [String]
    }

    private func view(of endpoint: ResourceRef, in folder: String, number: Int) async throws -> Part {
        // The layouts first: the rows and the files are then read in one transaction, so that no row is in both.
        let waiting = try await database.read { db in
            try db.rows(
                "SELECT DISTINCT release_number FROM unexported_predictions WHERE workspace = ? AND endpoint = ?", ReleaseStore.key(endpoint)
            ).map { Int($0.int("release_number")) }
        }
        var notes: [String] = []
        var layouts: [(release: Int, columns: LoggedColumns)] = []
        for release in waiting {
            do { layouts.append((release, try await exporter.layout(endpoint, release))) } catch {
                notes.append(
                    "the predictions of \(endpoint.qualifiedName)/\(release) that are not in the lake yet are missing: \(KeelError.wrapping(error).message)")
            }
        }
        let found = layouts
        let limit = PredictionSQL.pendingMax
        let (files, pending, labels) = try await database.read { db in
            (
                try PredictionFile.all(of: endpoint, in: db),
                try found.map { try PredictionExporter.rows(of: endpoint, $0.release, $0.columns, limit: limit, in: db).checked(limit) },
                try Label.Kind.allCases.map { kind in
                    (kind: kind, batch: try PredictionExporter.labels(of: endpoint, kind, part: .max, limit: limit, in: db).checked(limit))
                }.filter { $0.batch.table.rowCount > 0 }
            )
        }
        if (pending + labels.map(\.batch)).contains(where: \.isCut) {
            notes.append("the newest predictions or labels of \(endpoint.qualifiedName) are too many to be added and are not all there: ask again in a minute")
        }
        var paths = Paths()
        for file in files {
            let path = URL(fileURLWithPath: try await exporter.path(of: file)).path
            if case .labels(let kind) = file.holds { paths.labels[kind, default: []].append(path) } else { paths.rows.append(path) }
        }
        let stored = paths
        let all = try await Blocking.run { [duckdb] in
            var all = stored
            let connection = try duckdb.connect()
            for (i, table) in ([Table(emptyOf: LoggedColumns.own)] + pending.map(\.table)).enumerated() {
                let path = "\(folder)/\(number)-rows-\(i).parquet"
                try connection.writeParquet(table, to: path)
                all.rows.append(path)
            }
            var tables = labels.map { (kind: $0.kind, table: $0.batch.table) }
            if tables.isEmpty, all.labels.isEmpty { tables.append((.float64, Table(emptyOf: LoggedColumns.ofLabels(.float64)))) }
            for (kind, table) in tables {
                let path = "\(folder)/\(number)-labels-\(kind.rawValue).parquet"
                try connection.writeParquet(table, to: path)
                all.labels[kind, default: []].append(path)
            }
            return all
        }
        return Part(
            view: QueryJob.View(name: endpoint.qualifiedName, sql: all.select), files: all.rows + all.labels.values.joined(), notes: notes)
    }

    /// The files that a view reads.
    private struct Paths: Sendable {
        var rows: [String] = []
        var labels: [Label.Kind: [String]] = [:]

        /// The log's own columns with the label that came last, then those of the signatures. Labels of several types get the one that takes them all.
        var select: String {
            let own = LoggedColumns.own.map { DuckDBConnection.quoted($0.name) }
            let first = own.prefix { $0 != DuckDBConnection.quoted("latency_ns") }
            let type = Label.Kind.common(Set(labels.keys)).type.duckDBName
            let parts = labels.sorted { $0.key.rawValue < $1.key.rawValue }.map { kind, files in
                "SELECT id, release, CAST(label AS \(type)) AS label, label_at, part FROM \(DuckDBConnection.parquet(files))"
            }
            return """
                SELECT \(first.map { "r.\($0)" }.joined(separator: ", ")), l.label, l.label_at, r.latency_ns, r.request, \
                r.* EXCLUDE (\(own.joined(separator: ", ")))
                FROM \(DuckDBConnection.parquet(rows)) AS r LEFT JOIN (
                    SELECT id, release, arg_max(label, part) AS label, arg_max(label_at, part) AS label_at
                    FROM (\(parts.joined(separator: " UNION ALL "))) GROUP BY id, release
                ) AS l ON r.id = l.id AND r.release = l.release
                """
        }
    }
}
