import Contracts
import Storage

extension PipelineService {
    /// Every digest that outputs of steps in any workspace name: the cache gives them out again, and runs are asked for them later.
    public func referencedDigests(_ grant: Grant) async throws -> Set<Digest> {
        try grant.require(.storageCollect)
        return try await database.read { db in
            var found: Set<Digest> = []
            for table in ["pipeline_cache", "pipeline_steps"] {
                try db.forEach("SELECT outputs FROM \(table) WHERE outputs IS NOT NULL", []) { row in
                    PipelineService.collect(try row.json("outputs"), into: &found)
                }
            }
            return found
        }
    }

    private static func collect(_ json: JSON, into found: inout Set<Digest>) {
        if let digest = json.string.flatMap({ Digest(hex: $0) }) { found.insert(digest) }
        for item in json.array ?? [] { collect(item, into: &found) }
        for member in json.members ?? [] { collect(member.value, into: &found) }
    }
}
