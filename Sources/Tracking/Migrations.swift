import Contracts
import Storage

public enum TrackingTables {
    /// Times are milliseconds since 1970, as MLflow's protocol has them. A NaN metric is stored as 0 with `is_nan` set, so that
    /// columns stay comparable on every database.
    public static let migrations = [
        Migration(
            module: "tracking", version: 1,
            [
                """
                CREATE TABLE tracking_experiments (
                    id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, artifact_location TEXT NOT NULL, lifecycle TEXT NOT NULL,
                    created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)
                """,
                "CREATE INDEX tracking_experiments_updated ON tracking_experiments (updated_ms DESC, id)",
                """
                CREATE TABLE tracking_experiment_tags (
                    experiment_id BIGINT NOT NULL REFERENCES tracking_experiments (id), key TEXT NOT NULL, value TEXT NOT NULL,
                    PRIMARY KEY (experiment_id, key))
                """,
                """
                CREATE TABLE tracking_runs (
                    id TEXT PRIMARY KEY, experiment_id BIGINT NOT NULL REFERENCES tracking_experiments (id), name TEXT NOT NULL, user_id TEXT NOT NULL,
                    status TEXT NOT NULL, start_ms BIGINT NOT NULL, end_ms BIGINT, artifact_uri TEXT NOT NULL, lifecycle TEXT NOT NULL)
                """,
                "CREATE INDEX tracking_runs_started ON tracking_runs (experiment_id, lifecycle, start_ms DESC, id)",
                """
                CREATE TABLE tracking_params (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key))
                """,
                // Values may be longer than an index entry can be: the index holds their beginning.
                "CREATE INDEX tracking_params_value ON tracking_params (key, substr(value, 1, 200), run_id)",
                """
                CREATE TABLE tracking_tags (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key))
                """,
                "CREATE INDEX tracking_tags_value ON tracking_tags (key, substr(value, 1, 200), run_id)",
                """
                CREATE TABLE tracking_metrics (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, at_ms BIGINT NOT NULL, step BIGINT NOT NULL,
                    value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL, PRIMARY KEY (run_id, key, at_ms, step, value, is_nan))
                """,
                """
                CREATE TABLE tracking_latest_metrics (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL,
                    at_ms BIGINT NOT NULL, step BIGINT NOT NULL, PRIMARY KEY (run_id, key))
                """,
                "CREATE INDEX tracking_latest_value ON tracking_latest_metrics (key, value, run_id)",
                """
                CREATE TABLE tracking_inputs (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), name TEXT NOT NULL, digest TEXT NOT NULL, context TEXT,
                    source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT, profile TEXT, tags TEXT NOT NULL, PRIMARY KEY (run_id, name, digest))
                """,
                """
                CREATE TABLE tracking_logged_models (
                    id TEXT PRIMARY KEY, experiment_id BIGINT NOT NULL REFERENCES tracking_experiments (id), name TEXT NOT NULL, model_type TEXT,
                    source_run_id TEXT, status TEXT NOT NULL, artifact_uri TEXT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL,
                    lifecycle TEXT NOT NULL)
                """,
                "CREATE INDEX tracking_logged_models_created ON tracking_logged_models (experiment_id, lifecycle, created_ms DESC, id)",
                "CREATE INDEX tracking_logged_models_run ON tracking_logged_models (source_run_id)",
                """
                CREATE TABLE tracking_logged_model_items (
                    model_id TEXT NOT NULL REFERENCES tracking_logged_models (id), kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                    PRIMARY KEY (model_id, kind, key))
                """,
                """
                CREATE TABLE tracking_logged_model_metrics (
                    model_id TEXT NOT NULL REFERENCES tracking_logged_models (id), run_id TEXT NOT NULL, key TEXT NOT NULL, dataset_name TEXT NOT NULL,
                    dataset_digest TEXT NOT NULL, at_ms BIGINT NOT NULL, step BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL,
                    PRIMARY KEY (model_id, run_id, key, dataset_name, dataset_digest, at_ms, step))
                """,
                """
                CREATE TABLE tracking_run_models (
                    run_id TEXT NOT NULL REFERENCES tracking_runs (id), role TEXT NOT NULL, model_id TEXT NOT NULL, step BIGINT NOT NULL,
                    PRIMARY KEY (run_id, role, model_id))
                """,
                """
                INSERT INTO tracking_experiments (id, name, artifact_location, lifecycle, created_ms, updated_ms)
                VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', 0, 0)
                """,
            ]),
        // A history is a series with a number: points are small, and blocks of 256 steps say how many points they hold and between which
        // values, so that a chart of a million points reads a thousand. The newest value's row is the series' row.
        Migration(
            module: "tracking", version: 2,
            [
                "ALTER TABLE tracking_latest_metrics ADD COLUMN series BIGINT NOT NULL DEFAULT 0",
                """
                UPDATE tracking_latest_metrics SET series = x.series
                FROM (SELECT run_id AS run, key AS name, row_number() OVER (ORDER BY run_id, key) AS series FROM tracking_latest_metrics) x
                WHERE tracking_latest_metrics.run_id = x.run AND tracking_latest_metrics.key = x.name
                """,
                "CREATE UNIQUE INDEX tracking_latest_series ON tracking_latest_metrics (series)",
                """
                CREATE TABLE tracking_points (
                    series BIGINT NOT NULL, step BIGINT NOT NULL, at_ms BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL,
                    PRIMARY KEY (series, step, at_ms, value, is_nan))
                """,
                """
                INSERT INTO tracking_points (series, step, at_ms, value, is_nan)
                SELECT l.series, m.step, m.at_ms, m.value, m.is_nan FROM tracking_metrics m
                JOIN tracking_latest_metrics l ON l.run_id = m.run_id AND l.key = m.key ORDER BY 1, 2, 3, 4, 5
                """,
                "CREATE INDEX tracking_points_time ON tracking_points (series, at_ms, step, value, is_nan)",
                """
                CREATE TABLE tracking_point_blocks (
                    series BIGINT NOT NULL, block BIGINT NOT NULL, points BIGINT NOT NULL, low DOUBLE PRECISION, high DOUBLE PRECISION,
                    PRIMARY KEY (series, block))
                """,
                """
                INSERT INTO tracking_point_blocks (series, block, points, low, high)
                SELECT series, step >> 8, count(*), min(CASE WHEN is_nan = 0 THEN value END), max(CASE WHEN is_nan = 0 THEN value END)
                FROM tracking_points GROUP BY series, step >> 8
                """,
                "DROP TABLE tracking_metrics",
            ]),
        Migration(
            module: "tracking", version: 3,
            [
                "DROP INDEX tracking_latest_value",
                "CREATE INDEX tracking_latest_value ON tracking_latest_metrics (key, is_nan, value, run_id)",
                "CREATE INDEX tracking_runs_status ON tracking_runs (experiment_id, lifecycle, status, start_ms DESC, id)",
                "CREATE INDEX tracking_runs_all ON tracking_runs (experiment_id, start_ms DESC, id)",
                "CREATE INDEX tracking_experiments_created ON tracking_experiments (created_ms DESC, id)",
                // The first experiment is as old as the home, not as 1970.
                "UPDATE tracking_experiments SET created_ms = \(Timestamp.systemNow().milliseconds) WHERE created_ms = 0",
                "UPDATE tracking_experiments SET updated_ms = created_ms WHERE updated_ms = 0",
            ]),
        Migration(
            module: "tracking", version: 4,
            [
                // A path refers to content by digest; a folder is a row without, so that a list is one index range.
                """
                CREATE TABLE tracking_artifacts (
                    folder TEXT NOT NULL, name TEXT NOT NULL, digest TEXT, bytes BIGINT NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (folder, name))
                """,
                "CREATE INDEX tracking_artifacts_digest ON tracking_artifacts (digest)",
                // An upload that was completed keeps its row, with the digest, until its time is over: a client may ask again.
                """
                CREATE TABLE tracking_uploads (
                    id TEXT PRIMARY KEY, path TEXT NOT NULL, parts BIGINT NOT NULL, secret TEXT NOT NULL, caller TEXT NOT NULL, persona TEXT NOT NULL,
                    workspace TEXT NOT NULL, created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, digest TEXT)
                """,
                "CREATE INDEX tracking_uploads_expires ON tracking_uploads (expires_ms)",
                """
                CREATE TABLE tracking_upload_parts (
                    upload_id TEXT NOT NULL REFERENCES tracking_uploads (id), number BIGINT NOT NULL, digest TEXT NOT NULL, bytes BIGINT NOT NULL,
                    PRIMARY KEY (upload_id, number))
                """,
                "ALTER TABLE tracking_runs ADD COLUMN deleted_ms BIGINT",
                // When those in the bin went there was not noted: no later than the last event of all.
                """
                UPDATE tracking_runs SET deleted_ms = (SELECT coalesce(max(at), 0) / 1000 FROM ledger) WHERE lifecycle = 'deleted'
                """,
                "CREATE INDEX tracking_runs_deleted ON tracking_runs (lifecycle, deleted_ms)",
            ]),
        evaluationDatasets,
        clustered,
        ordered,
        retired,
        Migration(
            module: "tracking", version: 8,
            [
                // The pipeline run and step that made a run: a step that is repeated finds it.
                "ALTER TABLE tracking_runs ADD COLUMN made_by TEXT",
                "CREATE UNIQUE INDEX tracking_runs_made_by ON tracking_runs (made_by)",
                // The order in which a run's datasets were logged.
                "ALTER TABLE tracking_inputs ADD COLUMN place BIGINT NOT NULL DEFAULT 0",
            ]),
        workspaces,
    ]

