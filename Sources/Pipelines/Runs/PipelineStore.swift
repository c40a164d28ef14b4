import Contracts
import Storage

/// The SQL of runs and steps. What asks for runs looks in the workspace of its transaction, but for `unfinished`, which finds those of all.
enum PipelineStore {
    /// What a run needs to go on after a crash.
    struct Started: Sendable {
        let id: String
        let spec: Resource
        let parameters: JSON
        let reason: String
        let now: Timestamp
        let useCache: Bool
        let caller: Caller
        let startedAt: Timestamp
        /// That of whoever started it.
        var workspace: WorkspaceID { caller.workspace }
    }

    static func insert(_ run: Started, steps: [PipelineSpec.Step], _ tx: Transaction) throws {
        try tx.execute(
            """
            INSERT INTO pipeline_runs (id, pipeline, spec, parameters, reason, event_now, use_cache, caller, persona, workspace, request_id, authority, state,
                started_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?)
            """,
            [
                .string(run.id), .string(run.spec.name), .string(run.spec.spec.text), .string(run.parameters.text), .string(run.reason),
                .timestamp(run.now), .bool(run.useCache), .string(run.caller.name), .string(run.caller.persona.rawValue),
                .string(run.caller.workspace.name), .string(run.caller.requestID), .string(run.caller.json.text), .timestamp(run.startedAt),
            ])
        for (i, step) in steps.enumerated() {
            try tx.execute(
                "INSERT INTO pipeline_steps (run_id, step, position, uses, state, attempts) VALUES (?, ?, ?, ?, 'pending', 0)",
                [.string(run.id), .string(step.name), .int(Int64(i)), .string(step.uses)])
        }
    }

    /// Stores a step as it is.
    static func update(_ step: StepRun, run: String, _ tx: Transaction) throws {
        try tx.execute(
            """
            UPDATE pipeline_steps SET state = ?, attempts = ?, failures = ?, interruptions = ?, cache = ?, outputs = ?, error = ?, started_at = ?, finished_at = ?
            WHERE run_id = ? AND step = ?
            """,
            [
                .string(step.state.rawValue), .int(Int64(step.attempts)), .int(Int64(step.failures)), .int(Int64(step.interruptions)),
                step.cache.map(Value.string) ?? .null,
                step.outputs.map { .string($0.text) } ?? .null, step.error.map(Value.string) ?? .null,
                step.startedAt.map(Value.timestamp) ?? .null, step.finishedAt.map(Value.timestamp) ?? .null, .string(run),
                .string(step.name),
            ])
    }

    /// Steps that were stopped with the server wait for it to start again.
    static func suspend(run id: String, _ tx: Transaction) throws {
        try tx.execute("UPDATE pipeline_steps SET state = 'pending' WHERE run_id = ? AND state = 'running'", [.string(id)])
    }

    static func finish(run id: String, state: PipelineRun.State, error: String?, _ tx: Transaction) throws {
        try tx.execute(
            "UPDATE pipeline_runs SET state = ?, error = ?, finished_at = ? WHERE workspace = ? AND id = ?",
            [.string(state.rawValue), error.map(Value.string) ?? .null, .timestamp(tx.now), try tx.inWorkspace, .string(id)])
    }

    static func run(_ id: String, _ db: some Querying) throws -> PipelineRun? {
        let row = try db.row("SELECT * FROM pipeline_runs WHERE workspace = ? AND id = ?", [try db.inWorkspace, .string(id)])
        guard var run = try row.map(decode) else { return nil }
        run.steps = try db.rows("SELECT * FROM pipeline_steps WHERE run_id = ? ORDER BY position", [.string(id)]).map(decodeStep)
        return run
    }

