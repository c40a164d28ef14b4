import Contracts
import Importing
import Storage

extension TrackingTables {
    /// What was imported from where, and what it was then.
    public static let importMigrations = [
        Migration(
            module: "tracking.imports", version: 1,
            [
                """
                CREATE TABLE tracking_imports (
                    source TEXT NOT NULL, kind TEXT NOT NULL, foreign_id TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, imported_ms BIGINT NOT NULL,
                    PRIMARY KEY (source, kind, foreign_id))
                """
            ]),
        Migration(
            module: "tracking.imports", version: 2,
            [
                .rebuild(
                    "tracking_imports",
                    columns: [
                        .init("workspace TEXT NOT NULL", from: "'default'"), "source TEXT NOT NULL", "kind TEXT NOT NULL",
                        "foreign_id TEXT NOT NULL", "id TEXT NOT NULL", "digest TEXT NOT NULL", "imported_ms BIGINT NOT NULL",
                    ], primaryKey: ["workspace", "source", "kind", "foreign_id"])
            ]),
    ]
}

/// The kinds of things of tracking that imports bring.
public enum TrackingImportKind: String, Sendable, CaseIterable {
    case experiments, runs
    case loggedModels = "logged-models"
    case evaluationDatasets = "evaluation-datasets"
    case evaluationRecords = "evaluation-records"
}

/// SQL of imports.
enum ImportStore {
    static func imported(
        _ db: some Querying, _ source: String, _ kind: TrackingImportKind, _ ids: [String]
    ) throws -> [String: (id: String, digest: Digest?)] {
        var out: [String: (id: String, digest: Digest?)] = [:]
        try inParts(ids) { part in
            let rows = try db.rows(
                "SELECT * FROM tracking_imports WHERE workspace = ? AND source = ? AND kind = ? AND foreign_id IN (\(SQLFragment.marks(part.count)))",
                [db.inWorkspace, .string(source), .string(kind.rawValue)] + part.map(Value.string))
            for row in rows { out[row.text("foreign_id")] = (row.text("id"), Digest(hex: row.text("digest"))) }
        }
        return out
    }

    static func note(_ tx: Transaction, _ source: String, _ kind: TrackingImportKind, _ foreignID: String, as id: String, _ digest: Digest?)
        throws
    {
        try tx.execute(
            """
            INSERT INTO tracking_imports (workspace, source, kind, foreign_id, id, digest, imported_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, source, kind, foreign_id) DO UPDATE SET id = excluded.id, digest = excluded.digest, imported_ms = excluded.imported_ms
            """,
            [
                try tx.inWorkspace, .string(source), .string(kind.rawValue), .string(foreignID), .string(id), .string(digest?.hex ?? ""),
                .int(tx.now.milliseconds),
            ])
    }

    /// The runs of these ids that there are.
    static func runs(_ db: some Querying, _ ids: [String]) throws -> [String: Run] {
        var out: [String: Run] = [:]
        try inParts(ids) { part in
            let rows = try db.rows(
                "SELECT * FROM tracking_runs WHERE id IN (\(SQLFragment.marks(part.count))) AND workspace = ?",
                part.map(Value.string) + [db.inWorkspace])
            for run in try RunStore.withData(db, rows.map(RunStore.run)) { out[run.id] = run }
        }
        return out
    }

    /// The logged models of these ids that there are, those in the bin too.
    static func models(_ db: some Querying, _ ids: [String]) throws -> [String: ForeignModel] {
        var out: [String: ForeignModel] = [:]
        try inParts(ids) { part in
            let rows = try db.rows(
                "SELECT * FROM tracking_logged_models WHERE id IN (\(SQLFragment.marks(part.count))) AND workspace = ?",
                part.map(Value.string) + [db.inWorkspace])
            for (row, model) in zip(rows, try LoggedModelStore.withData(db, rows.map(LoggedModelStore.model))) {
                out[model.id] = ForeignModel(model, Lifecycle(rawValue: row.text("lifecycle")) ?? .active)
            }
        }
        return out
    }

    /// Whether there is a row of this id already.
    /// - Throws: `alreadyExists` when it is in another workspace.
    static func isThere(_ tx: Transaction, _ table: String, _ id: String) throws -> Bool {
        guard let row = try tx.row("SELECT workspace FROM \(table) WHERE id = ?", [.string(id)]) else { return false }
        guard row.text("workspace") == tx.workspace?.name else {
            throw KeelError(.alreadyExists, "the id '\(id.prefix(80))' is taken", hint: "import it into the workspace that has it")
        }
        return true
    }

    /// Puts the run in the place of what is there, but for the history of its metrics.
    static func replace(_ tx: Transaction, _ run: Run) throws {
        let id = Value.string(run.id)
        let isThere = try isThere(tx, "tracking_runs", run.id)
        for table in ["tracking_params", "tracking_tags", "tracking_inputs", "tracking_run_models"] {
            try tx.execute("DELETE FROM \(table) WHERE run_id = ?", [id])
        }
        if !isThere {
            try RunStore.insert(tx, run)
        } else {
            try tx.execute(
                """
                UPDATE tracking_runs SET experiment_id = ?, name = ?, user_id = ?, status = ?, start_ms = ?, end_ms = ?, artifact_uri = ?, lifecycle = ?
                WHERE id = ?
                """,
                [
                    .int(try ExperimentStore.number(of: run.experimentID)), .string(run.name), .string(run.userID),
                    .string(run.status.rawValue),
                    .int(run.startedAt.milliseconds), run.endedAt.map { .int($0.milliseconds) } ?? .null, .string(run.artifactURI),
                    .string(run.lifecycle.rawValue), id,
                ])
        }
        for param in run.params { try RunStore.add(tx, param, to: run.id) }
        for tag in run.tags { try RunStore.set(tx, tag, on: run.id) }
        try MetricStore.replace(tx, run.metrics, of: run.id)
        for dataset in run.datasets { try RunStore.add(tx, dataset, to: run.id) }
        for link in run.modelInputs { try RunStore.add(tx, link, role: "input", to: run.id) }
        for link in run.modelOutputs { try RunStore.add(tx, link, role: "output", to: run.id) }
    }