    private static let evaluationDatasets = Migration(
        module: "tracking", version: 5,
        [
            """
            CREATE TABLE tracking_evaluation_datasets (
                id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, schema TEXT, records BIGINT NOT NULL, created_ms BIGINT NOT NULL,
                updated_ms BIGINT NOT NULL, created_by TEXT, updated_by TEXT)
            """,
            "CREATE INDEX tracking_evaluation_datasets_created ON tracking_evaluation_datasets (created_ms DESC, id DESC)",
            """
            CREATE TABLE tracking_evaluation_dataset_tags (
                dataset_id TEXT NOT NULL REFERENCES tracking_evaluation_datasets (id), key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (dataset_id, key))
            """,
            """
            CREATE TABLE tracking_evaluation_dataset_experiments (
                dataset_id TEXT NOT NULL REFERENCES tracking_evaluation_datasets (id), experiment_id BIGINT NOT NULL REFERENCES tracking_experiments (id),
                PRIMARY KEY (dataset_id, experiment_id))
            """,
            "CREATE INDEX tracking_evaluation_experiments ON tracking_evaluation_dataset_experiments (experiment_id, dataset_id)",
            """
            CREATE TABLE tracking_evaluation_records (
                dataset_id TEXT NOT NULL REFERENCES tracking_evaluation_datasets (id), id TEXT NOT NULL, inputs_digest TEXT NOT NULL, inputs TEXT NOT NULL,
                outputs TEXT, expectations TEXT, tags TEXT, source TEXT, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, created_by TEXT,
                updated_by TEXT, PRIMARY KEY (dataset_id, id), UNIQUE (dataset_id, inputs_digest))
            """,
            "CREATE INDEX tracking_evaluation_records_created ON tracking_evaluation_records (dataset_id, created_ms, id)",
        ])

