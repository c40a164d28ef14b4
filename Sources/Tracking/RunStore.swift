import Contracts
import Storage

/// SQL of runs and what is logged to them.
enum RunStore {
    static func find(_ db: some Querying, id: String) throws -> Run {
        guard let row = try db.row("SELECT * FROM tracking_runs WHERE id = ?", [.string(id)]) else {
            throw KeelError.notFound("Run with id=\(id.prefix(300)) not found")
        }
        return run(row)
    }

    /// The run, when it may be written to. One that was restored in a deleted experiment may.
    static func findActive(_ db: some Querying, id: String) throws -> Run {
        let run = try find(db, id: id)
        guard run.lifecycle == .active else {
            throw KeelError.invalid("The run \(id) must be in the 'active' state. Current state is \(run.lifecycle.rawValue).")
        }
        return run
    }

    static func insert(_ tx: Transaction, _ run: Run) throws {
        try tx.execute(
            """
            INSERT INTO tracking_runs (id, experiment_id, name, user_id, status, start_ms, end_ms, artifact_uri, lifecycle)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(run.id), .int(try ExperimentStore.number(of: run.experimentID)), .string(run.name), .string(run.userID),
                .string(run.status.rawValue),
                .int(run.startedAt.milliseconds), run.endedAt.map { .int($0.milliseconds) } ?? .null, .string(run.artifactURI),
                .string(run.lifecycle.rawValue),
            ])
    }

    static func update(_ tx: Transaction, id: String, name: String, status: RunStatus, endedAt: Timestamp?) throws {
        try tx.execute(
            "UPDATE tracking_runs SET name = ?, status = ?, end_ms = ? WHERE id = ?",
            [.string(name), .string(status.rawValue), endedAt.map { .int($0.milliseconds) } ?? .null, .string(id)])
    }

    static func set(_ tx: Transaction, lifecycle: Lifecycle, of id: String) throws {
        try tx.execute(
            "UPDATE tracking_runs SET lifecycle = ?, deleted_ms = ? WHERE id = ?",
            [.string(lifecycle.rawValue), lifecycle == .deleted ? .int(tx.now.milliseconds) : .null, .string(id)])
    }

    // MARK: What is logged

    /// - Throws: `invalidArgument` when the parameter has another value already.
    static func add(_ tx: Transaction, _ param: KeyValue, to id: String) throws {
        let added = try tx.execute(
            "INSERT INTO tracking_params (run_id, key, value) VALUES (?, ?, ?) ON CONFLICT (run_id, key) DO NOTHING",
            [.string(id), .string(param.key), .string(param.value)])
        guard added == 0 else { return }
        let old =
            try tx.row("SELECT value FROM tracking_params WHERE run_id = ? AND key = ?", [.string(id), .string(param.key)])?.text("value")
            ?? ""
        guard old == param.value else {
            throw KeelError.invalid(
                "Changing param values is not allowed. Param with key='\(param.key)' was already logged with value='\(old)' for run ID='\(id)'. Attempted logging new value '\(param.value)'."
            )
        }
    }

    /// Appends to the history and, when it is the newest by step, time and value, makes it the metric's latest value.
    static func add(_ tx: Transaction, _ metric: Metric, to id: String) throws {
        let (value, isNaN) = stored(metric.value)
        let fields: [Value] = [
            .string(id), .string(metric.key), .int(metric.at.milliseconds), .int(metric.step), .double(value), .int(isNaN),
        ]
        let added = try tx.execute(
            """
            INSERT INTO tracking_metrics (run_id, key, at_ms, step, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (run_id, key, at_ms, step, value, is_nan) DO NOTHING
            """, fields)
        if added > 0 {
            try tx.execute(
                """
                INSERT INTO tracking_latest_metrics (run_id, key, at_ms, step, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (run_id, key) DO UPDATE SET at_ms = excluded.at_ms, step = excluded.step, value = excluded.value, is_nan = excluded.is_nan
                WHERE excluded.step > tracking_latest_metrics.step
                    OR (excluded.step = tracking_latest_metrics.step AND (excluded.at_ms > tracking_latest_metrics.at_ms
                        OR (excluded.at_ms = tracking_latest_metrics.at_ms AND excluded.value > tracking_latest_metrics.value)))
                """, fields)
        }
        if let model = metric.modelID { try LoggedModelStore.add(tx, metric, to: model, run: id) }
    }

    /// NaN as (0, 1); infinities as the largest finite number of their sign.
    static func stored(_ value: Double) -> (Double, Int64) {
        if value.isNaN { return (0, 1) }
        return (min(max(value, -.greatestFiniteMagnitude), .greatestFiniteMagnitude), 0)
    }

    static func set(_ tx: Transaction, _ tag: KeyValue, on id: String) throws {
        try tx.execute(
            "INSERT INTO tracking_tags (run_id, key, value) VALUES (?, ?, ?) ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value",
            [.string(id), .string(tag.key), .string(tag.value)])
    }

    static func removeTag(_ tx: Transaction, key: String, from id: String) throws -> Bool {
        try tx.execute("DELETE FROM tracking_tags WHERE run_id = ? AND key = ?", [.string(id), .string(key)]) > 0
    }

    static func add(_ tx: Transaction, _ input: DatasetInput, to id: String) throws {
        let tags = JSON.object(input.tags.map { JSON.Member($0.key, .string($0.value)) })
        try tx.execute(
            """
            INSERT INTO tracking_inputs (run_id, name, digest, context, source_type, source, schema, profile, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (run_id, name, digest) DO NOTHING
            """,
            [
                .string(id), .string(input.name), .string(input.digest), input.context.map(Value.string) ?? .null,
                .string(input.sourceType),
                .string(input.source), input.schema.map(Value.string) ?? .null, input.profile.map(Value.string) ?? .null,
                .string(tags.text),
            ])
    }

    static func add(_ tx: Transaction, _ link: ModelLink, role: String, to id: String) throws {
        try tx.execute(
            """
            INSERT INTO tracking_run_models (run_id, role, model_id, step) VALUES (?, ?, ?, ?)
            ON CONFLICT (run_id, role, model_id) DO NOTHING
            """, [.string(id), .string(role), .string(link.modelID), .int(link.step)])
    }

    // MARK: Reading

    static func history(_ db: some Querying, id: String, key: String, limit: Int, after token: String?) throws -> Page<Metric> {
        let order = KeysetOrder([
            .init("at_ms", ascending: true), .init("step", ascending: true), .init("value", ascending: true),
            .init("is_nan", ascending: true),
        ])
        let question = "history|\(id)|\(key)"
        var conditions = SQLFragment("run_id = ? AND key = ?", [.string(id), .string(key)])
        if let token, !token.isEmpty {
            let after = order.after(try order.values(of: token, query: question))
            conditions = SQLFragment(conditions.sql + " AND " + after.sql, conditions.parameters + after.parameters)
        }
        let rows = try db.rows(
            "SELECT *, \(order.columns.sql) FROM tracking_metrics WHERE \(conditions.sql) ORDER BY \(order.orderBy.sql) LIMIT ?",
            conditions.parameters + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        return Page(
            items: page.map(metric), nextToken: rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil)
    }

    /// The same runs with everything that was logged to them.
    static func withData(_ db: some Querying, _ runs: [Run]) throws -> [Run] {
        var out = runs
        var places: [String: Int] = [:]
        for (i, run) in out.enumerated() { places[run.id] = i }
        for start in stride(from: 0, to: out.count, by: 500) {
            let ids = out[start..<min(start + 500, out.count)].map { Value.string($0.id) }
            let marks = SQLFragment.marks(ids.count)
            func each(_ table: String, _ order: String, _ body: (Int, SQLRow) throws -> Void) throws {
                try db.forEach("SELECT * FROM \(table) WHERE run_id IN (\(marks)) ORDER BY \(order)", ids) { row in
                    if let place = places[row.text("run_id")] { try body(place, row) }
                }
            }
            try each("tracking_latest_metrics", "run_id, key") { out[$0].metrics.append(metric($1)) }
            try each("tracking_params", "run_id, key") { out[$0].params.append(KeyValue($1.text("key"), $1.text("value"))) }
            try each("tracking_tags", "run_id, key") { out[$0].tags.append(KeyValue($1.text("key"), $1.text("value"))) }
            try each("tracking_inputs", "run_id, name, digest") { out[$0].datasets.append(try input($1)) }
            try each("tracking_run_models", "run_id, step, model_id") { place, row in
                let link = ModelLink(modelID: row.text("model_id"), step: row.int("step"))
                if row.text("role") == "input" { out[place].modelInputs.append(link) } else { out[place].modelOutputs.append(link) }
            }
        }
        return out
    }

    static func run(_ row: SQLRow) -> Run {
        Run(
            id: row.text("id"), name: row.text("name"), experimentID: String(row.int("experiment_id")), userID: row.text("user_id"),
            status: RunStatus(rawValue: row.text("status")) ?? .running, startedAt: Timestamp(milliseconds: row.int("start_ms")),
            endedAt: row.optionalInt("end_ms").map(Timestamp.init(milliseconds:)), artifactURI: row.text("artifact_uri"),
            lifecycle: Lifecycle(rawValue: row.text("lifecycle")) ?? .active)
    }

    static func metric(_ row: SQLRow) -> Metric {
        Metric(
            row.text("key"), row.bool("is_nan") ? .nan : row.double("value"), at: Timestamp(milliseconds: row.int("at_ms")),
            step: row.int("step"))
    }

    private static func input(_ row: SQLRow) throws -> DatasetInput {
        DatasetInput(
            name: row.text("name"), digest: row.text("digest"), sourceType: row.text("source_type"), source: row.text("source"),
            schema: row.optionalText("schema"), profile: row.optionalText("profile"),
            tags: (try row.json("tags").members ?? []).map { KeyValue($0.key, $0.value.string ?? "") })
    }
}
