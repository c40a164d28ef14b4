import Contracts
import Storage

/// SQL of models, versions, tags and aliases.
enum RegistryStore {
    static func findModel(_ db: some Querying, _ name: String) throws -> RegisteredModel? {
        guard let row = try db.row("SELECT * FROM registry_models WHERE workspace = ? AND name = ?", [db.inWorkspace, .string(name)]) else { return nil }
        return try withData(db, [model(row)])[0]
    }

    static func model(_ db: some Querying, _ name: String) throws -> RegisteredModel {
        try RegistryRules.check(modelName: name)
        guard let found = try findModel(db, name) else { throw KeelError.notFound("Registered Model with name=\(name) not found") }
        return found
    }

    static func findVersion(_ db: some Querying, _ name: String, _ version: Int) throws -> ModelVersion? {
        let sql = "SELECT * FROM registry_versions WHERE workspace = ? AND name = ? AND version = ?"
        guard let row = try db.row(sql, [db.inWorkspace, .string(name), .int(Int64(version))]) else { return nil }
        return try withData(db, [Self.version(row)])[0]
    }

    static func version(_ db: some Querying, _ name: String, _ version: Int) throws -> ModelVersion {
        try RegistryRules.check(modelName: name)
        guard let found = try findVersion(db, name, version) else {
            throw KeelError.notFound("Model Version (name=\(name), version=\(version)) not found")
        }
        return found
    }

    static func alias(_ db: some Querying, _ name: String, _ alias: String) throws -> Int? {
        let sql = "SELECT version FROM registry_aliases WHERE workspace = ? AND name = ? AND alias = ?"
        return try db.row(sql, [db.inWorkspace, .string(name), .string(alias)]).map { Int($0.int("version")) }
    }

    static func latestVersions(_ db: some Querying, _ name: String) throws -> [ModelVersion] {
        // A look-up for each stage: to group by stage would read every version.
        let newest = ModelStage.allCases.map { _ in "(SELECT max(version) FROM registry_versions WHERE workspace = ? AND name = ? AND stage = ?)" }
        let rows = try db.rows(
            "SELECT * FROM registry_versions WHERE workspace = ? AND name = ? AND version IN (\(newest.joined(separator: ", "))) ORDER BY version",
            [db.inWorkspace, .string(name)] + ModelStage.allCases.flatMap { [try db.inWorkspace, .string(name), .string($0.rawValue)] })
        return try withData(db, rows.map(Self.version))
    }

    static func versions(_ db: some Querying, of name: String, in stage: ModelStage) throws -> [Int] {
        try db.rows(
            "SELECT version FROM registry_versions WHERE workspace = ? AND name = ? AND stage = ? ORDER BY version",
            [db.inWorkspace, .string(name), .string(stage.rawValue)]
        )
        .map { Int($0.int("version")) }
    }

    static func versions(_ db: some Querying, of name: String) throws -> [Int] {
        let sql = "SELECT version FROM registry_versions WHERE workspace = ? AND name = ? ORDER BY version"
        return try db.rows(sql, [db.inWorkspace, .string(name)]).map { Int($0.int("version")) }
    }

    /// What a step of a pipeline run made before.
    static func version(_ db: some Querying, madeBy origin: StepOrigin) throws -> ModelVersion? {
        guard let row = try db.row("SELECT * FROM registry_versions WHERE made_by = ?", [.string(origin.key)]) else { return nil }
        return try withData(db, [Self.version(row)])[0]
    }

    static func isPrompt(_ db: some Querying, _ name: String) throws -> Bool {
        let sql = "SELECT value FROM registry_model_tags WHERE workspace = ? AND name = ? AND key = ?"
        let row = try db.row(sql, [db.inWorkspace, .string(name), .string(ModelTag.isPrompt)])
        return row?.text("value").lowercased() == "true"
    }

    // MARK: Writing

    static func set(_ tx: Transaction, stage: ModelStage, version: Int, of name: String) throws {
        try tx.execute(
            "UPDATE registry_versions SET stage = ?, updated_ms = ? WHERE workspace = ? AND name = ? AND version = ?",
            [.string(stage.rawValue), .int(tx.now.milliseconds), tx.inWorkspace, .string(name), .int(Int64(version))])
    }