    /// What is logged by the million lies in the order of its key, once, instead of in an index beside the table.
    private static let clustered = Migration(
        module: "tracking", version: 6,
        rebuilt(
            "tracking_points",
            """
            series BIGINT NOT NULL, step BIGINT NOT NULL, at_ms BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL,
            PRIMARY KEY (series, step, at_ms, value, is_nan)
            """, columns: "series, step, at_ms, value, is_nan",
            indexes: ["CREATE INDEX tracking_points_time ON tracking_points (series, at_ms, step, value, is_nan)"])
            + rebuilt(
                "tracking_point_blocks",
                """
                series BIGINT NOT NULL, block BIGINT NOT NULL, points BIGINT NOT NULL, low DOUBLE PRECISION, high DOUBLE PRECISION,
                PRIMARY KEY (series, block)
                """, columns: "series, block, points, low, high")
            + rebuilt(
                "tracking_latest_metrics",
                """
                run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, is_nan INTEGER NOT NULL,
                at_ms BIGINT NOT NULL, step BIGINT NOT NULL, series BIGINT NOT NULL, PRIMARY KEY (run_id, key)
                """, columns: "run_id, key, value, is_nan, at_ms, step, series",
                indexes: [
                    "CREATE INDEX tracking_latest_value ON tracking_latest_metrics (key, is_nan, value, run_id)",
                    "CREATE UNIQUE INDEX tracking_latest_series ON tracking_latest_metrics (series)",
                ])
            + rebuilt(
                "tracking_params",
                "run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key)",
                columns: "run_id, key, value",
                indexes: ["CREATE INDEX tracking_params_value ON tracking_params (key, substr(value, 1, 200), run_id)"])
            + rebuilt(
                "tracking_tags",
                "run_id TEXT NOT NULL REFERENCES tracking_runs (id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key)",
                columns: "run_id, key, value",
                indexes: ["CREATE INDEX tracking_tags_value ON tracking_tags (key, substr(value, 1, 200), run_id)"]))

