import Contracts
import Storage

/// What tracking asks before it removes artifacts for good. Platform connects it.
public protocol ArtifactUsage: Sendable {
    /// The artifact URIs (`mlflow-artifacts:/…`, `runs:/…`, `models:/m-…`) that others need, such as the sources of model versions, each with who
    /// needs it (`models:/delay/3`). It is asked inside the transaction that removes, so that nobody can begin to need what is being removed.
    func needed(_ db: any Querying, _ grant: Grant) throws -> [(uri: String, by: String)]
    /// Those of them that nobody may remove or replace, because they belong to what serves or can be rolled back to.
    func pinned(_ db: any Querying) throws -> [(uri: String, by: String)]
}
