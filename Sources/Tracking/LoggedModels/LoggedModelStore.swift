import Contracts
import Storage

/// SQL of logged models.
enum LoggedModelStore {
    static func find(_ db: some Querying, id: String) throws -> LoggedModel {
        let sql = "SELECT * FROM tracking_logged_models WHERE id = ? AND workspace = ? AND lifecycle = 'active'"
        guard let row = try db.row(sql, [.string(id), db.inWorkspace]) else {
            throw KeelError.notFound("Logged model with ID '\(id.prefix(100))' not found.")
        }
        return try withData(db, [model(row)])[0]
    }

    static func insert(_ tx: Transaction, _ model: LoggedModel) throws {
        try tx.execute(
            """
            INSERT INTO tracking_logged_models (
                id, workspace, experiment_id, name, model_type, source_run_id, status, artifact_uri, created_ms, updated_ms, lifecycle)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'active')
            """,
            [
                .string(model.id), try tx.inWorkspace, .int(try ExperimentStore.number(of: model.experimentID)), .string(model.name),
                model.modelType.map(Value.string) ?? .null,
                model.sourceRunID.map(Value.string) ?? .null, .string(model.status.rawValue), .string(model.artifactURI),
                .int(model.createdAt.milliseconds), .int(model.updatedAt.milliseconds),
            ])
        for param in model.params { try set(tx, param, kind: "param", on: model.id) }
        for tag in model.tags { try set(tx, tag, kind: "tag", on: model.id) }
    }

    static func set(_ tx: Transaction, _ item: KeyValue, kind: String, on id: String) throws {
        try tx.execute(
            """
            INSERT INTO tracking_logged_model_items (model_id, kind, key, value) VALUES (?, ?, ?, ?)
            ON CONFLICT (model_id, kind, key) DO UPDATE SET value = excluded.value
            """, [.string(id), .string(kind), .string(item.key), .string(item.value)])
    }

    /// - Throws: `invalidArgument` when the parameter has another value already.
    static func add(_ tx: Transaction, param: KeyValue, to id: String) throws {
        let added = try tx.execute(
            """
            INSERT INTO tracking_logged_model_items (model_id, kind, key, value) VALUES (?, 'param', ?, ?) ON CONFLICT (model_id, kind, key) DO NOTHING
            """, [.string(id), .string(param.key), .string(param.value)])
        guard added == 0 else { return }
        let old = try tx.row(
            "SELECT value FROM tracking_logged_model_items WHERE model_id = ? AND kind = 'param' AND key = ?",
            [.string(id), .string(param.key)])
        guard old?.text("value") == param.value else {
            throw KeelError.invalid(
                "Changing param values is not allowed. Param with key='\(param.key)' was already logged with value='\(old?.text("value") ?? "")' for model ID='\(id)'. Attempted logging new value '\(param.value)'."
            )
        }
    }

    static func removeTag(_ tx: Transaction, key: String, from id: String) throws -> Bool {
        try tx.execute(
            "DELETE FROM tracking_logged_model_items WHERE model_id = ? AND kind = 'tag' AND key = ?", [.string(id), .string(key)]) > 0
    }

    static func add(_ tx: Transaction, _ metric: Metric, to id: String, run: String) throws {
        _ = try find(tx, id: id)
        let (value, isNaN) = RunStore.stored(metric.value)
        try tx.execute(
            """
            INSERT INTO tracking_logged_model_metrics (model_id, run_id, key, dataset_name, dataset_digest, at_ms, step, value, is_nan)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (model_id, run_id, key, dataset_name, dataset_digest, at_ms, step) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan
            """,
            [
                .string(id), .string(run), .string(metric.key), .string(metric.datasetName ?? ""), .string(metric.datasetDigest ?? ""),
                .int(metric.at.milliseconds), .int(metric.step), .double(value), .int(isNaN),
            ])
    }

    static func set(_ tx: Transaction, status: LoggedModelStatus, of id: String) throws {
        try tx.execute(
            "UPDATE tracking_logged_models SET status = ?, updated_ms = ? WHERE id = ?",
            [.string(status.rawValue), .int(tx.now.milliseconds), .string(id)])
    }

    static func delete(_ tx: Transaction, id: String) throws {
        try tx.execute(
            "UPDATE tracking_logged_models SET lifecycle = 'deleted', updated_ms = ? WHERE id = ?",
            [.int(tx.now.milliseconds), .string(id)])
    }

    static func model(_ row: SQLRow) -> LoggedModel {
        LoggedModel(
            id: row.text("id"), experimentID: String(row.int("experiment_id")), name: row.text("name"),
            modelType: row.optionalText("model_type"),
            sourceRunID: row.optionalText("source_run_id"), status: LoggedModelStatus(rawValue: row.text("status")) ?? .pending,
            artifactURI: row.text("artifact_uri"), createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")))
    }

    /// The same models with everything that was logged to them.
    static func withData(_ db: some Querying, _ models: [LoggedModel]) throws -> [LoggedModel] {
        var out = models
        var places: [String: Int] = [:]
        for (i, model) in out.enumerated() { places[model.id] = i }
        for start in stride(from: 0, to: out.count, by: 500) {
            let ids = out[start..<min(start + 500, out.count)].map { Value.string($0.id) }
            let marks = SQLFragment.marks(ids.count)
            try db.forEach("SELECT * FROM tracking_logged_model_items WHERE model_id IN (\(marks)) ORDER BY model_id, kind, key", ids) {
                row in
                guard let place = places[row.text("model_id")] else { return }
                let item = KeyValue(row.text("key"), row.text("value"))
                if row.text("kind") == "param" { out[place].params.append(item) } else { out[place].tags.append(item) }
            }
            try db.forEach(
                "SELECT * FROM tracking_logged_model_metrics WHERE model_id IN (\(marks)) ORDER BY model_id, key, at_ms, step", ids
            ) { row in
                guard let place = places[row.text("model_id")] else { return }
                out[place].metrics.append(measured(row))
            }
        }
        return out
    }

    private static func measured(_ row: SQLRow) -> LoggedModelMetric {
        let stored = RunStore.metric(row)
        func named(_ column: String) -> String? { row.text(column).isEmpty ? nil : row.text(column) }
        let metric = Metric(
            stored.key, stored.value, at: stored.at, step: stored.step, modelID: row.text("model_id"), datasetName: named("dataset_name"),
            datasetDigest: named("dataset_digest"))
        return LoggedModelMetric(runID: row.text("run_id"), metric: metric)
    }
}
