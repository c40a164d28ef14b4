import Contracts
import Importing
import Storage

extension RegistryTables {
    /// What was imported from where, and what it was then.
    public static let importMigrations = [
        Migration(
            module: "registry.imports", version: 1,
            [
                """
                CREATE TABLE registry_imports (
                    source TEXT NOT NULL, kind TEXT NOT NULL, foreign_id TEXT NOT NULL, digest TEXT NOT NULL, imported_ms BIGINT NOT NULL,
                    PRIMARY KEY (source, kind, foreign_id))
                """
            ]),
        Migration(
            module: "registry.imports", version: 2,
            [
                .rebuild(
                    "registry_imports",
                    columns: [
                        .init("workspace TEXT NOT NULL", from: "'default'"), "source TEXT NOT NULL", "kind TEXT NOT NULL",
                        "foreign_id TEXT NOT NULL", "digest TEXT NOT NULL", "imported_ms BIGINT NOT NULL",
                    ], primaryKey: ["workspace", "source", "kind", "foreign_id"])
            ]),
    ]
}

/// The kinds of things of the registry that imports bring.
public enum RegistryImportKind: String, Sendable, CaseIterable { case models, versions, aliases }

/// Bringing what another registry holds: numbers of versions and times are kept. Every thing brought is an event on its model.
extension RegistryService {
    /// How things of a foreign registry stand to Keel's, in the order asked. Versions are asked for as `name/number`.
    public func checkImport(
        _ kind: RegistryImportKind, _ things: [(id: String, digest: Digest)], from source: String, _ grant: Grant
    ) async throws -> [ImportState] {
        try grant.require(.registryRead)
        try ImportLimits.check(source: source, count: things.count)
        return try await database.read(in: grant.workspace) { db in
            try things.map { thing in
                let own: Digest? =
                    switch kind {
                    case .models: try RegistryImportStore.model(db, thing.id)?.digest
                    case .versions: try RegistryImportStore.version(db, thing.id)?.digest
                    case .aliases: try RegistryImportStore.aliases(db, thing.id, unlessNone: thing.digest)?.digest
                    }
                let imported = try db.row(
                    "SELECT digest FROM registry_imports WHERE workspace = ? AND source = ? AND kind = ? AND foreign_id = ?",
                    [db.inWorkspace, .string(source), .string(kind.rawValue), .string(thing.id)])
                return ImportState(
                    foreign: thing.digest, own: own, imported: imported.flatMap { Digest(hex: $0.text("digest")) }, claims: kind == .aliases
                )
            }
        }
    }

    /// Brings models without their versions; one that is there is replaced.
    public func importModels(_ models: [ForeignRegisteredModel], from source: String, _ grant: Grant) async throws {
        try await write(models, .models, source, grant) { tx, model in
            let exists = try RegistryStore.findModel(tx, model.name) != nil
            if !exists { try RegistryStore.insert(tx, model: model.name, description: model.description, tags: []) }
            try tx.execute("DELETE FROM registry_model_tags WHERE workspace = ? AND name = ?", [tx.inWorkspace, .string(model.name)])
            for tag in model.tags { try RegistryStore.set(tx, tag, model: model.name) }
            try tx.execute(
                "UPDATE registry_models SET description = ?, created_ms = ?, updated_ms = ? WHERE workspace = ? AND name = ?",
                [
                    .string(model.description), .int(model.createdAt.milliseconds), .int(model.updatedAt.milliseconds), tx.inWorkspace,
                    .string(model.name),
                ])
            try RegistryStore.raiseNumber(tx, of: model.name, to: model.lastVersion)
            try tx.record(
                "model.imported", on: "Model/\(model.name)",
                [
                    "description": .string(model.description), "tags": .object(model.tags.map { JSON.Member($0.key, .string($0.value)) }),
                    "from": .string(source), "digest": .string(model.digest.hex),
                ], by: grant)
        }
    }

    /// Brings versions under the numbers that they have.
    public func importVersions(_ versions: [ModelVersion], from source: String, _ grant: Grant) async throws {
        try await write(versions, .versions, source, grant) { tx, version in
            let key: [Value] = [try tx.inWorkspace, .string(version.name), .int(Int64(version.version))]
            guard try RegistryStore.findModel(tx, version.name) != nil else {
                throw KeelError.notFound("Registered Model with name=\(version.name) not found")
            }
            let exists = try tx.row("SELECT version FROM registry_versions WHERE workspace = ? AND name = ? AND version = ?", key) != nil
            try RegistryImportStore.checkNumber(tx, version, exists: exists, from: source)
            if !exists {
                try RegistryStore.insert(tx, version)
            } else {
                try tx.execute("DELETE FROM registry_version_tags WHERE workspace = ? AND name = ? AND version = ?", key)
                for tag in version.tags { try RegistryStore.set(tx, tag, version: version.version, of: version.name) }
                try RegistryImportStore.update(tx, version, key)
            }
            try RegistryStore.raiseNumber(tx, of: version.name, to: version.version)
            try tx.record(
                "model.version.imported", on: "Model/\(version.name)",
                [
                    "version": .int(Int64(version.version)), "source": .string(version.source),
                    "run": version.runID.map(JSON.string) ?? .null,
                    "stage": .string(version.stage.rawValue), "from": .string(source), "digest": .string(version.digest.hex),
                ], by: grant)
        }
    }

