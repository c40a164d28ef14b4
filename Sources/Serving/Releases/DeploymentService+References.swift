import Contracts
import Storage

extension DeploymentService {
    /// The bundles of all releases, of every endpoint in every workspace: each can be rolled back to.
    public func bundles(_ grant: Grant) async throws -> Set<Digest> {
        try grant.require(.storageCollect)
        return try await database.read { db in try DeploymentService.bundles(in: db) }
    }

    /// The same inside a transaction or read.
    public static func bundles(in db: some Querying) throws -> Set<Digest> {
        Set(try db.rows("SELECT DISTINCT bundle FROM releases").compactMap { Digest(hex: $0.text("bundle")) })
    }

    /// The releases (`endpoint/number`) of a model version, or of any version of the model, in the workspace of the transaction or read: what serves,
    /// and what can be rolled back to. A version that has one must not be deleted.
    ///
    /// It needs no service: the registry, which serving is made after, asks it.
    public static func releases(ofModel model: String, version: String? = nil, in db: some Querying) throws -> [String] {
        try ReleaseStore.names(model: model, version: version, in: db)
    }

    /// Every model version that has a release, in the workspace of the transaction or read.
    public static func releasedVersions(in db: some Querying) throws -> [(model: String, version: String)] {
        try db.rows("SELECT DISTINCT model, model_version FROM releases WHERE workspace = ?", [db.inWorkspace]).map {
            ($0.text("model"), $0.text("model_version"))
        }
    }

    /// Forgets what serves the endpoints of the transaction's workspace that are declared no more. Their releases stay, and one that is declared again
    /// serves nothing until something is released to it.
    /// - Parameter declared: every endpoint of the workspace that is stored, whether it can be read or not.
    public static func forgetState(allBut declared: Set<ResourceRef>, in tx: Transaction) throws {
        // A name from before endpoints had environments may be that of any of them.
        let rows = try tx.rows(
            """
            SELECT workspace, endpoint FROM endpoint_state s WHERE workspace = ?
                AND NOT EXISTS (SELECT 1 FROM old_endpoint_names o WHERE o.endpoint = s.endpoint AND o.environment IS NULL)
            """, [tx.inWorkspace])
        for row in rows where !declared.contains(ReleaseStore.endpoint(row)) {
            try tx.execute("DELETE FROM endpoint_state WHERE workspace = ? AND endpoint = ?", [tx.inWorkspace, .string(row.text("endpoint"))])
        }
    }

    /// What is in the workspace of the transaction or read; nil when there is nothing.
    public static func workspaceHolds(_ db: some Querying) throws -> String? {
        let count = try db.row("SELECT count(*) AS n FROM releases WHERE workspace = ?", [db.inWorkspace])?.int("n") ?? 0
        return count > 0 ? "\(count) releases" : nil
    }

    /// What was decided about the releases of a model version, on every endpoint that the grant covers, oldest first.
    /// - Parameter limit: how many, the newest.
    /// - Returns: the events, and whether there are older ones.
    public func decisions(
        model: String, version: String, limit: Int, _ grant: Grant
    ) async throws -> (events: [LedgerEvent], hasOlder: Bool) {
        try grant.requireSome(.releasesRead)
        return try await database.read(in: grant.workspace) { db in
            let endpoints = try db.rows(
                """
                SELECT workspace, endpoint, min(created_seq) AS first FROM releases WHERE workspace = ? AND model = ? AND model_version = ?
                GROUP BY workspace, endpoint
                """, [db.inWorkspace, .string(model), .string(version)])
            var found: [LedgerEvent] = []
            for row in endpoints {
                let endpoint = ReleaseStore.endpoint(row)
                guard grant.covers(endpoint) else { continue }
                // Nothing was decided about a release before the event that made it, whatever the clock showed.
                let first = row.int("first") - 1
                var places: [(subject: String, after: Int64, before: Int64)] = [(endpoint.subject, first, .max)]
                if let old = try DeploymentService.oldSubject(of: endpoint, in: db) { places.append((old.subject, first, old.until + 1)) }
                for place in places {
                    for kind in DeploymentService.decisionKinds {
                        found += try DeploymentService.decisions(
                            db, kind, on: place.subject, after: place.after, before: place.before, atLeast: limit + 1
                        ) { $0.data["model"] == .string(model) && $0.data["version"] == .string(version) }
                    }
                }
            }
            found.sort { $0.seq < $1.seq }
            return (Array(found.suffix(limit)), found.count > limit)
        }
    }

    /// The events that say what was decided about a release.
    private static let decisionKinds = ["release.created", "rollout.started", "rollout.aborted", "release.promoted", "release.rolledback"]
    private static let pageSize = 500

    /// Reads back, page by page, until there are so many that are wanted, or no more at all.
    static func decisions(
        _ db: some Querying, _ kind: String, on subject: String, after: Int64, before end: Int64, atLeast count: Int,
        where isWanted: (LedgerEvent) -> Bool
    ) throws -> [LedgerEvent] {
        var found: [LedgerEvent] = []
        var before = end
        while found.count < count {
            let page = try db.ledgerEvents(of: kind, on: subject, after: after, before: before, limit: pageSize)
            found += page.filter(isWanted)
            guard page.count == pageSize, let last = page.last else { break }
            before = last.seq
        }
        return found
    }
}
