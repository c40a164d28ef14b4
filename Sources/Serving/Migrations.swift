import Storage

/// The module's tables.
public enum ServingTables {
    public static let migrations = [
        Migration(
            module: "serving", version: 1,
            [
                """
                CREATE TABLE releases (
                    endpoint TEXT NOT NULL, number BIGINT NOT NULL, model TEXT NOT NULL, model_version TEXT NOT NULL, bundle TEXT NOT NULL,
                    feature_service TEXT, gate TEXT NOT NULL, digest TEXT NOT NULL, created_at BIGINT NOT NULL, created_by TEXT NOT NULL,
                    PRIMARY KEY (endpoint, number))
                """,
                """
                CREATE TABLE endpoint_state (
                    endpoint TEXT PRIMARY KEY, stable BIGINT, previous BIGINT, candidate BIGINT, step BIGINT, phase_requests BIGINT NOT NULL,
                    requests BIGINT NOT NULL, errors BIGINT NOT NULL, started_at BIGINT)
                """,
                // The key begins with the id: labels are joined by it. The values and request are those the model saw.
                """
                CREATE TABLE predictions (
                    id TEXT NOT NULL, endpoint TEXT NOT NULL, release_number BIGINT NOT NULL, event_time BIGINT NOT NULL, at BIGINT NOT NULL,
                    shadow BIGINT NOT NULL, score DOUBLE PRECISION NOT NULL, features BYTEA NOT NULL, request TEXT NOT NULL,
                    latency_ns BIGINT NOT NULL, label DOUBLE PRECISION, label_at BIGINT, PRIMARY KEY (id, endpoint, release_number))
                """,
                "CREATE INDEX predictions_time ON predictions (endpoint, event_time, id)",
                // Labels that came before their prediction was logged.
                "CREATE TABLE early_labels (id TEXT PRIMARY KEY, label DOUBLE PRECISION NOT NULL, label_at BIGINT NOT NULL)",
            ]),
        Migration(
            module: "serving", version: 2,
            [
                // The pipeline run and step that asked for a release: asking again gives the release that is there.
                "ALTER TABLE releases ADD COLUMN requested_by TEXT",
                "CREATE UNIQUE INDEX releases_requested_by ON releases (endpoint, requested_by)",
                // When it was first deployed.
                "ALTER TABLE releases ADD COLUMN deployed_at BIGINT",
                "CREATE INDEX releases_model ON releases (model, model_version)",
            ]),
        Migration(
            module: "serving", version: 3,
            [
                // One row: the offset of the journal before which every prediction is in the table, written with the predictions.
                "CREATE TABLE prediction_journal (id BIGINT PRIMARY KEY CHECK (id = 1), drained BIGINT NOT NULL)",
                // When a label came whose prediction is not logged: it is kept for some days.
                "ALTER TABLE early_labels ADD COLUMN received_at BIGINT NOT NULL DEFAULT 0",
                "UPDATE early_labels SET received_at = label_at",
                "CREATE INDEX early_labels_received ON early_labels (received_at)",
            ]),
        Migration(
            module: "serving", version: 4,
            [
                // The number of the ledger event `release.created`; 0 for releases from before this step.
                "ALTER TABLE releases ADD COLUMN created_seq BIGINT NOT NULL DEFAULT 0"
            ]),
        workspaces, types, export, labels, parts, numbers, pauses, bounds,
    ]

    /// The prediction log in the lake (`PredictionExporter`). `part` is the number of the file that a row is in. `label_pending` counts how often
    /// its label was posted since the labels of its endpoint were last written; null when its label is in a file, or there is none.
    private static let export = Migration(
        module: "serving", version: 7,
        [
            "ALTER TABLE predictions ADD COLUMN part BIGINT",
            "ALTER TABLE predictions ADD COLUMN label_pending BIGINT",
            "UPDATE predictions SET label_pending = 1 WHERE label IS NOT NULL",
            "CREATE INDEX predictions_unexported ON predictions (workspace, endpoint, release_number) WHERE part IS NULL",
            "CREATE INDEX predictions_unexported_labels ON predictions (workspace, endpoint) WHERE label_pending IS NOT NULL",
            """
            CREATE TABLE prediction_files (
                workspace TEXT NOT NULL, endpoint TEXT NOT NULL, number BIGINT NOT NULL, holds TEXT NOT NULL, path TEXT NOT NULL, rows BIGINT NOT NULL,
                bytes BIGINT NOT NULL, digest TEXT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (workspace, endpoint, number))
            """,
        ])