    /// Makes the aliases of models what they are in the foreign store.
    public func importAliases(_ models: [ForeignAliases], from source: String, _ grant: Grant) async throws {
        try await write(models, .aliases, source, grant) { tx, model in
            let key = [try tx.inWorkspace, .string(model.model)]
            let before = try tx.rows("SELECT alias, version FROM registry_aliases WHERE workspace = ? AND name = ?", key)
                .map { ModelAlias(alias: $0.text("alias"), version: Int($0.int("version"))) }
            _ = try RegistryStore.model(tx, model.model)
            for alias in model.aliases { _ = try RegistryStore.version(tx, model.model, alias.version) }
            try checkMayMove(Set(before).symmetricDifference(model.aliases).map(\.alias), of: model.model, grant)
            try tx.execute("DELETE FROM registry_aliases WHERE workspace = ? AND name = ?", key)
            for alias in model.aliases {
                try tx.execute(
                    "INSERT INTO registry_aliases (workspace, name, alias, version) VALUES (?, ?, ?, ?)",
                    key + [.string(alias.alias), .int(Int64(alias.version))])
            }
            try tx.record(
                "model.aliases.imported", on: "Model/\(model.model)",
                ["aliases": .object(model.aliases.map { JSON.Member($0.alias, .int(Int64($0.version))) }), "from": .string(source)],
                by: grant)
        }
    }

    private func write<Thing: ImportRecord>(
        _ things: [Thing], _ kind: RegistryImportKind, _ source: String, _ grant: Grant,
        _ body: @escaping @Sendable (Transaction, Thing) throws -> Void
    ) async throws {
        try grant.require(.registryWrite)
        try ImportLimits.check(source: source, count: things.count)
        try await guarded(things.first?.importID ?? "", grant) { tx in
            for thing in things {
                try body(tx, thing)
                try tx.execute(
                    """
                    INSERT INTO registry_imports (workspace, source, kind, foreign_id, digest, imported_ms) VALUES (?, ?, ?, ?, ?, ?)
                    ON CONFLICT (workspace, source, kind, foreign_id) DO UPDATE SET digest = excluded.digest, imported_ms = excluded.imported_ms
                    """,
                    [
                        tx.inWorkspace, .string(source), .string(kind.rawValue), .string(thing.importID), .string(thing.digest.hex),
                        .int(tx.now.milliseconds),
                    ])
            }
        }
    }
}

/// What Keel's registry holds, as a foreign store would say it.
enum RegistryImportStore {
    static func model(_ db: some Querying, _ name: String) throws -> ForeignRegisteredModel? {
        let key = [try db.inWorkspace, .string(name)]
        guard let row = try db.row("SELECT * FROM registry_models WHERE workspace = ? AND name = ?", key) else { return nil }
        let tags = try db.rows("SELECT * FROM registry_model_tags WHERE workspace = ? AND name = ?", key)
        return ForeignRegisteredModel(
            name: name, description: row.text("description"), lastVersion: Int(row.int("last_version")),
            createdAt: Timestamp(milliseconds: row.int("created_ms")), updatedAt: Timestamp(milliseconds: row.int("updated_ms")),
            tags: tags.map { ModelTag($0.text("key"), $0.text("value")) })
    }

    /// A number means one version for ever: an import may bring a version back, or bring what it brought once anew, but never another one under a
    /// number that was used here.
    static func checkNumber(_ tx: Transaction, _ version: ModelVersion, exists: Bool, from source: String) throws {
        let imported = try tx.row(
            "SELECT digest FROM registry_imports WHERE workspace = ? AND source = ? AND kind = ? AND foreign_id = ?",
            [tx.inWorkspace, .string(source), .string(RegistryImportKind.versions.rawValue), .string(version.importID)])?.text("digest")
        let isRetired = try RegistryStore.isRetired(tx, version.name, version.version)
        guard exists ? imported != nil : !isRetired || imported == version.digest.hex else {
            throw KeelError(
                .alreadyExists, "\(version.uri) was another version here: its number is not used twice",
                hint: "import the model under another name")
        }
    }

    /// - Parameter id: `name/number`; a name may hold a slash.
    static func version(_ db: some Querying, _ id: String) throws -> ModelVersion? {
        guard let slash = id.lastIndex(of: "/"), let number = Int(id[id.index(after: slash)...]) else { return nil }
        return try RegistryStore.findVersion(db, String(id[..<slash]), number)
    }

    /// To have no aliases is to have nothing, unless to have none is what `foreign` says.
    static func aliases(_ db: some Querying, _ name: String, unlessNone foreign: Digest) throws -> ForeignAliases? {
        let rows = try db.rows("SELECT * FROM registry_aliases WHERE workspace = ? AND name = ?", [db.inWorkspace, .string(name)])
        let own = ForeignAliases(model: name, aliases: rows.map { ($0.text("alias"), Int($0.int("version"))) })
        return rows.isEmpty && own.digest != foreign ? nil : own
    }

    static func update(_ tx: Transaction, _ version: ModelVersion, _ key: [Value]) throws {
        try tx.execute(
            """
            UPDATE registry_versions SET source = ?, storage_location = ?, run_id = ?, run_link = ?, model_id = ?, user_id = ?, stage = ?,
                description = ?, created_ms = ?, updated_ms = ? WHERE workspace = ? AND name = ? AND version = ?
            """,
            [
                .string(version.source), .string(version.storageLocation), version.runID.map(Value.string) ?? .null,
                version.runLink.map(Value.string) ?? .null, version.modelID.map(Value.string) ?? .null, .string(version.userID),
                .string(version.stage.rawValue), .string(version.description), .int(version.createdAt.milliseconds),
                .int(version.updatedAt.milliseconds),
            ] + key)
    }
}
