import Contracts
import Datasets
import FeatureStore

extension DatasetService {
    /// The rows of a snapshot for the feature store, with what says when each became known.
    func featureRows(_ snapshot: Snapshot, in workspace: WorkspaceID) async throws -> SourceRows {
        let parts = try await parts(of: snapshot, in: workspace).map { SourceRows.Part(files: $0.files, acceptedAt: $0.ingestedAt) }
        let knownAt = try spec(ResourceRef("Dataset", snapshot.dataset, in: workspace)).knownAt
        return SourceRows(parts, accepted: AcceptedTime.column, knownAt: knownAt)
    }
}
