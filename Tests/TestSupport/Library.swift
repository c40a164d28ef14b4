import Storage

/// Tables that refer to each other, and migrations that rebuild them.
public enum Library {
    /// Shelves hold books, and books have pages: two references in a row, the second by two columns. A shelf may refer to another.
    public static let first = Migration(
        module: "library", version: 1,
        [
            "CREATE TABLE shelves (name TEXT PRIMARY KEY, room TEXT NOT NULL, above TEXT REFERENCES shelves (name) ON UPDATE CASCADE)",
            "CREATE INDEX shelves_room ON shelves (room, name)",
            """
            CREATE TABLE books (
                shelf TEXT NOT NULL REFERENCES shelves (name) ON UPDATE CASCADE, number BIGINT NOT NULL, title TEXT NOT NULL, PRIMARY KEY (shelf, number))
            """,
            """
            CREATE TABLE pages (
                shelf TEXT NOT NULL, number BIGINT NOT NULL, page BIGINT NOT NULL, PRIMARY KEY (shelf, number, page),
                FOREIGN KEY (shelf, number) REFERENCES books (shelf, number) ON UPDATE CASCADE)
            """,
            "INSERT INTO shelves (name, room, above) VALUES ('a', 'east', NULL), ('b', 'west', 'a')",
            "INSERT INTO books (shelf, number, title) VALUES ('a', 1, 'One'), ('a', 2, 'Two'), ('b', 1, 'Three')",
            "INSERT INTO pages (shelf, number, page) VALUES ('a', 1, 1), ('a', 1, 2), ('b', 1, 1)",
        ])

    public static func shelves(more columns: [RebuiltColumn] = [], clustered: Bool = false) -> MigrationStep {
        .rebuild(
            "shelves", columns: ["name TEXT NOT NULL", "room TEXT NOT NULL", "above TEXT"] + columns, primaryKey: ["name"],
            constraints: ["FOREIGN KEY (above) REFERENCES shelves (name) ON UPDATE CASCADE"],
            indexes: ["CREATE INDEX shelves_room ON shelves (room, name)"],
            clustered: clustered)
    }

    /// The key of each table gets a column in front: all three are rebuilt, the first before those that refer to it.
    public static let keyed: [MigrationStep] = [
        .rebuild(
            "shelves",
            columns: [.init("workspace TEXT NOT NULL", from: "'default'"), "name TEXT NOT NULL", "room TEXT NOT NULL", "above TEXT"],
            primaryKey: ["workspace", "name"],
            constraints: ["FOREIGN KEY (workspace, above) REFERENCES shelves (workspace, name) ON UPDATE CASCADE"],
            indexes: ["CREATE INDEX shelves_room ON shelves (workspace, room, name)"]),
        .rebuild(
            "books",
            columns: [
                .init("workspace TEXT NOT NULL", from: "'default'"), "shelf TEXT NOT NULL", "number BIGINT NOT NULL", "title TEXT NOT NULL",
            ],
            primaryKey: ["workspace", "shelf", "number"],
            constraints: ["FOREIGN KEY (workspace, shelf) REFERENCES shelves (workspace, name) ON UPDATE CASCADE"]),
        .rebuild(
            "pages",
            columns: [
                .init("workspace TEXT NOT NULL", from: "'default'"), "shelf TEXT NOT NULL", "number BIGINT NOT NULL",
                "page BIGINT NOT NULL",
            ],
            primaryKey: ["workspace", "shelf", "number", "page"],
            constraints: ["FOREIGN KEY (workspace, shelf, number) REFERENCES books (workspace, shelf, number) ON UPDATE CASCADE"]),
    ]
}
