import Contracts
import Storage

extension DeploymentService {
    /// The bundles of all releases, of every endpoint: each can be rolled back to.
    public func bundles(_ grant: Grant) async throws -> Set<Digest> {
        try grant.require(.storageCollect)
        return try await database.read { db in
            Set(try db.rows("SELECT DISTINCT bundle FROM releases").compactMap { Digest(hex: $0.text("bundle")) })
        }
    }
}
