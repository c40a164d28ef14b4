import Storage

public enum RegistryTables {
    /// Times are milliseconds since 1970, as MLflow's protocol has them.
    public static let migrations = [
        Migration(
            module: "registry", version: 1,
            [
                """
                CREATE TABLE registry_models (
                    name TEXT PRIMARY KEY, description TEXT NOT NULL, last_version BIGINT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)
                """,
                "CREATE INDEX registry_models_updated ON registry_models (updated_ms, name)",
                """
                CREATE TABLE registry_model_tags (
                    name TEXT NOT NULL REFERENCES registry_models (name) ON UPDATE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, key))
                """,
                """
                CREATE TABLE registry_versions (
                    name TEXT NOT NULL REFERENCES registry_models (name) ON UPDATE CASCADE, version BIGINT NOT NULL, source TEXT NOT NULL,
                    storage_location TEXT NOT NULL, run_id TEXT, run_link TEXT, model_id TEXT, user_id TEXT NOT NULL, stage TEXT NOT NULL,
                    description TEXT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (name, version))
                """,
                "CREATE INDEX registry_versions_run ON registry_versions (run_id)",
                "CREATE INDEX registry_versions_updated ON registry_versions (updated_ms DESC, name, version DESC)",
                """
                CREATE TABLE registry_version_tags (
                    name TEXT NOT NULL, version BIGINT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, version, key),
                    FOREIGN KEY (name, version) REFERENCES registry_versions (name, version) ON UPDATE CASCADE)
                """,
                """
                CREATE TABLE registry_aliases (
                    name TEXT NOT NULL, alias TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (name, alias),
                    FOREIGN KEY (name, version) REFERENCES registry_versions (name, version) ON UPDATE CASCADE)
                """,
                "CREATE INDEX registry_aliases_version ON registry_aliases (name, version)",
            ]),
        Migration(
            module: "registry", version: 2,
            [
                // What the MLmodel file says, as JSON.
                "ALTER TABLE registry_versions ADD COLUMN facts TEXT",
                // `secret` is encrypted with a key that is kept outside the database; `created_seq` is the ledger's head when the webhook was made.
                """
                CREATE TABLE registry_webhooks (
                    id TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL, description TEXT NOT NULL, events TEXT NOT NULL, status TEXT NOT NULL,
                    secret TEXT, created_seq BIGINT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)
                """,
                "CREATE INDEX registry_webhooks_created ON registry_webhooks (created_ms, id)",
                """
                CREATE TABLE registry_deliveries (
                    id TEXT PRIMARY KEY, webhook_id TEXT NOT NULL REFERENCES registry_webhooks (id), seq BIGINT NOT NULL, event TEXT NOT NULL,
                    body TEXT NOT NULL, state TEXT NOT NULL, attempts BIGINT NOT NULL, due_ms BIGINT NOT NULL, answer BIGINT, error TEXT,
                    created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL)
                """,
                "CREATE INDEX registry_deliveries_due ON registry_deliveries (state, due_ms, id)",
                "CREATE INDEX registry_deliveries_webhook ON registry_deliveries (webhook_id, id)",
                "CREATE INDEX registry_deliveries_age ON registry_deliveries (updated_ms)",
                // Up to which ledger event deliveries were made.
                "CREATE TABLE registry_webhook_position (id INTEGER PRIMARY KEY, seq BIGINT NOT NULL)",
                "INSERT INTO registry_webhook_position (id, seq) VALUES (1, 0)",
            ]),
        Migration(
            module: "registry", version: 3,
            [
                // A search leaves out the versions of prompts, which a tag of any of their versions tells: without this it read all tags of a model for
                // each of its versions.
                "CREATE INDEX registry_version_tags_key ON registry_version_tags (key, name)",
                // The newest version of each stage is shown with every model.
                "CREATE INDEX registry_versions_stage ON registry_versions (name, stage, version)",
            ]),
        Migration(
            module: "registry", version: 4,
            [
                // What Keel itself saw of a bundle. Rows are inserted, never changed; `seq` is the ledger's event that vouches for the row.
                """
                CREATE TABLE registry_evidence (
                    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, model TEXT, version BIGINT,
                    run_id TEXT, step TEXT, verdict TEXT, data TEXT NOT NULL, made_by TEXT NOT NULL, at_ms BIGINT NOT NULL,
                    seq BIGINT NOT NULL)
                """,
                "CREATE INDEX registry_evidence_subject ON registry_evidence (subject, kind, seq)",
                "CREATE INDEX registry_evidence_version ON registry_evidence (model, version, kind, seq)",
                "CREATE UNIQUE INDEX registry_evidence_bundle ON registry_evidence (model, version) WHERE kind = 'bundle'",
                // The pipeline run and step that made a version: a step that is repeated finds it.
                "ALTER TABLE registry_versions ADD COLUMN made_by TEXT",
                "CREATE UNIQUE INDEX registry_versions_made_by ON registry_versions (made_by)",
                // Numbers that were used under a name and are not used again.
                "CREATE TABLE registry_retired_versions (name TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (name, version))",
                // Has a row once what earlier versions of Keel wrote was taken over.
                "CREATE TABLE registry_taken_over (at_ms BIGINT NOT NULL)",
            ]),
        workspaces,
        offers,
    ]

