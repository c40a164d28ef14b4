import Contracts
import Storage

/// What versions need of others, for whoever removes what nobody needs. Asked inside that transaction or read, under its grant.
extension RegistryService {
    /// Where the files of versions lie, each URI with the version: the place, the source it was given as, and its logged model.
    public static func neededArtifacts(_ db: some Querying, _ grant: Grant) throws -> [(uri: String, by: String)] {
        try grant.require(.storageCollect)
        var out: [(uri: String, by: String)] = []
        let sql = "SELECT name, version, source, storage_location, model_id FROM registry_versions WHERE workspace = ? ORDER BY name, version"
        try db.forEach(sql, [db.inWorkspace]) { row in
            let by = "models:/\(row.text("name"))/\(row.int("version"))"
            let uris = [row.text("storage_location"), row.text("source"), row.optionalText("model_id").map { "models:/\($0)" } ?? ""]
            for uri in Set(uris) where !uri.isEmpty { out.append((uri, by)) }
        }
        return out
    }

    /// Whether a version is registered, inside a transaction or read.
    public static func isRegistered(_ db: some Querying, model name: String, version: Int) throws -> Bool {
        try RegistryStore.findVersion(db, name, version) != nil
    }

    /// Where the files of some versions lie, and the artifacts of the runs that made them.
    public static func artifacts(_ db: some Querying, of versions: [VersionKey]) throws -> [(uri: String, by: String)] {
        var out: [(uri: String, by: String)] = []
        for key in versions {
            guard let version = try RegistryStore.findVersion(db, key.name, key.version) else { continue }
            for uri in [version.storageLocation, version.runID.map { "runs:/\($0)" }].compactMap(\.self) { out.append((uri, key.uri)) }
        }
        return out
    }
}

extension RegistryService {
    /// What is in the workspace of the transaction or read; nil when there is nothing.
    public static func workspaceHolds(_ db: some Querying) throws -> String? {
        for (table, what) in [("registry_models", "registered models"), ("registry_webhooks", "webhooks")] {
            let count = try db.row("SELECT count(*) AS n FROM \(table) WHERE workspace = ?", [db.inWorkspace])?.int("n") ?? 0
            if count > 0 { return "\(count) \(what)" }
        }
        return nil
    }

    /// The names of all models of the workspace.
    public func modelNames(_ grant: Grant) async throws -> [String] {
        try grant.require(.registryRead)
        return try await database.read(in: grant.workspace) { db in
            try db.rows("SELECT name FROM registry_models WHERE workspace = ? ORDER BY name", [db.inWorkspace]).map { $0.text("name") }
        }
    }
}
