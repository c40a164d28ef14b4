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
            ])
    ]
}
