import Contracts
import Storage

/// SQL of removing for good.
package enum PurgeStore {
    /// A path of artifacts, and who needs it.
    struct Need {
        let path: ArtifactPath
        let by: String
    }

    /// Everything that was logged to a run, is of a logged model, or of an experiment. A test compares them with the tables' foreign keys.
    package static let runTables = [
        "tracking_params", "tracking_tags", "tracking_latest_metrics", "tracking_inputs", "tracking_run_models",
    ]
    package static let modelTables = ["tracking_logged_model_items", "tracking_logged_model_metrics"]
    package static let experimentTables = ["tracking_experiment_tags", "tracking_evaluation_dataset_experiments"]

    // MARK: What goes

    static func items(_ db: some Querying, _ request: PurgeRequest, _ needed: [Need], now: Timestamp) throws -> [PurgeItem] {
        let cutoff = request.olderThan.map { now - $0 }
        let experiments = try rows(db, .experiment, request.experimentIDs, request, cutoff)
        // What is in an experiment that goes, goes with it.
        let ids = experiments.map { Value.int($0.int("id")) }
        var (runs, models) = (
            try rows(db, .run, request.runIDs, request, cutoff), try rows(db, .loggedModel, request.loggedModelIDs, request, cutoff)
        )
        for id in ids {
            runs += try db.rows("\(select(.run)) WHERE x.experiment_id = ? AND x.lifecycle = 'deleted'", [id])
            models += try db.rows("\(select(.loggedModel)) WHERE x.experiment_id = ?", [id])
        }
        var out = try unique(runs).map { try item(db, .run, $0, needed) } + unique(models).map { try item(db, .loggedModel, $0, needed) }
        // A model in the bin that a run goes without is nobody's to show, but what stays keeps its experiment.
        let going = Set(out.filter { $0.keptFor == nil }.map(\.id))
        for row in experiments { out.append(try experiment(db, row, going: going)) }
        return out
    }

    /// What others need, as paths.
    static func needs(_ db: some Querying, _ usage: (any ArtifactUsage)?, _ grant: Grant) throws -> [Need] {
        try paths(db, usage?.needed(db, grant) ?? [])
    }

    /// Refuses to remove or replace what is pinned.
    static func checkUnpinned(_ db: some Querying, _ path: ArtifactPath, _ usage: (any ArtifactUsage)?) throws {
        let pinned = try paths(db, usage?.pinned(db) ?? [])
        guard let pin = pinned.first(where: { $0.path.isWithin(path) || path.isWithin($0.path) }) else { return }
        throw KeelError(
            .failedPrecondition, "the artifacts at '\(path)' belong to \(pin.by)", hint: "what serves, or can be rolled back to, stays")
    }

    private static func paths(_ db: some Querying, _ uses: [(uri: String, by: String)]) throws -> [Need] {
        let workspace = try db.requiredWorkspace
        return try uses.compactMap { need in
            guard let uri = try resolve(db, need.uri), let path = ArtifactPath(behind: uri, in: workspace) else { return nil }
            return Need(path: path, by: need.by)
        }
    }

    /// Where the files behind a reference lie; nil for what is none of tracking's.
    private static func resolve(_ db: some Querying, _ uri: String) throws -> String? {
        if uri.hasPrefix("runs:/") {
            let parts = uri.dropFirst("runs:/".count).split(separator: "/", maxSplits: 1)
            guard let id = parts.first, let row = try db.row(
                    "SELECT artifact_uri FROM tracking_runs WHERE id = ? AND workspace = ?", [.string(String(id)), db.inWorkspace])
            else { return nil }
            return ([row.text("artifact_uri")] + parts.dropFirst().map(String.init)).joined(separator: "/")
        }
        guard uri.hasPrefix("models:/m-") else { return uri }
        let id = String(uri.dropFirst("models:/".count))
        return try db.row(
            "SELECT artifact_uri FROM tracking_logged_models WHERE id = ? AND workspace = ?", [.string(id), db.inWorkspace])?.text("artifact_uri")
    }

    private static func select(_ kind: PurgeItem.Kind) -> String {
        switch kind {
        case .run:
            "SELECT x.id AS id, x.name AS name, x.artifact_uri AS uri, x.deleted_ms AS deleted_ms, x.lifecycle AS lifecycle FROM tracking_runs x"
        case .loggedModel:
            "SELECT x.id AS id, x.name AS name, x.artifact_uri AS uri, x.updated_ms AS deleted_ms, x.lifecycle AS lifecycle FROM tracking_logged_models x"
        case .experiment:
            "SELECT x.id AS id, x.name AS name, x.updated_ms AS deleted_ms, x.lifecycle AS lifecycle FROM tracking_experiments x"
        }
    }

    private static func column(_ kind: PurgeItem.Kind) -> String { kind == .run ? "x.deleted_ms" : "x.updated_ms" }

    private static func rows(
        _ db: some Querying, _ kind: PurgeItem.Kind, _ named: [String]?, _ request: PurgeRequest, _ cutoff: Timestamp?
    ) throws -> [SQLRow] {
        guard request.isNamed else {
            let until = (cutoff ?? .distantFuture).milliseconds
            return try db.rows(
                "\(select(kind)) WHERE x.workspace = ? AND x.lifecycle = 'deleted' AND \(column(kind)) <= ? ORDER BY x.id",
                [db.inWorkspace, .int(until)])
        }
        return try (named ?? []).map { id in
            let key = kind == .experiment ? Value.int(try ExperimentStore.number(of: id)) : .string(id)
            guard let row = try db.row("\(select(kind)) WHERE x.id = ? AND x.workspace = ?", [key, db.inWorkspace]) else {
                throw KeelError.notFound("\(title(kind)) with id=\(id.prefix(100)) not found")
            }
            guard row.text("lifecycle") == Lifecycle.deleted.rawValue else {
                throw KeelError.invalid(
                    "\(title(kind)) \(id) is not in `deleted` lifecycle stage. Only \(kind.rawValue)s in `deleted` lifecycle stage can be deleted."
                )
            }
            if let cutoff, row.int("deleted_ms") > cutoff.milliseconds {
                throw KeelError.invalid(
                    "\(title(kind)) \(id) is not older than the required age. Only \(kind.rawValue)s older than \(request.olderThan?.description ?? "") can be deleted."
                )
            }
            return row
        }
    }

    private static func title(_ kind: PurgeItem.Kind) -> String {
        switch kind {
        case .run: "Run"
        case .loggedModel: "Logged model"
        case .experiment: "Experiment"
        }
    }

    private static func unique(_ rows: [SQLRow]) -> [SQLRow] {
        var seen: Set<String> = []
        return rows.filter { seen.insert($0.text("id")).inserted }
    }

    private static func item(
        _ db: some Querying, _ kind: PurgeItem.Kind, _ row: SQLRow, _ needed: [Need]
    ) throws -> PurgeItem {
        let uri = row.text("uri")
        // What is stored may be of any age and origin: a place that is not surely this one's own is left alone.
        let root = try ArtifactPath(behind: uri, in: db.requiredWorkspace).flatMap { $0.isRoot ? nil : $0 }
        let size = try root.map { try ArtifactStore.size(db, $0) } ?? Collected()
        let user = root.flatMap { root in needed.first { $0.path.isWithin(root) || root.isWithin($0.path) }?.by }
        return PurgeItem(
            kind: kind, id: row.text("id"), name: row.text("name"), deletedAt: Timestamp(milliseconds: row.int("deleted_ms")),
            files: size.objects,
            bytes: size.bytes, keptFor: user, elsewhere: root == nil ? uri : nil, root: root)
    }

    /// An experiment goes when all that is in it goes.
    private static func experiment(_ db: some Querying, _ row: SQLRow, going: Set<String>) throws -> PurgeItem {
        let id = row.int("id")
        var stays: String?
        for (table, what) in [("tracking_runs", "run"), ("tracking_logged_models", "logged model")] where stays == nil {
            try db.forEach("SELECT id FROM \(table) WHERE experiment_id = ?", [.int(id)]) { row in
                if stays == nil, !going.contains(row.text("id")) { stays = "\(what) \(row.text("id"))" }
            }
        }
        return PurgeItem(
            kind: .experiment, id: String(id), name: row.text("name"), deletedAt: Timestamp(milliseconds: row.int("deleted_ms")), files: 0,
            bytes: 0,
            keptFor: stays, elsewhere: nil, root: nil)
    }

    // MARK: Removing

    /// Removes those of `items` that may still go: meanwhile one may have been restored, or somebody may have begun to need it.
    static func purge(_ tx: Transaction, _ items: [PurgeItem], _ needed: [Need], _ grant: Grant) throws -> [PurgeItem] {
        try items.compactMap { item in
            let key = item.kind == .experiment ? Value.int(try ExperimentStore.number(of: item.id)) : .string(item.id)
            guard let row = try tx.row("\(select(item.kind)) WHERE x.id = ? AND x.workspace = ?", [key, tx.inWorkspace]),
                row.int("deleted_ms") == item.deletedAt.milliseconds,
                try row.text("lifecycle") == Lifecycle.deleted.rawValue || isInDeletedExperiment(tx, loggedModel: item)
            else { return nil }
            let now = item.kind == .experiment ? try experiment(tx, row, going: []) : try self.item(tx, item.kind, row, needed)
            if now.keptFor == nil { try remove(tx, now, grant) }
            return now
        }
    }

    /// Files that came with offers belong to no run: they go when no model version needs them.
    static func removeUnneededOffers(_ tx: Transaction, _ needed: [Need], _ grant: Grant) throws {
        let folder = try ArtifactPath(ArtifactPath.offers, in: tx.requiredWorkspace)
        for child in try ArtifactStore.list(tx, folder) {
            let path = try ArtifactPath("\(folder)/\(child.name)")
            guard !needed.contains(where: { $0.path.isWithin(path) }) else { continue }
            let removed = try ArtifactStore.remove(tx, path)
            try tx.record(
                "artifact.deleted", on: "Artifact/\(path)", ["files": .int(Int64(removed.objects)), "bytes": .int(removed.bytes)], by: grant)
        }
    }

    private static func isInDeletedExperiment(_ tx: Transaction, loggedModel item: PurgeItem) throws -> Bool {
        guard item.kind == .loggedModel else { return false }
        let sql = """
            SELECT 1 FROM tracking_experiments e JOIN tracking_logged_models m ON m.experiment_id = e.id WHERE m.id = ? AND e.lifecycle = 'deleted'
            """
        return try tx.row(sql, [.string(item.id)]) != nil
    }

    private static func remove(_ tx: Transaction, _ item: PurgeItem, _ grant: Grant) throws {
        if let root = item.root {
            _ = try ArtifactStore.remove(tx, root)
            try ArtifactStore.removeIfEmpty(tx, root.folder)
        }
        switch item.kind {
        case .run:
            try MetricStore.remove(tx, run: item.id)
            for table in runTables { try tx.execute("DELETE FROM \(table) WHERE run_id = ?", [.string(item.id)]) }
            try tx.execute("DELETE FROM tracking_runs WHERE id = ?", [.string(item.id)])
        case .loggedModel:
            for table in modelTables { try tx.execute("DELETE FROM \(table) WHERE model_id = ?", [.string(item.id)]) }
            try tx.execute("DELETE FROM tracking_logged_models WHERE id = ?", [.string(item.id)])
        case .experiment:
            let number = try ExperimentStore.number(of: item.id)
            let id = Value.int(number)
            try ExperimentStore.retire(tx, number)
            for table in experimentTables { try tx.execute("DELETE FROM \(table) WHERE experiment_id = ?", [id]) }
            try tx.execute("DELETE FROM tracking_experiments WHERE id = ?", [id])
        }
        let (event, subject) =
            switch item.kind {
            case .run: ("run.purged", "Run/\(item.id)")
            case .loggedModel: ("logged_model.purged", "LoggedModel/\(item.id)")
            case .experiment: ("experiment.purged", "Experiment/\(item.id)")
            }
        try tx.record(
            event, on: subject, ["name": .string(item.name), "files": .int(Int64(item.files)), "bytes": .int(item.bytes)], by: grant)
    }
}
