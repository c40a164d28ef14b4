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

    /// What was decided about the releases of a model version, on every endpoint, oldest first. Of each endpoint its newest thousand events are read.
    public func decisions(model: String, version: String, _ grant: Grant) async throws -> [LedgerEvent] {
        try grant.require(.releasesRead)
        return try await database.read { db in
            let endpoints = try db.rows(
                "SELECT DISTINCT endpoint FROM releases WHERE model = ? AND model_version = ? ORDER BY endpoint LIMIT 100",
                [.string(model), .string(version)])
            let events = try endpoints.flatMap {
                try db.ledgerEvents(on: EndpointSpec.subject(of: $0.text("endpoint")), before: .max, limit: 1000)
            }
            return events.filter { $0.data["model"] == .string(model) && $0.data["version"] == .string(version) }.sorted { $0.seq < $1.seq }
        }
    }
}
