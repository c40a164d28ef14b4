import Storage

public enum GovernanceTables {
    /// Times are µs since 1970. The environment of a resource that lives in none is the empty text, so that it can be part of a key.
    public static let migrations = [
        Migration(
            module: "governance", version: 1,
            [
                """
                CREATE TABLE resources (
                    kind TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, revision BIGINT NOT NULL, digest TEXT NOT NULL,
                    body TEXT NOT NULL, PRIMARY KEY (kind, name, environment))
                """,
                """
                CREATE TABLE resource_revisions (
                    kind TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, revision BIGINT NOT NULL, digest TEXT NOT NULL,
                    body TEXT NOT NULL, apply BIGINT NOT NULL, applied_at BIGINT NOT NULL, applied_by TEXT NOT NULL,
                    PRIMARY KEY (kind, name, environment, revision))
                """,
                "CREATE INDEX resource_revisions_apply ON resource_revisions (apply)",
                """
                CREATE TABLE resource_applies (
                    revision BIGINT PRIMARY KEY, ledger_seq BIGINT NOT NULL, applied_at BIGINT NOT NULL, applied_by TEXT NOT NULL)
                """,
                """
                CREATE TABLE tokens (
                    name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, persona TEXT NOT NULL, workspace TEXT NOT NULL, created_at BIGINT NOT NULL,
                    created_by TEXT NOT NULL, expires_at BIGINT, revoked_at BIGINT)
                """,
            ]),
        Migration(
            module: "governance", version: 2,
            [
                // `scope` and `previous_digest` are null for tokens without; a token acts for another where `acts_for` names it.
                "ALTER TABLE tokens ADD COLUMN scope TEXT",
                "ALTER TABLE tokens ADD COLUMN acts_for TEXT",
                "ALTER TABLE tokens ADD COLUMN previous_digest TEXT",
                "ALTER TABLE tokens ADD COLUMN previous_until BIGINT",
                "ALTER TABLE tokens ADD COLUMN last_used_at BIGINT",
                """
                CREATE TABLE workspaces (
                    name TEXT PRIMARY KEY, description TEXT NOT NULL, created_at BIGINT NOT NULL, created_by TEXT NOT NULL, deleted_at BIGINT)
                """,
                "INSERT INTO workspaces (name, description, created_at, created_by) VALUES ('default', '', 0, 'keel')",
                .rebuild(
                    "resources",
                    columns: [
                        workspace, "kind TEXT NOT NULL", "environment TEXT NOT NULL", "name TEXT NOT NULL", "revision BIGINT NOT NULL",
                        "digest TEXT NOT NULL", "body TEXT NOT NULL",
                    ], primaryKey: ["workspace", "kind", "name", "environment"]),
                .rebuild(
                    "resource_revisions",
                    columns: [
                        workspace, "kind TEXT NOT NULL", "environment TEXT NOT NULL", "name TEXT NOT NULL", "revision BIGINT NOT NULL",
                        "digest TEXT NOT NULL", "body TEXT NOT NULL", "apply BIGINT NOT NULL", "applied_at BIGINT NOT NULL",
                        "applied_by TEXT NOT NULL",
                    ], primaryKey: ["workspace", "kind", "name", "environment", "revision"],
                    indexes: ["CREATE INDEX resource_revisions_apply ON resource_revisions (apply)"]),
                "ALTER TABLE resource_applies ADD COLUMN workspace TEXT NOT NULL DEFAULT 'default'",
            ]),
        // What lives in an environment and names none lives in production: without one and with `production` is one name. Of two that were kept apart
        // the one that says so stays.
        Migration(
            module: "governance", version: 3,
            [
                inProduction("resources"), inProduction("resource_revisions"),
                "DELETE FROM resources WHERE kind IN ('Endpoint', 'Monitor') AND environment = ''",
            ]),
    ]

    private static func inProduction(_ table: String) -> MigrationStep {
        """
        UPDATE \(table) SET environment = 'production' WHERE kind IN ('Endpoint', 'Monitor') AND environment = '' AND NOT EXISTS (
            SELECT 1 FROM \(table) o WHERE o.workspace = \(table).workspace AND o.kind = \(table).kind AND o.name = \(table).name
            AND o.environment = 'production')
        """
    }

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
}