    /// The ids that begin with a text, the first two of them. The text holds no wildcard: it is compared as a range.
    static func ids(beginning: String, _ db: some Querying) throws -> [String] {
        try db.rows(
            "SELECT id FROM pipeline_runs WHERE workspace = ? AND id >= ? AND id < ? ORDER BY id LIMIT 2",
            [try db.inWorkspace, .string(beginning), .string(beginning + "~")]
        ).map { $0.text("id") }
    }

    static func runs(pipeline: String?, before: String?, limit: Int, _ db: some Querying) throws -> [PipelineRun] {
        var clauses = ["workspace = ?"]
        var parameters = [try db.inWorkspace]
        if let pipeline {
            clauses.append("pipeline = ?")
            parameters.append(.string(pipeline))
        }
        if let before {
            clauses.append("id < ?")
            parameters.append(.string(before))
        }
        parameters.append(.int(Int64(limit)))
        return try db.rows("SELECT * FROM pipeline_runs WHERE \(clauses.joined(separator: " AND ")) ORDER BY id DESC LIMIT ?", parameters)
            .map(decode)
    }

    /// How many runs of the workspace are under way.
    static func unfinishedCount(_ db: some Querying) throws -> Int {
        let row = try db.row("SELECT count(*) AS n FROM pipeline_runs WHERE workspace = ? AND state = 'running'", [try db.inWorkspace])
        return Int(row?.int("n") ?? 0)
    }

    /// Forgets every run of the workspace and every result that is kept in it.
    static func clear(_ tx: Transaction) throws {
        let workspace = try tx.inWorkspace
        try tx.execute("DELETE FROM pipeline_steps WHERE run_id IN (SELECT id FROM pipeline_runs WHERE workspace = ?)", [workspace])
        for table in ["pipeline_runs", "pipeline_cache", "pipeline_triggers"] {
            try tx.execute("DELETE FROM \(table) WHERE workspace = ?", [workspace])
        }
    }

    /// The runs of all workspaces that are under way.
    static func unfinished(_ db: some Querying) throws -> [Started] {
        try db.rows("SELECT * FROM pipeline_runs WHERE state = 'running' ORDER BY id").map { row in
            Started(
                id: row.text("id"), spec: Resource(kind: "Pipeline", name: row.text("pipeline"), spec: try row.json("spec")),
                parameters: try row.json("parameters"), reason: row.text("reason"), now: row.time("event_now"),
                useCache: row.bool("use_cache"), caller: try caller(row), startedAt: row.time("started_at"))
        }
    }

    /// Whoever started the run, with what it was allowed then.
    private static func caller(_ row: SQLRow) throws -> Caller {
        if let authority = row.optionalText("authority") { return try Caller(json: try JSON.parse(authority)) }
        return Caller(
            name: row.text("caller"), persona: Persona(rawValue: row.text("persona")) ?? .member,
            workspace: WorkspaceID(stored: row.text("workspace")), requestID: row.text("request_id"))
    }

    private static func decode(_ row: SQLRow) throws -> PipelineRun {
        PipelineRun(
            id: row.text("id"), pipeline: row.text("pipeline"), parameters: try row.json("parameters"), reason: row.text("reason"),
            now: row.time("event_now"), state: PipelineRun.State(rawValue: row.text("state")) ?? .failed, error: row.optionalText("error"),
            startedAt: row.time("started_at"), finishedAt: row.optionalTime("finished_at"), steps: [])
    }

    static func decodeStep(_ row: SQLRow) throws -> StepRun {
        var step = StepRun(name: row.text("step"), uses: row.text("uses"))
        step.state = StepRun.State(rawValue: row.text("state")) ?? .failed
        step.attempts = Int(row.int("attempts"))
        step.failures = Int(row.int("failures"))
        step.interruptions = Int(row.int("interruptions"))
        step.cache = row.optionalText("cache")
        step.outputs = try row.optionalText("outputs").map { try JSON.parse($0) }
        step.error = row.optionalText("error")
        step.startedAt = row.optionalTime("started_at")
        step.finishedAt = row.optionalTime("finished_at")
        return step
    }
}
