import Contracts
import Storage

/// SQL of runs and what is logged to them.
enum RunStore {
    static func find(_ db: some Querying, id: String) throws -> Run {
        guard let row = try db.row("SELECT * FROM tracking_runs WHERE id = ? AND workspace = ?", [.string(id), db.inWorkspace]) else {
            throw notFound(id)
        }
        return run(row)
    }

    /// The run, when it may be written to. One that was restored in a deleted experiment may.
    static func findActive(_ db: some Querying, id: String) throws -> Run {
        try checkActive(db, id: id)
        return try find(db, id: id)
    }

    /// - Throws: `notFound` without the run; `invalidArgument` when it is in the bin.
    static func checkActive(_ db: some Querying, id: String) throws {
        let sql = "SELECT lifecycle FROM tracking_runs WHERE id = ? AND workspace = ?"
        guard let lifecycle = try db.row(sql, [.string(id), db.inWorkspace])?[0].text else {
            throw notFound(id)
        }
        guard lifecycle == Lifecycle.active.rawValue else {
            throw KeelError.invalid("The run \(id) must be in the 'active' state. Current state is \(lifecycle).")
        }
    }

    /// Those of these ids that are runs of the workspace.
    static func ids(_ db: some Querying, among ids: [String]) throws -> Set<String> {
        var out: Set<String> = []
        try ImportStore.inParts(ids) { part in
            let own = "SELECT id FROM tracking_runs WHERE id IN (\(SQLFragment.marks(part.count))) AND workspace = ?"
            for row in try db.rows(own, part.map(Value.string) + [db.inWorkspace]) { out.insert(row.text("id")) }
        }
        return out
    }

    private static func notFound(_ id: String) -> KeelError { .notFound("Run with id=\(id.prefix(300)) not found") }