    /// Puts the logged model in the place of what is there, but for its metrics.
    static func replace(_ tx: Transaction, _ foreign: ForeignModel) throws {
        let model = foreign.model
        let id = Value.string(model.id)
        let isThere = try isThere(tx, "tracking_logged_models", model.id)
        try tx.execute("DELETE FROM tracking_logged_model_items WHERE model_id = ?", [id])
        if !isThere {
            try LoggedModelStore.insert(tx, model)
        } else {
            for param in model.params { try LoggedModelStore.set(tx, param, kind: "param", on: model.id) }
            for tag in model.tags { try LoggedModelStore.set(tx, tag, kind: "tag", on: model.id) }
        }
        try tx.execute(
            """
            UPDATE tracking_logged_models SET experiment_id = ?, name = ?, model_type = ?, source_run_id = ?, status = ?, artifact_uri = ?,
                created_ms = ?, updated_ms = ?, lifecycle = ? WHERE id = ?
            """,
            [
                .int(try ExperimentStore.number(of: model.experimentID)), .string(model.name), model.modelType.map(Value.string) ?? .null,
                model.sourceRunID.map(Value.string) ?? .null, .string(model.status.rawValue), .string(model.artifactURI),
                .int(model.createdAt.milliseconds), .int(model.updatedAt.milliseconds), .string(foreign.lifecycle.rawValue), id,
            ])
    }

    // MARK: Measurements

    /// Adds to the history of runs; the newest values stay as the runs were imported with.
    /// - Returns: how many were new.
    static func add(_ tx: Transaction, runPoints points: [MetricPoint]) throws -> Int {
        try Dictionary(grouping: points, by: \.owner).reduce(0) { added, run in
            try added + MetricStore.add(tx, run.value.map(\.metric), to: run.key, updatesNewest: false)
        }
    }

    static func add(_ tx: Transaction, modelPoints points: [MetricPoint]) throws -> Int {
        try insert(
            tx, points, "tracking_logged_model_metrics (model_id, run_id, key, dataset_name, dataset_digest, at_ms, step, value, is_nan)",
            width: 9,
            conflict: """
                (model_id, run_id, key, dataset_name, dataset_digest, at_ms, step) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan
                """
        ) { point, value, isNaN in
            [
                .string(point.owner), .string(point.runID ?? ""), .string(point.metric.key), .string(point.metric.datasetName ?? ""),
                .string(point.metric.datasetDigest ?? ""), .int(point.metric.at.milliseconds), .int(point.metric.step), .double(value),
                .int(isNaN),
            ]
        }
    }

    private static func insert(
        _ tx: Transaction, _ points: [MetricPoint], _ target: String, width: Int, conflict: String,
        _ fields: (MetricPoint, Double, Int64) -> [Value]
    ) throws -> Int {
        var added = 0
        let row = "(" + SQLFragment.marks(width) + ")"
        for start in stride(from: 0, to: points.count, by: 100) {
            let part = points[start..<min(start + 100, points.count)]
            let values = part.flatMap { point in
                let (value, isNaN) = RunStore.stored(point.metric.value)
                return fields(point, value, isNaN)
            }
            let rows = repeatElement(row, count: part.count).joined(separator: ", ")
            added += try tx.execute("INSERT INTO \(target) VALUES \(rows) ON CONFLICT \(conflict)", values)
        }
        return added
    }

    /// The fingerprint of each metric of each run, by run and key.
    static func runFingerprints(_ db: some Querying, _ ids: [String]) throws -> [String: [String: Fingerprint]] {
        let points = """
            SELECT l.run_id, l.key, p.value, p.is_nan, p.at_ms, p.step FROM tracking_latest_metrics l JOIN tracking_points p ON p.series = l.series
            WHERE l.run_id
            """
        return try fingerprints(db, ids, points) { row in
            MetricPoint(owner: row.text("run_id"), metric: RunStore.metric(row))
        }
    }

    static func modelFingerprints(_ db: some Querying, _ ids: [String]) throws -> [String: [String: Fingerprint]] {
        try fingerprints(db, ids, "SELECT * FROM tracking_logged_model_metrics WHERE model_id") { row in
            func given(_ name: String) -> String? { row.text(name).isEmpty ? nil : row.text(name) }
            let bare = RunStore.metric(row)
            return MetricPoint(
                owner: row.text("model_id"),
                metric: Metric(
                    bare.key, bare.value, at: bare.at, step: bare.step, datasetName: given("dataset_name"),
                    datasetDigest: given("dataset_digest")),
                runID: row.text("run_id"))
        }
    }

    private static func fingerprints(
        _ db: some Querying, _ ids: [String], _ select: String, _ point: (SQLRow) -> MetricPoint
    ) throws -> [String: [String: Fingerprint]] {
        var out: [String: [String: Fingerprint]] = [:]
        try inParts(ids) { part in
            try db.forEach("\(select) IN (\(SQLFragment.marks(part.count)))", part.map(Value.string)) { row in
                let point = point(row)
                out[point.owner, default: [:]][point.metric.key, default: Fingerprint()].add(point.identity)
            }
        }
        return out
    }

    static func inParts(_ ids: [String], _ body: ([String]) throws -> Void) rethrows {
        for start in stride(from: 0, to: ids.count, by: 500) { try body(Array(ids[start..<min(start + 500, ids.count)])) }
    }
}
