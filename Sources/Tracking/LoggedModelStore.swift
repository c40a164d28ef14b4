import Contracts
import Storage

/// SQL of logged models.
enum LoggedModelStore {
    static func find(_ db: some Querying, id: String) throws -> LoggedModel {
        guard let row = try db.row("SELECT * FROM tracking_logged_models WHERE id = ? AND lifecycle = 'active'", [.string(id)]) else {
            throw KeelError.notFound("Logged model with ID '\(id.prefix(100))' not found.")
        }
        return try withData(db, [model(row)])[0]
    }

    static func insert(_ tx: Transaction, _ model: LoggedModel) throws {
        try tx.execute(
            """
            INSERT INTO tracking_logged_models (id, experiment_id, name, model_type, source_run_id, status, artifact_uri, created_ms, updated_ms, lifecycle)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'active')
            """,
            [
                .string(model.id), .int(try ExperimentStore.number(of: model.experimentID)), .string(model.name),
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

    static let grammar = SearchGrammar(
        attributes: [
            "name": .text, "model_id": .text, "model_type": .text, "status": .text, "source_run_id": .text, "creation_timestamp": .number,
            "creation_time": .number, "last_updated_timestamp": .number, "last_updated_time": .number,
        ],
        orderable: ["name", "model_id", "creation_timestamp", "creation_time", "last_updated_timestamp", "last_updated_time"],
        listable: ["name", "model_id", "model_type", "status", "source_run_id"], entities: [.attribute, .metric, .parameter, .tag])

    private static let columns = [
        "name": "m.name", "model_id": "m.id", "model_type": "m.model_type", "status": "m.status", "source_run_id": "m.source_run_id",
        "creation_timestamp": "m.created_ms", "creation_time": "m.created_ms", "last_updated_timestamp": "m.updated_ms",
        "last_updated_time": "m.updated_ms",
    ]

    static func search(
        _ db: some Querying, experimentIDs: [String], filter: String?, orderBy: [String], pageSize: Int?, pageToken: String?
    ) throws -> Page<LoggedModel> {
        let limit = try TrackingLimits.page(pageSize, default: 50, atMost: TrackingLimits.runsPerPageMax)
        let ids = try experimentIDs.map { Value.int(try ExperimentStore.number(of: $0)) }
        guard !ids.isEmpty else { return Page(items: [], nextToken: nil) }
        var conditions = [SQLFragment("m.experiment_id IN (\(SQLFragment.marks(ids.count))) AND m.lifecycle = 'active'", ids)]
        for clause in try grammar.parse(filter: filter ?? "") { conditions.append(condition(clause)) }
        var keys: [KeysetOrder.Key] = []
        for text in orderBy {
            let order = try grammar.parse(order: text)
            guard order.entity == .attribute, let column = columns[order.key] else {
                throw KeelError.invalid("Invalid order by field name: \(order.key)", hint: "logged models are ordered by their attributes")
            }
            keys.append(.init(column, ascending: order.ascending))
        }
        if keys.isEmpty { keys.append(.init("m.created_ms", ascending: false)) }
        let order = KeysetOrder(keys + [.init("m.id", ascending: true)])
        let question = "logged-models|\(experimentIDs)|\(filter ?? "")|\(orderBy)"
        if let pageToken, !pageToken.isEmpty { conditions.append(order.after(try order.values(of: pageToken, query: question))) }
        let rows = try db.rows(
            """
            SELECT m.*, \(order.columns.sql) FROM tracking_logged_models m
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """, conditions.flatMap(\.parameters) + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        let next = rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil
        return Page(items: try withData(db, page.map(model)), nextToken: next)
    }

    private static func condition(_ clause: SearchClause) -> SQLFragment {
        let (table, kind): (String, [Value])
        switch clause.entity {
        case .attribute, .dataset: return clause.condition(on: columns[clause.key] ?? "m.name")
        case .metric:
            let value = clause.condition(on: "x.value")
            return SQLFragment(
                "EXISTS (SELECT 1 FROM tracking_logged_model_metrics x WHERE x.model_id = m.id AND x.key = ? AND x.is_nan = 0 AND \(value.sql))",
                [.string(clause.key)] + value.parameters)
        case .parameter: (table, kind) = ("tracking_logged_model_items", ["param"])
        case .tag: (table, kind) = ("tracking_logged_model_items", ["tag"])
        }
        let own = "SELECT 1 FROM \(table) x WHERE x.model_id = m.id AND x.kind = ? AND x.key = ?"
        let parameters = kind + [.string(clause.key)]
        switch clause.comparator {
        case .isNull: return SQLFragment("NOT EXISTS (\(own))", parameters)
        case .isNotNull: return SQLFragment("EXISTS (\(own))", parameters)
        default:
            let value = clause.condition(on: "x.value")
            return SQLFragment("EXISTS (\(own) AND \(value.sql))", parameters + value.parameters)
        }
    }

    static func model(_ row: SQLRow) -> LoggedModel {
        LoggedModel(
            id: row.text("id"), experimentID: String(row.int("experiment_id")), name: row.text("name"),
            modelType: row.optionalText("model_type"),
            sourceRunID: row.optionalText("source_run_id"), status: LoggedModelStatus(rawValue: row.text("status")) ?? .pending,
            artifactURI: row.text("artifact_uri"), createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")))
    }

    static func withData(_ db: some Querying, _ models: [LoggedModel]) throws -> [LoggedModel] {
        try models.map { model in
            var model = model
            try db.forEach("SELECT * FROM tracking_logged_model_items WHERE model_id = ? ORDER BY kind, key", [.string(model.id)]) { row in
                let item = KeyValue(row.text("key"), row.text("value"))
                if row.text("kind") == "param" { model.params.append(item) } else { model.tags.append(item) }
            }
            try db.forEach("SELECT * FROM tracking_logged_model_metrics WHERE model_id = ? ORDER BY key, at_ms, step", [.string(model.id)])
            { row in
                let stored = RunStore.metric(row)
                func named(_ column: String) -> String? { row.text(column).isEmpty ? nil : row.text(column) }
                let metric = Metric(
                    stored.key, stored.value, at: stored.at, step: stored.step, modelID: model.id, datasetName: named("dataset_name"),
                    datasetDigest: named("dataset_digest"))
                model.metrics.append(LoggedModelMetric(runID: row.text("run_id"), metric: metric))
            }
            return model
        }
    }
}
