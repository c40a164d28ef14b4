import Contracts
import Storage

/// What versions need of others, for whoever removes what nobody needs. Asked inside that transaction or read, under its grant.
extension RegistryService {
    /// Where the files of versions lie, each URI with the version: the place, the source it was given as, and its logged model.
    public static func neededArtifacts(_ db: some Querying, _ grant: Grant) throws -> [(uri: String, by: String)] {
        try grant.require(.storageCollect)
        var out: [(uri: String, by: String)] = []
        try db.forEach("SELECT name, version, source, storage_location, model_id FROM registry_versions ORDER BY name, version", []) {
            row in
            let by = "models:/\(row.text("name"))/\(row.int("version"))"
            let uris = [row.text("storage_location"), row.text("source"), row.optionalText("model_id").map { "models:/\($0)" } ?? ""]
            for uri in Set(uris) where !uri.isEmpty { out.append((uri, by)) }
        }
        return out
    }

    /// The values that versions have of a tag.
    public func versionTagValues(key: String, _ grant: Grant) async throws -> [String] {
        try grant.require(.storageCollect)
        return try await database.read { db in
            try db.rows("SELECT DISTINCT value FROM registry_version_tags WHERE key = ?", [.string(key)]).map { $0.text("value") }
        }
    }
}
