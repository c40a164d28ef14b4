import Contracts

/// Endpoints that are ready and not in force yet. See `DeploymentService.prepare`.
public struct EndpointDraft: Sendable {
    /// Whose endpoints they are; those of other workspaces stay as they are.
    let workspace: WorkspaceID
    var endpoints: [ResourceRef: DeploymentService.Live] = [:]
    /// Endpoints whose stored release cannot be loaded, and why. In force, they exist and answer that they have no release.
    public internal(set) var problems: [ResourceRef: KeelError] = [:]
    /// Taken for this draft, to be given back with it.
    var turns: [Turn] = []
    /// What the releases read their features from.
    let features: (any OnlineFeatures)?

    init(in workspace: WorkspaceID, features: (any OnlineFeatures)?) {
        self.workspace = workspace
        self.features = features
    }

    func giveTurns() { for turn in turns.reversed() { turn.give() } }
}
