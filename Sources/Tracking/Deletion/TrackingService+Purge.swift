import Contracts
import Storage

/// Removing for good what lies in the bin: runs, logged models and experiments with all that was logged to them and their artifacts' paths. Their
/// content goes afterwards, with what nothing else refers to.
extension TrackingService {
    /// How many things one transaction removes, so that writers do not wait long.
    private static let batch = 20

    /// What `purge` would remove now, and what it would keep and why.
    /// - Throws: for a named thing that does not exist, is not in the bin, or is not old enough, in MLflow's words.
    public func purgeable(_ request: PurgeRequest, _ grant: Grant) async throws -> [PurgeItem] {
        try grant.require(.storageCollect)
        let (usage, now) = (artifactUsage, database.clock.now())
        return try await database.read(in: grant.workspace) { try PurgeStore.items($0, request, PurgeStore.needs($0, usage, grant), now: now) }
    }

    /// Removes it, a few at a time, each few in one transaction. Interrupted, what is left goes the next time. When nothing is named, files that came with
    /// offers and that no model version needs any more go as well.
    /// - Returns: what went, and what was kept.
    public func purge(_ request: PurgeRequest, _ grant: Grant) async throws -> [PurgeItem] {
        let items = try await purgeable(request, grant)
        let usage = artifactUsage
        var out = items.filter { $0.keptFor != nil }
        let going = items.filter { $0.keptFor == nil }
        for start in stride(from: 0, to: going.count, by: TrackingService.batch) {
            let some = Array(going[start..<min(start + TrackingService.batch, going.count)])
            out += try await database.write(in: grant.workspace) { tx in try PurgeStore.purge(tx, some, PurgeStore.needs(tx, usage, grant), grant) }
        }
        if !request.isNamed {
            try await database.write(in: grant.workspace) { tx in try PurgeStore.removeUnneededOffers(tx, PurgeStore.needs(tx, usage, grant), grant) }
        }
        return out
    }

    /// The content that begins with a prefix of hexadecimal digits and that artifacts need, but for those of `items`.
    public func contentReferences(prefix: String, without items: [PurgeItem] = [], _ grant: Grant) async throws -> Set<Digest> {
        try grant.require(.storageCollect)
        let roots = Set(items.filter { $0.keptFor == nil }.compactMap(\.root))
        return try await database.read { try ArtifactStore.references($0, prefix: prefix, butWithin: roots) }
    }

    /// All content that artifacts refer to.
    public static func storedContent(in db: some Querying) throws -> Set<Digest> {
        try ArtifactStore.references(db, prefix: "", butWithin: [])
    }
}
