import Storage

/// The tables of this module: runs, their steps, the step cache, and when each trigger last fired.
public enum PipelineMigrations {
    public static let all = [
        Migration(
            module: "pipelines", version: 1,
            [
                // Run ids sort by time, so pages go by id. The caller's columns say under whose permissions a resumed run goes on.
                """
                CREATE TABLE pipeline_runs (
                    id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, spec TEXT NOT NULL, parameters TEXT NOT NULL, reason TEXT NOT NULL,
                    event_now BIGINT NOT NULL, use_cache INTEGER NOT NULL, caller TEXT NOT NULL, persona TEXT NOT NULL,
                    workspace TEXT NOT NULL, request_id TEXT NOT NULL, state TEXT NOT NULL, error TEXT, started_at BIGINT NOT NULL,
                    finished_at BIGINT)
                """,
                "CREATE INDEX pipeline_runs_pipeline ON pipeline_runs (pipeline, id)",
                "CREATE INDEX pipeline_runs_state ON pipeline_runs (state, id)",
                """
                CREATE TABLE pipeline_steps (
                    run_id TEXT NOT NULL REFERENCES pipeline_runs (id), step TEXT NOT NULL, position INTEGER NOT NULL, uses TEXT NOT NULL,
                    state TEXT NOT NULL, attempts INTEGER NOT NULL, cache TEXT, outputs TEXT, error TEXT, started_at BIGINT,
                    finished_at BIGINT, PRIMARY KEY (run_id, step))
                """,
                // The newest result for each set of inputs; `parts` is what the key was made of, so that a miss can say what changed.
                """
                CREATE TABLE pipeline_cache (
                    cache_key TEXT PRIMARY KEY, pipeline TEXT NOT NULL, step TEXT NOT NULL, parts TEXT NOT NULL, outputs TEXT NOT NULL,
                    run_id TEXT NOT NULL, made_at BIGINT NOT NULL)
                """,
                "CREATE INDEX pipeline_cache_step ON pipeline_cache (pipeline, step, made_at)",
                // `fired_at` is event time, `ticked_at` the clock's time of the last schedule handled, `seen_seq` the last ledger event handled.
                "CREATE TABLE pipeline_triggers (name TEXT PRIMARY KEY, fired_at BIGINT, ticked_at BIGINT NOT NULL, seen_seq BIGINT NOT NULL)",
            ]),
        Migration(
            module: "pipelines", version: 2,
            [
                // Counted over restarts: attempts that failed, and attempts during which the server ended unasked.
                "ALTER TABLE pipeline_steps ADD COLUMN failures INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE pipeline_steps ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE pipeline_triggers ADD COLUMN paused_at BIGINT",
                "ALTER TABLE pipeline_triggers ADD COLUMN paused_by TEXT",
            ]),
        // The caller with all that it was allowed when it started the run, as JSON; null in runs from before this step.
        Migration(module: "pipelines", version: 3, ["ALTER TABLE pipeline_runs ADD COLUMN authority TEXT"]),
        workspaces,
    ]

    /// Names of pipelines and triggers are unique in their workspace, and results of steps are found in it alone. Ids of runs are of the whole server.
    private static let workspaces = Migration(
        module: "pipelines", version: 4,
        [
            .rebuild(
                "pipeline_cache",
                columns: [
                    workspace, "cache_key TEXT NOT NULL", "pipeline TEXT NOT NULL", "step TEXT NOT NULL", "parts TEXT NOT NULL",
                    "outputs TEXT NOT NULL", "run_id TEXT NOT NULL", "made_at BIGINT NOT NULL",
                ], primaryKey: ["workspace", "cache_key"],
                indexes: ["CREATE INDEX pipeline_cache_step ON pipeline_cache (workspace, pipeline, step, made_at)"]),
            .rebuild(
                "pipeline_triggers",
                columns: [
                    workspace, "name TEXT NOT NULL", "fired_at BIGINT", "ticked_at BIGINT NOT NULL", "seen_seq BIGINT NOT NULL",
                    "paused_at BIGINT", "paused_by TEXT",
                ], primaryKey: ["workspace", "name"]),
            "DROP INDEX pipeline_runs_pipeline",
            "CREATE INDEX pipeline_runs_pipeline ON pipeline_runs (workspace, pipeline, id)",
            "CREATE INDEX pipeline_runs_workspace ON pipeline_runs (workspace, id)",
        ])

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
}