    static func insert(_ tx: Transaction, model name: String, description: String, tags: [ModelTag]) throws {
        let now = Value.int(tx.now.milliseconds)
        try tx.execute(
            "INSERT INTO registry_models (workspace, name, description, last_version, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?)",
            [tx.inWorkspace, .string(name), .string(description), .int(Int64(try lastRetired(tx, of: name))), now, now])
        for tag in tags { try set(tx, tag, model: name) }
    }

    /// Takes the next number; numbers of deleted versions are not given again.
    static func nextVersion(_ tx: Transaction, of name: String) throws -> Int {
        try tx.execute(
            "UPDATE registry_models SET last_version = last_version + 1, updated_ms = ? WHERE workspace = ? AND name = ?",
            [.int(tx.now.milliseconds), tx.inWorkspace, .string(name)])
        let sql = "SELECT last_version FROM registry_models WHERE workspace = ? AND name = ?"
        return Int(try tx.row(sql, [tx.inWorkspace, .string(name)])?.int("last_version") ?? 0)
    }

    static func note(_ tx: Transaction, version: Int, of name: String, madeBy origin: StepOrigin) throws {
        try tx.execute(
            "UPDATE registry_versions SET made_by = ? WHERE workspace = ? AND name = ? AND version = ?",
            [.string(origin.key), tx.inWorkspace, .string(name), .int(Int64(version))])
    }

