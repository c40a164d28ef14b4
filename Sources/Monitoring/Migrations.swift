import Storage

public enum MonitoringTables {
    /// Times are µs since 1970; event time unless the name says otherwise.
    public static let migrations = [
        Migration(
            module: "monitoring", version: 1,
            [
                """
                CREATE TABLE monitor_windows (
                    monitor TEXT NOT NULL, kind TEXT NOT NULL, until_at BIGINT NOT NULL, from_at BIGINT NOT NULL, endpoint TEXT NOT NULL,
                    release_number BIGINT NOT NULL, row_count BIGINT NOT NULL, late_count BIGINT NOT NULL, value DOUBLE PRECISION,
                    alerted INTEGER NOT NULL, body TEXT NOT NULL, closed_at BIGINT NOT NULL, PRIMARY KEY (monitor, kind, until_at))
                """,
                "CREATE INDEX monitor_windows_endpoint ON monitor_windows (endpoint, kind, until_at)",
                // How far each monitor has closed its windows, the empty ones included.
                """
                CREATE TABLE monitor_marks (
                    monitor TEXT PRIMARY KEY, drift_closed BIGINT NOT NULL, performance_closed BIGINT NOT NULL)
                """,
            ]),
        // A monitor and its endpoint are known by their workspace and their names there, which have the environment in them.
        Migration(
            module: "monitoring", version: 2,
            [
                // Names from before monitors had environments. Where each is, is decided when the server starts.
                "CREATE TABLE old_monitor_names (monitor TEXT PRIMARY KEY)",
                "INSERT INTO old_monitor_names (monitor) SELECT monitor FROM monitor_marks",
                .rebuild(
                    "monitor_windows",
                    columns: [
                        workspace, "monitor TEXT NOT NULL", "kind TEXT NOT NULL", "until_at BIGINT NOT NULL", "from_at BIGINT NOT NULL",
                        "endpoint TEXT NOT NULL", "release_number BIGINT NOT NULL", "row_count BIGINT NOT NULL", "late_count BIGINT NOT NULL",
                        "value DOUBLE PRECISION", "alerted INTEGER NOT NULL", "body TEXT NOT NULL", "closed_at BIGINT NOT NULL",
                    ], primaryKey: ["workspace", "monitor", "kind", "until_at"],
                    indexes: ["CREATE INDEX monitor_windows_endpoint ON monitor_windows (workspace, endpoint, kind, until_at)"]),
                .rebuild(
                    "monitor_marks",
                    columns: [workspace, "monitor TEXT NOT NULL", "drift_closed BIGINT NOT NULL", "performance_closed BIGINT NOT NULL"],
                    primaryKey: ["workspace", "monitor"]),
            ]),
    ]

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
}
