import Storage

public enum DatasetTables {
    /// The tables of this module.
    public static let migrations = [
        Migration(
            module: "data", version: 1,
            [
                """
                CREATE TABLE data_snapshots (
                    dataset TEXT NOT NULL, number BIGINT NOT NULL, created_at BIGINT NOT NULL, rows_total BIGINT NOT NULL, rows_added BIGINT NOT NULL,
                    filtered BIGINT NOT NULL, quarantined BIGINT NOT NULL, quarantine_file TEXT, source TEXT NOT NULL, digest TEXT NOT NULL,
                    contract TEXT NOT NULL, profile TEXT NOT NULL, first_event BIGINT, last_event BIGINT, stream_end BIGINT NOT NULL, rejected_end BIGINT NOT NULL,
                    PRIMARY KEY (dataset, number))
                """,
                // A snapshot is all files that were added in it or before.
                """
                CREATE TABLE data_files (
                    dataset TEXT NOT NULL, added_in BIGINT NOT NULL, position BIGINT NOT NULL, path TEXT NOT NULL, row_count BIGINT NOT NULL,
                    bytes BIGINT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (dataset, added_in, position))
                """,
            ]),
        // A snapshot is the files that were added from this one on: the last that replaced all rows.
        Migration(module: "data", version: 2, ["ALTER TABLE data_snapshots ADD COLUMN files_from BIGINT NOT NULL DEFAULT 1"]),
        Migration(
            module: "data", version: 3,
            [
                // The last number that a snapshot of the dataset had. The row stays when the data are removed: `clicks@3` means one snapshot for ever.
                "CREATE TABLE data_numbers (dataset TEXT PRIMARY KEY, last BIGINT NOT NULL)",
                "INSERT INTO data_numbers (dataset, last) SELECT dataset, max(number) FROM data_snapshots GROUP BY dataset",
            ]),
        workspaces,
    ]

    /// Names of datasets are unique in their workspace.
    private static let workspaces = Migration(
        module: "data", version: 4,
        [
            .rebuild(
                "data_snapshots",
                columns: [
                    workspace, "dataset TEXT NOT NULL", "number BIGINT NOT NULL", "created_at BIGINT NOT NULL", "rows_total BIGINT NOT NULL",
                    "rows_added BIGINT NOT NULL", "filtered BIGINT NOT NULL", "quarantined BIGINT NOT NULL", "quarantine_file TEXT",
                    "source TEXT NOT NULL", "digest TEXT NOT NULL", "contract TEXT NOT NULL", "profile TEXT NOT NULL", "first_event BIGINT",
                    "last_event BIGINT", "stream_end BIGINT NOT NULL", "rejected_end BIGINT NOT NULL", "files_from BIGINT NOT NULL",
                ], primaryKey: ["workspace", "dataset", "number"]),
            .rebuild(
                "data_files",
                columns: [
                    workspace, "dataset TEXT NOT NULL", "added_in BIGINT NOT NULL", "position BIGINT NOT NULL", "path TEXT NOT NULL",
                    "row_count BIGINT NOT NULL", "bytes BIGINT NOT NULL", "digest TEXT NOT NULL",
                ], primaryKey: ["workspace", "dataset", "added_in", "position"]),
            .rebuild(
                "data_numbers", columns: [workspace, "dataset TEXT NOT NULL", "last BIGINT NOT NULL"], primaryKey: ["workspace", "dataset"]),
        ])

    private static let workspace = RebuiltColumn("workspace TEXT NOT NULL", from: "'default'")
}