    /// Each order by a time of the runs or their name has an index; the runs of both lifecycles are merged from two ranges of them. A run
    /// that goes on has an entry of its own kind: a sort by the end has it last in either direction.
    private static let ordered = Migration(
        module: "tracking", version: 7,
        [
            "DROP INDEX tracking_runs_all",
            """
            CREATE INDEX tracking_runs_ended ON tracking_runs (experiment_id, lifecycle, end_ms DESC, start_ms DESC, id) WHERE end_ms IS NOT NULL
            """,
            "CREATE INDEX tracking_runs_unended ON tracking_runs (experiment_id, lifecycle, start_ms DESC, id) WHERE end_ms IS NULL",
            "CREATE INDEX tracking_runs_named ON tracking_runs (experiment_id, lifecycle, name, start_ms DESC, id)",
        ])

    /// Numbers of experiments that were purged and are not used again: the ledger, and artifacts kept elsewhere, name them.
    private static let retired = Migration(
        module: "tracking", version: 9, ["CREATE TABLE tracking_retired_experiments (id BIGINT PRIMARY KEY)"])

    /// What is found by an id of its own carries its workspace beside it; what hangs on such a row belongs to that row's workspace. Names of experiments
    /// are unique in their workspace. Artifacts carry it in their path.
    private static let workspaces = Migration(
        module: "tracking", version: 10,
        [
            .rebuild(
                "tracking_experiments",
                columns: [
                    "id BIGINT NOT NULL", .init("workspace TEXT NOT NULL", from: "'default'"), "name TEXT NOT NULL", "artifact_location TEXT NOT NULL",
                    "lifecycle TEXT NOT NULL", "created_ms BIGINT NOT NULL", "updated_ms BIGINT NOT NULL",
                ], primaryKey: ["id"], constraints: ["UNIQUE (workspace, name)"],
                indexes: ["CREATE INDEX tracking_experiments_updated ON tracking_experiments (workspace, updated_ms DESC, id)"]),
            "ALTER TABLE tracking_runs ADD COLUMN workspace TEXT NOT NULL DEFAULT 'default'",
            "ALTER TABLE tracking_logged_models ADD COLUMN workspace TEXT NOT NULL DEFAULT 'default'",
            "ALTER TABLE tracking_evaluation_datasets ADD COLUMN workspace TEXT NOT NULL DEFAULT 'default'",
            // The caller with all that it was allowed when it began the upload, as JSON; null in uploads from before this step.
            "ALTER TABLE tracking_uploads ADD COLUMN authority TEXT",
        ])

    /// Indexes go with their table and are made again on the filled one. This is how version 6 did it; later ones use `MigrationStep.rebuild`, which
    /// keeps references to the table.
    private static func rebuilt(_ table: String, _ definition: String, columns: String, indexes: [MigrationStep] = []) -> [MigrationStep] {
        [
            "ALTER TABLE \(table) RENAME TO \(table)_before",
            .perDialect { "CREATE TABLE \(table) (\(definition))\($0.clustered)" },
            "INSERT INTO \(table) (\(columns)) SELECT \(columns) FROM \(table)_before ORDER BY 1, 2, 3",
            "DROP TABLE \(table)_before",
        ] + indexes
    }
}