    /// Labels of any type (`Label.stored`): `label` is what one is as a number, and null of a text. Without a type it is a number, of a version before.
    /// `label_type` of a file is that of all labels in it.
    private static let labels = Migration(
        module: "serving", version: 8,
        [
            "ALTER TABLE predictions ADD COLUMN label_text TEXT", "ALTER TABLE predictions ADD COLUMN label_type TEXT",
            "ALTER TABLE prediction_files ADD COLUMN label_type TEXT",
            .rebuild(
                "early_labels",
                columns: [
                    "workspace TEXT NOT NULL", "id TEXT NOT NULL", "endpoint TEXT NOT NULL", "label DOUBLE PRECISION",
                    .init("label_text TEXT", from: "CAST(NULL AS TEXT)"), .init("label_type TEXT", from: "CAST(NULL AS TEXT)"),
                    "label_at BIGINT NOT NULL", "received_at BIGINT NOT NULL",
                ], primaryKey: ["workspace", "id", "endpoint"], indexes: ["CREATE INDEX early_labels_received ON early_labels (received_at)"]),
        ])

    /// Several models that answer one after another are one release: each of its versions must stay.
    private static let parts = Migration(
        module: "serving", version: 9,
        [
            """
            CREATE TABLE release_parts (
                workspace TEXT NOT NULL, endpoint TEXT NOT NULL, number BIGINT NOT NULL, position BIGINT NOT NULL, model TEXT NOT NULL,
                model_version TEXT NOT NULL, PRIMARY KEY (workspace, endpoint, number, position))
            """,
            "CREATE INDEX release_parts_model ON release_parts (workspace, model, model_version)",
        ])

    /// Which rows the features of a prediction were made of. An upper bound without a lower one: they lack something that they cover.
    ///
    /// Not backward compatible, though it only adds: records of the journal have a new form (`LoggedBatch`) from this version on. The version before
    /// would take those that a crash left for damaged, and count the journal as read.
    private static let bounds = Migration(
        module: "serving", version: 12,
        ["ALTER TABLE predictions ADD COLUMN known_from BIGINT", "ALTER TABLE predictions ADD COLUMN known_until BIGINT"])

    /// Who paused the rollout under way. The version before goes on with a rollout that is paused, and leaves the columns as they are.
    private static let pauses = Migration(
        module: "serving", version: 11, isBackwardCompatible: true,
        [
            "ALTER TABLE endpoint_state ADD COLUMN paused_at BIGINT", "ALTER TABLE endpoint_state ADD COLUMN paused_by TEXT",
            "ALTER TABLE endpoint_state ADD COLUMN pause_reason TEXT",
        ])

    /// Rows have numbers, in the order in which they were written, and which of them are in no file is noted by ranges of numbers (`UnexportedRows`) in
    /// place of a mark in each.
    private static let numbers = Migration(
        module: "serving", version: 10,
        [
            .perDialect { dialect in
                """
                CREATE TABLE predictions_numbered (
                    seq \(dialect.rowNumber) PRIMARY KEY, \(numberedColumns.map { "\($0.key) \($0.value)" }.joined(separator: ", ")),
                    UNIQUE (workspace, id, endpoint, release_number))
                """
            },
            """
            INSERT INTO predictions_numbered (seq, \(numberedNames)) SELECT row_number() OVER () AS seq, \(numberedNames) FROM predictions
            """,
            .perDialect { dialect in
                """
                CREATE TABLE unexported_predictions (
                    workspace TEXT NOT NULL, endpoint TEXT NOT NULL, release_number BIGINT NOT NULL, first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL,
                    PRIMARY KEY (workspace, endpoint, release_number, first_seq))\(dialect.clustered)
                """
            },
            """
            INSERT INTO unexported_predictions (workspace, endpoint, release_number, first_seq, last_seq)
            SELECT n.workspace, n.endpoint, n.release_number, n.seq, n.seq FROM predictions p JOIN predictions_numbered n
            ON n.workspace = p.workspace AND n.id = p.id AND n.endpoint = p.endpoint AND n.release_number = p.release_number WHERE p.part IS NULL
            """,
            "DROP TABLE predictions",
            "ALTER TABLE predictions_numbered RENAME TO predictions",
            "CREATE INDEX predictions_time ON predictions (workspace, endpoint, event_time, id)",
            "CREATE INDEX predictions_unexported_labels ON predictions (workspace, endpoint) WHERE label_pending IS NOT NULL",
        ])
    private static let numberedColumns: KeyValuePairs = [
        "workspace": "TEXT NOT NULL", "id": "TEXT NOT NULL", "endpoint": "TEXT NOT NULL", "release_number": "BIGINT NOT NULL",
        "event_time": "BIGINT NOT NULL", "at": "BIGINT NOT NULL", "shadow": "BIGINT NOT NULL", "score": "DOUBLE PRECISION", "inputs": "BYTEA NOT NULL",
        "outputs": "BYTEA", "request": "TEXT NOT NULL", "latency_ns": "BIGINT NOT NULL", "label": "DOUBLE PRECISION", "label_text": "TEXT",
        "label_type": "TEXT", "label_at": "BIGINT", "label_pending": "BIGINT",
    ]
    private static let numberedNames = numberedColumns.map(\.key).joined(separator: ", ")