    static func insert(_ tx: Transaction, _ version: ModelVersion) throws {
        try tx.execute(
            """
            INSERT INTO registry_versions (
                workspace, name, version, source, storage_location, run_id, run_link, model_id, user_id, stage, description, created_ms,
                updated_ms, facts)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                try tx.inWorkspace, .string(version.name), .int(Int64(version.version)), .string(version.source), .string(version.storageLocation),
                version.runID.map(Value.string) ?? .null, version.runLink.map(Value.string) ?? .null,
                version.modelID.map(Value.string) ?? .null,
                .string(version.userID), .string(version.stage.rawValue), .string(version.description),
                .int(version.createdAt.milliseconds),
                .int(version.updatedAt.milliseconds), version.facts.map { .string($0.json.text) } ?? .null,
            ])
        for tag in version.tags { try set(tx, tag, version: version.version, of: version.name) }
    }

    static func touch(_ tx: Transaction, model name: String) throws {
        try tx.execute(
            "UPDATE registry_models SET updated_ms = ? WHERE workspace = ? AND name = ?",
            [.int(tx.now.milliseconds), tx.inWorkspace, .string(name)])
    }

    static func set(_ tx: Transaction, _ tag: ModelTag, model name: String) throws {
        try tx.execute(
            """
            INSERT INTO registry_model_tags (workspace, name, key, value) VALUES (?, ?, ?, ?)
            ON CONFLICT (workspace, name, key) DO UPDATE SET value = excluded.value
            """, [tx.inWorkspace, .string(name), .string(tag.key), .string(tag.value)])
    }

    static func set(_ tx: Transaction, _ tag: ModelTag, version: Int, of name: String) throws {
        try tx.execute(
            """
            INSERT INTO registry_version_tags (workspace, name, version, key, value) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (workspace, name, version, key) DO UPDATE SET value = excluded.value
            """, [tx.inWorkspace, .string(name), .int(Int64(version)), .string(tag.key), .string(tag.value)])
    }

    static func set(_ tx: Transaction, alias: String, version: Int, of name: String) throws {
        try tx.execute(
            """
            INSERT INTO registry_aliases (workspace, name, alias, version) VALUES (?, ?, ?, ?)
            ON CONFLICT (workspace, name, alias) DO UPDATE SET version = excluded.version
            """, [tx.inWorkspace, .string(name), .string(alias), .int(Int64(version))])
    }

    static func delete(_ tx: Transaction, version: Int, of name: String) throws {
        for table in ["registry_aliases", "registry_version_tags", "registry_versions"] {
            try tx.execute(
                "DELETE FROM \(table) WHERE workspace = ? AND name = ? AND version = ?",
                [tx.inWorkspace, .string(name), .int(Int64(version))])
        }
        try retire(tx, [version], of: name)
        try touch(tx, model: name)
    }

    static func delete(_ tx: Transaction, model name: String) throws {
        try retire(tx, try versions(tx, of: name), of: name)
        for table in ["registry_aliases", "registry_version_tags", "registry_versions", "registry_model_tags", "registry_models"] {
            try tx.execute("DELETE FROM \(table) WHERE workspace = ? AND name = ?", [tx.inWorkspace, .string(name)])
        }
    }

    // MARK: Numbers that were used

    /// Numbers of versions that are no more under this name are remembered: a release or an approval may name them for ever.
    static func retire(_ tx: Transaction, _ versions: some Sequence<Int>, of name: String) throws {
        for version in versions {
            try tx.execute(
                """
                INSERT INTO registry_retired_versions (workspace, name, version) VALUES (?, ?, ?)
                ON CONFLICT (workspace, name, version) DO NOTHING
                """, [tx.inWorkspace, .string(name), .int(Int64(version))])
        }
    }

    /// The highest number that was used under a name and is free of a version; 0 when there is none.
    static func lastRetired(_ db: some Querying, of name: String) throws -> Int {
        let sql = "SELECT max(version) AS version FROM registry_retired_versions WHERE workspace = ? AND name = ?"
        let row = try db.row(sql, [db.inWorkspace, .string(name)])
        return Int(row?.optionalInt("version") ?? 0)
    }

    static func isRetired(_ db: some Querying, _ name: String, _ version: Int) throws -> Bool {
        let sql = "SELECT 1 FROM registry_retired_versions WHERE workspace = ? AND name = ? AND version = ?"
        return try db.row(sql, [db.inWorkspace, .string(name), .int(Int64(version))]) != nil
    }

    /// A number that was used under `name` and is one of the versions of `other`.
    static func retiredVersion(_ db: some Querying, of name: String, alsoOf other: String) throws -> Int? {
        try db.row(
            """
            SELECT min(r.version) AS version FROM registry_retired_versions r JOIN registry_versions v ON v.version = r.version
            WHERE r.workspace = ? AND r.name = ? AND v.workspace = r.workspace AND v.name = ?
            """, [db.inWorkspace, .string(name), .string(other)])?.optionalInt("version").map { Int($0) }
    }

    static func raiseNumber(_ tx: Transaction, of name: String, to number: Int) throws {
        try tx.execute(
            "UPDATE registry_models SET last_version = ? WHERE workspace = ? AND name = ? AND last_version < ?",
            [.int(Int64(number)), tx.inWorkspace, .string(name), .int(Int64(number))])
    }

    // MARK: Rows

    static func model(_ row: SQLRow) -> RegisteredModel {
        RegisteredModel(
            name: row.text("name"), description: row.text("description"), createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")))
    }

    static func version(_ row: SQLRow) -> ModelVersion {
        ModelVersion(
            name: row.text("name"), version: Int(row.int("version")), source: row.text("source"),
            storageLocation: row.text("storage_location"),
            runID: row.optionalText("run_id"), runLink: row.optionalText("run_link"), modelID: row.optionalText("model_id"),
            userID: row.text("user_id"),
            stage: ModelStage(rawValue: row.text("stage")) ?? .none, description: row.text("description"),
            createdAt: Timestamp(milliseconds: row.int("created_ms")), updatedAt: Timestamp(milliseconds: row.int("updated_ms")),
            facts: row.optionalText("facts").flatMap { try? ModelFacts(json: JSON.parse($0)) })
    }

    static func withData(_ db: some Querying, _ models: [RegisteredModel]) throws -> [RegisteredModel] {
        try models.map { model in
            var model = model
            let key = [try db.inWorkspace, .string(model.name)]
            model.tags = try db.rows("SELECT * FROM registry_model_tags WHERE workspace = ? AND name = ? ORDER BY key", key).map {
                ModelTag($0.text("key"), $0.text("value"))
            }
            model.aliases = try db.rows("SELECT * FROM registry_aliases WHERE workspace = ? AND name = ? ORDER BY alias", key)
                .map { ModelAlias(alias: $0.text("alias"), version: Int($0.int("version"))) }
            model.latest = try latestVersions(db, model.name)
            return model
        }
    }

    static func withData(_ db: some Querying, _ versions: [ModelVersion]) throws -> [ModelVersion] {
        try versions.map { version in
            var version = version
            let key: [Value] = [try db.inWorkspace, .string(version.name), .int(Int64(version.version))]
            version.tags = try db.rows("SELECT * FROM registry_version_tags WHERE workspace = ? AND name = ? AND version = ? ORDER BY key", key)
                .map { ModelTag($0.text("key"), $0.text("value")) }
            let aliases = "SELECT alias FROM registry_aliases WHERE workspace = ? AND name = ? AND version = ? ORDER BY alias"
            version.aliases = try db.rows(aliases, key).map { $0.text("alias") }
            return version
        }
    }
}
