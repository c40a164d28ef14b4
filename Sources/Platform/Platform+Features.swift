import Contracts
import Datasets
import Engines
import FeatureStore

/// Online features are made beside those in force, and swapped: until then the old ones answer, and pushes go on.
extension Platform {
    /// Makes the online features of a dataset anew, from its newest snapshot and the stream behind it. When that fails the old ones stay.
    func rebuildFeatures(_ dataset: String) async throws {
        // Nothing else may change which views there are.
        try await configuring.run { [self] in
            guard features.sources.contains(dataset) else { return }
            let wasBroken = features.isBroken(dataset)
            let draft = features.draft(rebuilding: dataset)
            try await fill(draft, dataset) { [features] in features.adopt(draft) }
            // Endpoints that could not be planned without these features can be now.
            if wasBroken { try await configureInTurn() }
        }
    }

    /// Puts a catalogue in force, once the views that are new or changed have their state. When that fails, what was in force stays.
    ///
    /// At start, and where a dataset's features were broken before, a history that cannot be read leaves the dataset's own views without state, and
    /// nothing else.
    /// - Returns: the datasets whose history cannot be read.
    func changeFeatures(to catalog: FeatureCatalog, isStart: Bool) async throws -> [(subject: String, error: KeelError)] {
        let draft = features.draft(catalog)
        var failures: [(subject: String, error: KeelError)] = []
        for dataset in draft.datasets {
            do {
                try await fill(draft, dataset, isStart: isStart) { [features] in features.follow(draft, dataset: dataset) }
            } catch {
                guard isStart || features.isBroken(dataset) else {
                    features.discard(draft)
                    throw error
                }
                let problem = KeelError.wrapping(error)
                failures.append(("Dataset/\(dataset)", problem))
                draft.fail(dataset: dataset, problem)
            }
        }
        features.adopt(draft)
        return failures
    }

    /// Gives a draft the history of a dataset, then calls `last` at a moment when it has every row and no push is under way.
    /// - Parameter isStart: whether the state of the last run may be gone on with.
    private func fill(
        _ draft: FeatureDraft, _ dataset: String, isStart: Bool = false, _ last: @escaping @Sendable () -> Void
    ) async throws {
        try await data.withHistory(dataset) { [self] history in
            let restored = isStart ? try await Blocking.run { [self] in featureCheckpoints.restore(draft, dataset, history) } : nil
            let files = restored == nil ? try await history.files() : []
            try await Blocking.run { [self] in
                let now = database.clock.now()
                let apply = { [featureCheckpoints] (rows: Table) throws in
                    featureCheckpoints.count(rows.rowCount, of: dataset)
                    try draft.apply(dataset: dataset, rows: rows, now: now)
                }
                try readFiles(files, draft, dataset, now, apply)
                // What came in while the files were read is caught up with first, so that pushes wait for the last few rows alone.
                let caughtUp = try history.replay(from: try history.replay(from: restored ?? history.start, apply), apply)
                try pushes.run(dataset) {
                    do {
                        _ = try history.replay(from: caughtUp, apply)
                        draft.complete(dataset: dataset, origin: history.origin)
                        last()
                        return .success(())
                    } catch { return .failure(KeelError.wrapping(error)) }
                }
            }
        }
    }

    /// Reads the columns that the draft needs from as far back as it needs them; Parquet's statistics let older parts be passed over.
    private func readFiles(
        _ files: [String], _ draft: FeatureDraft, _ dataset: String, _ now: Timestamp, _ apply: (Table) throws -> Void
    ) throws {
        guard !files.isEmpty else { return }
        let columns = draft.columns(of: dataset)
        let rows = ParquetRows(files, columns)
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
        let time = try data.spec(dataset).eventTime
        let order = time.flatMap { name in columns.contains { $0.name == name } ? " ORDER BY j.\(rows.column(name))" : nil } ?? ""
        try connection.forEachChunk("SELECT \(names) FROM \(rows.sql) j\(filter)\(order)") { (rows) throws(KeelError) in
            do { try apply(rows) } catch { throw KeelError.wrapping(error) }
            return true
        }
    }
}