    /// Inputs and outputs of any type; a model need not give a number.
    private static let types = Migration(
        module: "serving", version: 6,
        [
            .rebuild(
                "predictions",
                columns: [
                    "workspace TEXT NOT NULL", "id TEXT NOT NULL", "endpoint TEXT NOT NULL", "release_number BIGINT NOT NULL",
                    "event_time BIGINT NOT NULL", "at BIGINT NOT NULL", "shadow BIGINT NOT NULL", "score DOUBLE PRECISION",
                    // A packed row; in rows without outputs, which are older, little-endian float32.
                    .init("inputs BYTEA NOT NULL", from: "features"), .init("outputs BYTEA", from: "CAST(NULL AS BYTEA)"),
                    "request TEXT NOT NULL", "latency_ns BIGINT NOT NULL", "label DOUBLE PRECISION", "label_at BIGINT",
                ],
                primaryKey: ["workspace", "id", "endpoint", "release_number"],
                indexes: ["CREATE INDEX predictions_time ON predictions (workspace, endpoint, event_time, id)"])
        ])

    /// An endpoint is known by its workspace and its name there, which has the environment in it (`ResourceRef.qualifiedName`).
    private static let workspaces = Migration(
        module: "serving", version: 5,
        [
            // Names from before endpoints had environments. Where each is, is decided when the server starts; null until then. `until_seq` is the number
            // of the last ledger event that may have the old name.
            "CREATE TABLE old_endpoint_names (endpoint TEXT PRIMARY KEY, environment TEXT, until_seq BIGINT)",
            "INSERT INTO old_endpoint_names (endpoint) SELECT DISTINCT endpoint FROM releases",
            .rebuild(
                "releases",
                columns: [
                    workspace, "endpoint TEXT NOT NULL", "number BIGINT NOT NULL", "model TEXT NOT NULL", "model_version TEXT NOT NULL",
                    "bundle TEXT NOT NULL", "feature_service TEXT", "gate TEXT NOT NULL", "digest TEXT NOT NULL", "created_at BIGINT NOT NULL",
                    "created_by TEXT NOT NULL", "requested_by TEXT", "deployed_at BIGINT", "created_seq BIGINT NOT NULL",
                    // Where it came from when it was promoted from another environment, as JSON.
                    .init("promoted_from TEXT", from: "CAST(NULL AS TEXT)"),
                ], primaryKey: ["workspace", "endpoint", "number"],
                indexes: [
                    "CREATE UNIQUE INDEX releases_requested_by ON releases (workspace, endpoint, requested_by)",
                    "CREATE INDEX releases_model ON releases (workspace, model, model_version)",
                ]),
            .rebuild(
                "endpoint_state",
                columns: [
                    workspace, "endpoint TEXT NOT NULL", "stable BIGINT", "previous BIGINT", "candidate BIGINT", "step BIGINT",
                    "phase_requests BIGINT NOT NULL", "requests BIGINT NOT NULL", "errors BIGINT NOT NULL", "started_at BIGINT",
                ], primaryKey: ["workspace", "endpoint"]),
            .rebuild(
                "predictions",
                columns: [
                    workspace, "id TEXT NOT NULL", "endpoint TEXT NOT NULL", "release_number BIGINT NOT NULL", "event_time BIGINT NOT NULL",
                    "at BIGINT NOT NULL", "shadow BIGINT NOT NULL", "score DOUBLE PRECISION NOT NULL", "features BYTEA NOT NULL",
                    "request TEXT NOT NULL", "latency_ns BIGINT NOT NULL", "label DOUBLE PRECISION", "label_at BIGINT",
                ],
                // The id before the endpoint: labels are joined by it.
                primaryKey: ["workspace", "id", "endpoint", "release_number"],
                indexes: ["CREATE INDEX predictions_time ON predictions (workspace, endpoint, event_time, id)"]),
            .rebuild(
                "early_labels",
                columns: [
                    workspace, "id TEXT NOT NULL",
                    // Empty for a label of the id on whichever endpoint.
                    .init("endpoint TEXT NOT NULL", from: "''"), "label DOUBLE PRECISION NOT NULL", "label_at BIGINT NOT NULL",
                    "received_at BIGINT NOT NULL",
                ], primaryKey: ["workspace", "id", "endpoint"],
                indexes: ["CREATE INDEX early_labels_received ON early_labels (received_at)"]),
        ])

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
}
