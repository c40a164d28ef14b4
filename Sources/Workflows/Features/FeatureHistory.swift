import Contracts
import Datasets
import Engines
import FeatureStore

/// Fills online features from the history of their datasets. They are made beside those in force, and swapped: until then the old ones answer, and
/// pushes go on.
package struct FeatureHistory: Sendable {
    private let data: DatasetService
    private let analytics: DuckDB
    private let checkpoints: FeatureCheckpoints
    private let pushes: PushGate
    private let clock: any Clock

    package init(data: DatasetService, analytics: DuckDB, checkpoints: FeatureCheckpoints, pushes: PushGate, clock: any Clock) {
        self.data = data
        self.analytics = analytics
        self.checkpoints = checkpoints
        self.pushes = pushes
        self.clock = clock
    }

    /// Removes the files of features that are not there any more.
    package func prune() async throws { try await checkpoints.prune() }

    /// Gives a draft the history of a dataset, then calls `last` at a moment when it has every row and no push is under way.
    /// - Parameters:
    ///   - datasets: when given, the dataset is read as it will be when these are in force.
    ///   - isStart: whether the state of the last run may be gone on with.
    package func fill(
        _ draft: FeatureDraft, _ dataset: ResourceRef, in datasets: DatasetDraft? = nil, isStart: Bool = false,
        _ last: @escaping @Sendable () -> Void
    ) async throws {
        let time = if let datasets { datasets.spec(dataset.name)?.eventTime } else { try data.spec(dataset).eventTime }
        try await data.withHistory(dataset, in: datasets) { [self] history in
            let restored = isStart ? try await Blocking.run { [self] in checkpoints.restore(draft, dataset, history) } : nil
            let files = restored == nil ? try await history.files() : []
            try await Blocking.run { [self] in
                let now = clock.now()
                let apply = { [checkpoints] (rows: Table) throws in
                    checkpoints.count(rows.rowCount, of: dataset)
                    try draft.apply(dataset: dataset.name, rows: rows, now: now)
                }
                try readFiles(files, draft, dataset.name, time, now, apply)
                // What came in while the files were read is caught up with first, so that pushes wait for the last few rows alone.
                let caughtUp = try history.replay(from: try history.replay(from: restored ?? history.start, apply), apply)
                try pushes.run(dataset) {
                    do {
                        _ = try history.replay(from: caughtUp, apply)
                        draft.complete(dataset: dataset.name, origin: history.origin, acceptedUpTo: try history.lastKnown())
                        last()
                        return .success(())
                    } catch { return .failure(KeelError.wrapping(error)) }
                }
            }
        }
    }

    /// Reads the columns that the draft needs from as far back as it needs them; Parquet's statistics let older parts be passed over.
    private func readFiles(
        _ files: [String], _ draft: FeatureDraft, _ dataset: String, _ time: String?, _ now: Timestamp,
        _ apply: (Table) throws -> Void
    ) throws {
        guard !files.isEmpty else { return }
        let columns = draft.columns(of: dataset)
        let rows = ParquetRows(files, columns, number: "arrival")
        let connection = try analytics.connect()
        var filter = ""
        if let reach = draft.reach(of: dataset) {
            let newest = try connection.query(
                "SELECT \(reach.map { "max(\(rows.column($0.column)))" }.joined(separator: ", ")) FROM \(rows.sql)")
            var conditions: [String] = []
            for (i, one) in reach.enumerated() {
                guard let last = newest.columns[i][0].time else { continue }
                let start = min(last, now) - one.span
                draft.leavesOut(dataset: dataset, column: one.column, before: start)
                conditions.append("\(rows.column(one.column)) >= make_timestamp(\(start.microseconds))")
            }
            filter = conditions.isEmpty ? "" : " WHERE \(conditions.joined(separator: " OR "))"
        }
        let names = columns.map { "j.\(rows.column($0.name)) AS \(DuckDBConnection.quoted($0.name))" }.joined(separator: ", ")
        let order = time.flatMap { name in columns.contains { $0.name == name } ? " ORDER BY j.\(rows.column(name)), j.arrival" : nil } ?? ""
        try connection.forEachChunk("SELECT \(names) FROM \(rows.sql) j\(filter)\(order)") { (rows) throws(KeelError) in
            do { try apply(rows) } catch { throw KeelError.wrapping(error) }
            return true
        }
    }
}