    /// Names of models are unique in their workspace.
    private static let workspaces = Migration(
        module: "registry", version: 5,
        [
            .rebuild(
                "registry_models",
                columns: [
                    workspace, "name TEXT NOT NULL", "description TEXT NOT NULL", "last_version BIGINT NOT NULL", "created_ms BIGINT NOT NULL",
                    "updated_ms BIGINT NOT NULL",
                ], primaryKey: ["workspace", "name"],
                indexes: ["CREATE INDEX registry_models_updated ON registry_models (workspace, updated_ms, name)"]),
            .rebuild(
                "registry_model_tags", columns: [workspace, "name TEXT NOT NULL", "key TEXT NOT NULL", "value TEXT NOT NULL"],
                primaryKey: ["workspace", "name", "key"], constraints: [ofModel]),
            .rebuild(
                "registry_versions",
                columns: [
                    workspace, "name TEXT NOT NULL", "version BIGINT NOT NULL", "source TEXT NOT NULL", "storage_location TEXT NOT NULL",
                    "run_id TEXT", "run_link TEXT", "model_id TEXT", "user_id TEXT NOT NULL", "stage TEXT NOT NULL",
                    "description TEXT NOT NULL", "created_ms BIGINT NOT NULL", "updated_ms BIGINT NOT NULL", "facts TEXT", "made_by TEXT",
                ], primaryKey: ["workspace", "name", "version"], constraints: [ofModel],
                indexes: [
                    "CREATE INDEX registry_versions_run ON registry_versions (run_id)",
                    "CREATE INDEX registry_versions_updated ON registry_versions (workspace, updated_ms DESC, name, version DESC)",
                    "CREATE INDEX registry_versions_stage ON registry_versions (workspace, name, stage, version)",
                    "CREATE UNIQUE INDEX registry_versions_made_by ON registry_versions (made_by)",
                ]),
            .rebuild(
                "registry_version_tags",
                columns: [workspace, "name TEXT NOT NULL", "version BIGINT NOT NULL", "key TEXT NOT NULL", "value TEXT NOT NULL"],
                primaryKey: ["workspace", "name", "version", "key"], constraints: [ofVersion],
                indexes: ["CREATE INDEX registry_version_tags_key ON registry_version_tags (workspace, key, name)"]),
            .rebuild(
                "registry_aliases", columns: [workspace, "name TEXT NOT NULL", "alias TEXT NOT NULL", "version BIGINT NOT NULL"],
                primaryKey: ["workspace", "name", "alias"], constraints: [ofVersion],
                indexes: ["CREATE INDEX registry_aliases_version ON registry_aliases (workspace, name, version)"]),
            .rebuild(
                "registry_retired_versions", columns: [workspace, "name TEXT NOT NULL", "version BIGINT NOT NULL"],
                primaryKey: ["workspace", "name", "version"]),
            "ALTER TABLE registry_webhooks ADD COLUMN workspace TEXT NOT NULL DEFAULT 'default'",
            "DROP INDEX registry_evidence_subject",
            "CREATE INDEX registry_evidence_subject ON registry_evidence (workspace, subject, kind, seq)",
            "DROP INDEX registry_evidence_version",
            "CREATE INDEX registry_evidence_version ON registry_evidence (workspace, model, version, kind, seq)",
            "DROP INDEX registry_evidence_bundle",
            "CREATE UNIQUE INDEX registry_evidence_bundle ON registry_evidence (workspace, model, version) WHERE kind = 'bundle'",
        ])

    /// Versions that one workspace lets another have. Times are µs since 1970.
    private static let offers = Migration(
        module: "registry", version: 6,
        [
            """
            CREATE TABLE registry_offers (
                id TEXT PRIMARY KEY, workspace TEXT NOT NULL, model TEXT NOT NULL, version BIGINT NOT NULL, target TEXT NOT NULL,
                note TEXT NOT NULL, offered_by TEXT NOT NULL, offered_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, state TEXT NOT NULL,
                accepted_model TEXT, accepted_version BIGINT, decided_by TEXT, decided_at BIGINT)
            """,
            "CREATE INDEX registry_offers_workspace ON registry_offers (workspace, offered_at)",
            "CREATE INDEX registry_offers_target ON registry_offers (target, offered_at)",
        ])

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
    private static let ofModel = "FOREIGN KEY (workspace, name) REFERENCES registry_models (workspace, name) ON UPDATE CASCADE"
    private static let ofVersion = """
        FOREIGN KEY (workspace, name, version) REFERENCES registry_versions (workspace, name, version) ON UPDATE CASCADE
        """
}
