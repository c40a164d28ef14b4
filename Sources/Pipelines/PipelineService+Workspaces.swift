import Contracts
import Foundation
import Storage

/// What a workspace keeps of pipelines.
extension PipelineService {
    /// What a workspace holds, in words; nil when no run is under way. What has ended is no reason to keep a workspace: the ledger tells of it.
    public static func workspaceHolds(_ db: some Querying) throws -> String? {
        let count = try PipelineStore.unfinishedCount(db)
        return count == 0 ? nil : "\(count) pipeline runs under way"
    }

    /// Forgets the runs that ended in a workspace, and the results that were kept in it, in the transaction that deletes the workspace.
    public static func clearWorkspace(_ tx: Transaction) throws { try PipelineStore.clear(tx) }
}