    static func insert(_ tx: Transaction, _ run: Run) throws {
        try tx.execute(
            """
            INSERT INTO tracking_runs (id, workspace, experiment_id, name, user_id, status, start_ms, end_ms, artifact_uri, lifecycle)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(run.id), try tx.inWorkspace, .int(try ExperimentStore.number(of: run.experimentID)), .string(run.name), .string(run.userID),
                .string(run.status.rawValue),
                .int(run.startedAt.milliseconds), run.endedAt.map { .int($0.milliseconds) } ?? .null, .string(run.artifactURI),
                .string(run.lifecycle.rawValue),
            ])
    }

    static func find(_ db: some Querying, madeBy origin: RunOrigin) throws -> Run? {
        try db.row("SELECT * FROM tracking_runs WHERE made_by = ?", [.string(origin.key)]).map(run)
    }

    static func isMadeByStep(_ db: some Querying, _ id: String) throws -> Bool {
        try db.row("SELECT 1 FROM tracking_runs WHERE id = ? AND made_by IS NOT NULL", [.string(id)]) != nil
    }

    static func note(_ tx: Transaction, _ id: String, madeBy origin: RunOrigin) throws {
        try tx.execute("UPDATE tracking_runs SET made_by = ? WHERE id = ?", [.string(origin.key), .string(id)])
        try set(tx, KeyValue(RunOrigin.tag, origin.pipelineRun), on: id)
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
            INSERT INTO tracking_inputs (run_id, name, digest, context, source_type, source, schema, profile, tags, place)
            SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(max(place), 0) + 1 FROM tracking_inputs WHERE run_id = ?
            ON CONFLICT (run_id, name, digest) DO NOTHING
            """,
            [
                .string(id), .string(input.name), .string(input.digest), input.context.map(Value.string) ?? .null,
                .string(input.sourceType),
                .string(input.source), input.schema.map(Value.string) ?? .null, input.profile.map(Value.string) ?? .null,
                .string(tags.text), .string(id),
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

    /// The same runs with everything that was logged to them.
    static func withData(_ db: some Querying, _ runs: [Run]) throws -> [Run] {
        var runs = runs
        try addData(db, to: &runs)
        return runs
    }

    /// Adds everything that was logged to the runs: for each table one statement, which seeks the runs of a part in their order.
    static func addData(_ db: some Querying, to runs: inout [Run]) throws {
        var start = 0
        while start < runs.count {
            let count = min(runs.count - start, parts[parts.count - 1].size)
            let part = parts.first { $0.size >= count } ?? parts[0]
            let ids = (0..<part.size).map { $0 < count ? Value.string(runs[start + $0].id) : .null }
            func each(_ columns: String, _ table: String, order: String = "", _ body: (Int, SQLCells) throws -> Void) throws {
                try db.scan(
                    """
                    WITH part (place, id) AS (VALUES \(part.places))
                    SELECT p.place, \(columns) FROM part p CROSS JOIN \(table) x WHERE x.run_id = p.id \(order)
                    """, ids
                ) { try body(start + Int($0.int(0)), $0) }
            }
            try each("x.key, x.value, x.is_nan, x.at_ms, x.step", "tracking_latest_metrics") { place, row in
                let value = row.int(3) != 0 ? Double.nan : row.double(2)
                // Few runs have one metric only.
                if runs[place].metrics.isEmpty { runs[place].metrics.reserveCapacity(4) }
                runs[place].metrics.append(Metric(row.text(1), value, at: Timestamp(milliseconds: row.int(4)), step: row.int(5)))
            }
            try each("x.key, x.value", "tracking_params") { runs[$0].params.append(KeyValue($1.text(1), $1.text(2))) }
            try each("x.key, x.value", "tracking_tags") { runs[$0].tags.append(KeyValue($1.text(1), $1.text(2))) }
            let (hasInputs, hasModels) = try holdsLinks(db, runs[start..<start + count])
            if hasInputs {
                let columns = "x.name, x.digest, x.source_type, x.source, x.schema, x.profile, x.tags"
                // Datasets stay in the order in which they were logged.
                try each(columns, "tracking_inputs", order: "ORDER BY p.place, x.place, x.name, x.digest") { place, row in
                    runs[place].datasets.append(try input(row))
                }
            }
            if hasModels {
                try each("x.role, x.model_id, x.step", "tracking_run_models") { place, row in
                    let link = ModelLink(modelID: row.text(2), step: row.int(3))
                    if row.text(1) == "input" { runs[place].modelInputs.append(link) } else { runs[place].modelOutputs.append(link) }
                }
            }
            for place in start..<start + count { order(&runs[place]) }
            start += count
        }
    }

    /// Whether there may be datasets, and logged models, of these runs. Most runs have none, and their ids, which sort by time, lie close.
    private static func holdsLinks(_ db: some Querying, _ runs: ArraySlice<Run>) throws -> (inputs: Bool, models: Bool) {
        let ids = runs.map(\.id)
        guard let first = ids.min(), let last = ids.max() else { return (false, false) }
        var found = (inputs: false, models: false)
        func any(_ table: String) -> String { "EXISTS (SELECT 1 FROM \(table) WHERE run_id >= ? AND run_id <= ?)" }
        try db.scan(
            "SELECT CASE WHEN \(any("tracking_inputs")) THEN 1 ELSE 0 END, CASE WHEN \(any("tracking_run_models")) THEN 1 ELSE 0 END",
            [.string(first), .string(last), .string(first), .string(last)]
        ) { found = ($0.int(0) != 0, $0.int(1) != 0) }
        return found
    }

    /// Few sizes, so that few statements are kept: places without a run match nothing.
    private static let parts = [1, 16, 128, 512].map { size in
        (size: size, places: (0..<size).map { "(\($0), ?)" }.joined(separator: ", "))
    }

    /// Everything by its key. The database gives it so already, from its primary keys; only SQL does not promise it.
    private static func order(_ run: inout Run) {
        func sort<T>(_ items: inout [T], _ precedes: (T, T) -> Bool) {
            guard items.indices.dropFirst().contains(where: { precedes(items[$0], items[$0 - 1]) }) else { return }
            items.sort(by: precedes)
        }
        sort(&run.metrics) { $0.key < $1.key }
        sort(&run.params) { $0.key < $1.key }
        sort(&run.tags) { $0.key < $1.key }
        sort(&run.modelInputs) { ($0.step, $0.modelID) < ($1.step, $1.modelID) }
        sort(&run.modelOutputs) { ($0.step, $0.modelID) < ($1.step, $1.modelID) }
    }

    /// The columns that `run(cells:)` reads, first and in this order.
    static let runColumns = "r.id, r.name, r.experiment_id, r.user_id, r.status, r.start_ms, r.end_ms, r.artifact_uri, r.lifecycle"
    static let runColumnCount = 9

    static func run(cells row: SQLCells) -> Run {
        Run(
            id: row.text(0), name: row.text(1), experimentID: String(row.int(2)), userID: row.text(3),
            status: RunStatus(rawValue: row.text(4)) ?? .running, startedAt: Timestamp(milliseconds: row.int(5)),
            endedAt: row.optionalInt(6).map(Timestamp.init(milliseconds:)), artifactURI: row.text(7),
            lifecycle: Lifecycle(rawValue: row.text(8)) ?? .active)
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

    private static func input(_ row: SQLCells) throws -> DatasetInput {
        DatasetInput(
            name: row.text(1), digest: row.text(2), sourceType: row.text(3), source: row.text(4), schema: row.optionalText(5),
            profile: row.optionalText(6), tags: (try JSON.parse(row.text(7)).members ?? []).map { KeyValue($0.key, $0.value.string ?? "") })
    }
}
