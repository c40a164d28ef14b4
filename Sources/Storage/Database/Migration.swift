/// One version of a module's tables: the steps that lead to it from the version before. Versions of a module are numbered 1, 2, 3 … and never edited
/// once released.
public struct Migration: Sendable {
    public let module: String
    public let version: Int
    let steps: [MigrationStep]

    public init(module: String, version: Int, _ steps: [MigrationStep]) {
        self.module = module
        self.version = version
        self.steps = steps
    }

    /// The statements to run, one after another, in one transaction.
    package func statements(for dialect: SQLDialect) -> [String] { steps.flatMap { $0.statements(dialect) } }
}

/// A step of a migration. A plain text is one statement that every database understands.
public struct MigrationStep: Sendable, ExpressibleByStringInterpolation {
    let statements: @Sendable (SQLDialect) -> [String]

    init(_ statements: @escaping @Sendable (SQLDialect) -> [String]) { self.statements = statements }

    public init(stringLiteral statement: String) { self.init { _ in [statement] } }

    /// One statement whose text has words that differ between databases. Take the words from `SQLDialect`.
    public static func perDialect(_ statement: @escaping @Sendable (SQLDialect) -> String) -> MigrationStep {
        MigrationStep { [statement($0)] }
    }

    /// Gives a table other columns, another primary key or other constraints, and keeps its rows.
    ///
    /// A new table is filled from the old one and takes its name. Foreign keys of other tables go on to refer to it by that name. When the columns that
    /// they refer to are not a key any more, those tables must be rebuilt too, in the same migration and after this one: a reference that leads
    /// nowhere, and a row whose parent is gone, fail the migration.
    ///
    ///     .rebuild(
    ///         "registry_model_tags",
    ///         columns: [.init("workspace TEXT NOT NULL", from: "'default'"), "name TEXT NOT NULL", "key TEXT NOT NULL", "value TEXT NOT NULL"],
    ///         primaryKey: ["workspace", "name", "key"],
    ///         constraints: ["FOREIGN KEY (workspace, name) REFERENCES registry_models (workspace, name) ON UPDATE CASCADE"])
    ///
    /// - Parameters:
    ///   - columns: Every column of the new table, in its order. A column of the old table that is not among them goes, with its data.
    ///   - primaryKey: The columns of the primary key.
    ///   - constraints: Constraints of the table, such as `UNIQUE (…)` and `FOREIGN KEY (…) REFERENCES …`.
    ///   - indexes: The statements that create the table's indexes: all of them, because they go with the old table.
    ///   - clustered: Whether rows lie in the order of the primary key (`SQLDialect.clustered`).
    public static func rebuild(
        _ table: String, columns: [RebuiltColumn], primaryKey: [String], constraints: [String] = [], indexes: [String] = [],
        clustered: Bool = false
    ) -> MigrationStep {
        MigrationStep { dialect in
            let new = "\(table)_rebuilt"
            let key = primaryKey.joined(separator: ", ")
            // A table that refers to itself refers to the new one from the start; the reference follows when it is renamed.
            let definition = (columns.map(\.definition) + ["PRIMARY KEY (\(key))"] + constraints).map { part in
                [" ", "("].reduce(part) { $0.replacing("REFERENCES \(table)\($1)", with: "REFERENCES \(new)\($1)") }
            }
            let sources = columns.map { "\($0.source) AS \($0.name)" }
            return [
                "CREATE TABLE \(new) (\(definition.joined(separator: ", ")))\(clustered ? dialect.clustered : "")",
                """
                INSERT INTO \(new) (\(columns.map(\.name).joined(separator: ", "))) SELECT \(sources.joined(separator: ", ")) FROM \(table)\
                \(clustered ? " ORDER BY \(key)" : "")
                """,
            ] + dialect.replacing(table, by: new) + indexes
        }
    }
}

/// A column of a table that is rebuilt. A plain text is its definition, `name TEXT NOT NULL`: its values are those of the old column of that name.
public struct RebuiltColumn: Sendable, ExpressibleByStringInterpolation {
    let definition: String
    let source: String

    var name: String { RebuiltColumn.name(of: definition) }

    public init(stringLiteral definition: String) {
        self.definition = definition
        source = RebuiltColumn.name(of: definition)
    }

    /// - Parameter source: An expression over the columns of the old table: `'default'` for one value in every row.
    public init(_ definition: String, from source: String) {
        self.definition = definition
        self.source = source
    }

    private static func name(of definition: String) -> String { String(definition.prefix { $0 != " " }) }
}

extension SQLDialect {
    /// The statements that put a filled table in the place of another, whose name it takes.
    fileprivate func replacing(_ table: String, by new: String) -> [String] {
        switch self {
        case .sqlite:
            // While a migration runs foreign keys are not enforced, so dropping a table deletes nothing elsewhere. References of other tables are by name.
            // The name may not be given away first: renaming a table changes what refers to it.
            return ["DROP TABLE \(table)", "ALTER TABLE \(new) RENAME TO \(table)"]
        case .postgres:
            // References are by identity and go with the old table, so those of other tables are noted and made again. One whose columns are no key any
            // more cannot be; the table that has it is rebuilt next. The constraints that PostgreSQL named get the names they would have in a new table.
            return [
                """
                DO $rebuild$
                DECLARE
                    tables regclass[];
                    changes text[];
                    own text;
                BEGIN
                    SELECT array_agg(conrelid::regclass ORDER BY oid),
                        array_agg(format('ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) ORDER BY oid) INTO tables, changes
                    FROM pg_constraint WHERE contype = 'f' AND confrelid = '\(table)'::regclass AND conrelid <> confrelid;
                    DROP TABLE \(table) CASCADE;
                    ALTER TABLE \(new) RENAME TO \(table);
                    FOR i IN 1 .. coalesce(array_length(tables, 1), 0) LOOP
                        BEGIN
                            EXECUTE format('ALTER TABLE %s %s', tables[i], changes[i]);
                        EXCEPTION WHEN invalid_foreign_key OR undefined_column THEN
                            NULL;
                        END;
                    END LOOP;
                    FOR own IN SELECT conname FROM pg_constraint WHERE conrelid = '\(table)'::regclass AND starts_with(conname, '\(new)_') LOOP
                        EXECUTE format('ALTER TABLE \(table) RENAME CONSTRAINT %I TO %I', own, '\(table)' || substr(own, \(new.utf8.count + 1)));
                    END LOOP;
                END $rebuild$
                """
            ]
        }
    }
}
