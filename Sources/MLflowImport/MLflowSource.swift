import Contracts
import Storage

/// The database of an MLflow server, read by what its tables have: versions 2.x and 3.x differ in columns and tables, and what an older one lacks
/// reads as absent.
public struct MLflowSource: Sendable {
    let database: any ForeignDatabase
    let columns: [String: Set<String>]
    /// Alembic's name of the schema.
    public let schema: String
    /// The workspace that is read, of stores that have several.
    static let workspace = "default"

    public var name: String { database.name }

    /// - Throws: an error that says what is missing when the database is none of MLflow's.
    public static func open(url: String) async throws -> MLflowSource {
        try await Blocking.run {
            let database = try ForeignDatabases.open(url: url)
            let columns = try database.columns()
            let needed = [
                "alembic_version": ["version_num"], "experiments": ["experiment_id", "name"], "runs": ["run_uuid", "experiment_id"],
                "metrics": ["run_uuid", "key", "value", "timestamp", "step", "is_nan"], "latest_metrics": ["run_uuid", "key", "value"],
                "params": ["run_uuid", "key", "value"], "tags": ["run_uuid", "key", "value"],
            ]
            let missing = needed.filter { table, names in !names.allSatisfy { columns[table]?.contains($0) ?? false } }.keys.sorted()
            guard missing.isEmpty else {
                throw KeelError.invalid(
                    "\(database.name) is no database of MLflow 2 or 3: "
                        + (columns.isEmpty ? "it has no tables" : "it lacks \(missing.joined(separator: ", ")) or columns of them"),
                    hint: "an older store is brought up to date with 'mlflow db upgrade'")
            }
            let schema = try database.rows("SELECT version_num FROM alembic_version", []).first?.text("version_num") ?? ""
            return MLflowSource(database: database, columns: columns, schema: schema)
        }
    }

    func has(_ table: String) -> Bool { columns[table] != nil }
    func has(_ table: String, _ column: String) -> Bool { columns[table]?.contains(column) ?? false }

    /// ` AND workspace = …`, for tables that know workspaces.
    func inWorkspace(_ table: String) -> String { has(table, "workspace") ? " AND workspace = '\(MLflowSource.workspace)'" : "" }

    func count(_ table: String) throws -> Int64 { try database.rows("SELECT count(*) AS n FROM \(table)", []).first?.int("n") ?? 0 }

    /// The rows of a table that belong to `ids`, by the id; none when there is no such table.
    func rows(_ table: String, _ column: String, _ ids: [String], _ condition: String = "") throws -> [String: [ForeignRow]] {
        guard has(table), !ids.isEmpty else { return [:] }
        let marks = repeatElement("?", count: ids.count).joined(separator: ", ")
        let rows = try database.rows("SELECT * FROM \(table) WHERE \(column) IN (\(marks))\(condition)", ids.map(Value.string))
        return Dictionary(grouping: rows) { $0.text(column) }
    }

    /// What the store holds that has no place in Keel yet, in words.
    func unsupported() throws -> [String] {
        let tables = [
            ("trace_info", "traces"), ("assessments", "assessments"), ("webhooks", "webhooks"),
            ("scorers", "scorers"), ("issues", "issues"), ("label_schemas", "label schemas"), ("review_queues", "review queues"),
            ("mcp_servers", "MCP servers"), ("secrets", "gateway secrets"), ("endpoints", "gateway endpoints"),
        ]
        var out: [String] = []
        for (table, words) in tables where has(table) {
            let count = try count(table)
            if count > 0 { out.append("\(count) \(words)") }
        }
        for table in ["experiments", "registered_models"] where has(table, "workspace") {
            let others =
                try database.rows("SELECT count(*) AS n FROM \(table) WHERE workspace <> '\(MLflowSource.workspace)'", []).first?.int("n")
                ?? 0
            if others > 0 {
                out.append("\(others) \(table.replacing("_", with: " ")) of other workspaces than '\(MLflowSource.workspace)'")
            }
        }
        return out
    }

    // MARK: Registry

    func registeredModels(after name: String, limit: Int) throws -> [ForeignRow] {
        guard has("registered_models") else { return [] }
        return try database.rows(
            "SELECT * FROM registered_models WHERE name > ?\(inWorkspace("registered_models")) ORDER BY name LIMIT ?",
            [.string(name), .int(Int64(limit))])
    }

    /// The highest version number of each model, deleted ones included: MLflow keeps their rows.
    func lastVersions(_ names: [String]) throws -> [String: Int] {
        guard has("model_versions"), !names.isEmpty else { return [:] }
        let marks = repeatElement("?", count: names.count).joined(separator: ", ")
        let rows = try database.rows(
            "SELECT name, max(version) AS last FROM model_versions WHERE name IN (\(marks))\(inWorkspace("model_versions")) GROUP BY name",
            names.map(Value.string))
        return Dictionary(rows.map { ($0.text("name"), Int($0.int("last"))) }, uniquingKeysWith: max)
    }

    func versions(after key: (name: String, version: Int64), limit: Int) throws -> [ForeignRow] {
        guard has("model_versions") else { return [] }
        return try database.rows(
            """
            SELECT * FROM model_versions WHERE (name > ? OR (name = ? AND version > ?))\(inWorkspace("model_versions"))
            ORDER BY name, version LIMIT ?
            """, [.string(key.name), .string(key.name), .int(key.version), .int(Int64(limit))])
    }

    // MARK: Evaluation datasets

    func evaluationDatasets(after id: String, limit: Int) throws -> [ForeignRow] {
        try database.rows(
            "SELECT * FROM evaluation_datasets WHERE dataset_id > ?\(inWorkspace("evaluation_datasets")) ORDER BY dataset_id LIMIT ?",
            [.string(id), .int(Int64(limit))])
    }

    func evaluationRecords(of dataset: String, after id: String, limit: Int) throws -> [ForeignRow] {
        guard has("evaluation_dataset_records") else { return [] }
        return try database.rows(
            "SELECT * FROM evaluation_dataset_records WHERE dataset_id = ? AND dataset_record_id > ? ORDER BY dataset_record_id LIMIT ?",
            [.string(dataset), .string(id), .int(Int64(limit))])
    }

    // MARK: Tracking

    func experiments(after id: Int64, limit: Int) throws -> [ForeignRow] {
        try database.rows(
            "SELECT * FROM experiments WHERE experiment_id > ?\(inWorkspace("experiments")) ORDER BY experiment_id LIMIT ?",
            [.int(id), .int(Int64(limit))])
    }

    func runs(after id: String, limit: Int) throws -> [ForeignRow] {
        try database.rows("SELECT * FROM runs WHERE run_uuid > ? ORDER BY run_uuid LIMIT ?", [.string(id), .int(Int64(limit))])
    }

    func loggedModels(after id: String, limit: Int) throws -> [ForeignRow] {
        guard has("logged_models") else { return [] }
        return try database.rows(
            "SELECT * FROM logged_models WHERE model_id > ? ORDER BY model_id LIMIT ?", [.string(id), .int(Int64(limit))])
    }
}
