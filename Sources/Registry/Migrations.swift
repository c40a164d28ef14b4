import Storage

public enum RegistryTables {
    /// Times are milliseconds since 1970, as MLflow's protocol has them.
    public static let migrations = [
        Migration(
            room: "registry", version: 1,
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
            ])
    ]
}
