import Contracts
import Storage

/// What a workspace has of tracking. Asked inside the transaction that creates or deletes it, which is one of that workspace.
extension TrackingService {
    private static let standardExperiment = "Default"

    /// Makes the experiment that every workspace has.
    public static func prepareWorkspace(_ tx: Transaction) throws {
        _ = try ExperimentStore.insert(tx, name: standardExperiment, artifactLocation: nil, tags: [])
    }

    /// What is in the workspace besides an experiment without runs; nil when there is nothing.
    public static func workspaceHolds(_ db: some Querying) throws -> String? {
        let kinds = [
            ("tracking_runs", "runs", ""), ("tracking_logged_models", "logged models", ""),
            ("tracking_evaluation_datasets", "evaluation datasets", ""), ("tracking_uploads", "uploads", ""),
            ("tracking_experiments", "experiments", " AND name <> '\(standardExperiment)'"),
        ]
        for (table, what, rest) in kinds {
            let count = try db.row("SELECT count(*) AS n FROM \(table) WHERE workspace = ?\(rest)", [db.inWorkspace])?.int("n") ?? 0
            if count > 0 { return "\(count) \(what)" }
        }
        let artifacts = try ArtifactStore.size(db, ArtifactPath("", in: db.requiredWorkspace)).objects
        return artifacts > 0 ? "\(artifacts) artifacts" : nil
    }

    public static func clearWorkspace(_ tx: Transaction) throws {
        for row in try tx.rows("SELECT id FROM tracking_experiments WHERE workspace = ?", [tx.inWorkspace]) {
            let id = row.int("id")
            try ExperimentStore.retire(tx, id)
            for table in PurgeStore.experimentTables { try tx.execute("DELETE FROM \(table) WHERE experiment_id = ?", [.int(id)]) }
            try tx.execute("DELETE FROM tracking_experiments WHERE id = ?", [.int(id)])
        }
    }
}
