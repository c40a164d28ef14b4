/// One version of a module's tables: the steps that lead to it from the version before. Versions of a module are numbered 1, 2, 3 … and never edited
/// once released.
public struct Migration: Sendable {
    public let module: String
    public let version: Int
    /// Whether a version of Keel that does not know this migration may open a home that has run it.
    public let isBackwardCompatible: Bool
    let steps: [MigrationStep]

    /// - Parameter isBackwardCompatible: Declares that a version of Keel from before this migration reads and writes the home correctly after it,
    ///   and that this one takes what the earlier version wrote meanwhile: a column that is null or has its default means the same as a row from
    ///   before. The statements may then only add (`Migration.problem(for:)`). That is necessary, not sufficient: a table whose rows keep something
    ///   else from being deleted, and files in a new format, are not backward compatible, as an earlier version does not know them.
    public init(module: String, version: Int, isBackwardCompatible: Bool = false, _ steps: [MigrationStep]) {
        self.module = module
        self.version = version
        self.isBackwardCompatible = isBackwardCompatible
        self.steps = steps
    }

    /// The statements to run, one after another, in one transaction.
    package func statements(for dialect: SQLDialect) -> [String] { steps.flatMap { $0.statements(dialect) } }
}

extension Migration {
    /// Why the migration is not backward compatible though it says so; nil for one that only adds, or that does not say so.
    ///
    /// It only adds when it creates tables without references to others, indexes on tables that were there that are not unique, and columns that are
    /// nullable or have a default, and inserts into tables of its own alone.
    package func problem(for dialect: SQLDialect) -> String? {
        guard isBackwardCompatible else { return nil }
        var created: Set<String> = []
        for statement in statements(for: dialect) {
            let words = statement.split { $0.isWhitespace || $0 == "(" }.map(String.init)
            let text = words.joined(separator: " ").uppercased()
            func name(after count: Int) -> String { words.count > count ? words[count] : "" }
            switch words.prefix(2).joined(separator: " ").uppercased() {
            case "CREATE TABLE" where !text.contains(" REFERENCES "): created.insert(name(after: 2))
            case "CREATE INDEX": continue
            case "CREATE UNIQUE" where created.contains(name(after: 5)): continue
            case "INSERT INTO" where created.contains(name(after: 2)): continue
            case "ALTER TABLE" where text.contains(" ADD COLUMN ") && (!text.contains(" NOT NULL") || text.contains(" DEFAULT ")): continue
            default:
                return "version \(version) of '\(module)' is declared to be backward compatible and does more than add: \(statement.prefix(80))"
            }
        }
        return nil
    }
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
