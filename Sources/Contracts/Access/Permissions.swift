/// What can be done, as `thing.verb`.
public enum Action: String, Sendable, CaseIterable {
    case resourcesRead = "resources.read"
    case resourcesApply = "resources.apply"
    case datasetsRead = "datasets.read"
    case datasetsIngest = "datasets.ingest"
    case eventsPush = "events.push"
    case featuresRead = "features.read"
    case trackingRead = "tracking.read"
    case trackingWrite = "tracking.write"
    case registryRead = "registry.read"
    case registryWrite = "registry.write"
    /// Take responsibility for a model version that somebody else registered.
    case modelsApprove = "models.approve"
    /// Let other workspaces have a model version, and take over what they offer.
    case modelsShare = "models.share"
    /// What is told to whom outside: their addresses may hold secrets, so reading them is this too.
    case webhooksManage = "webhooks.manage"
    case pipelinesRead = "pipelines.read"
    case pipelinesRun = "pipelines.run"
    case releasesRead = "releases.read"
    /// Create a release that passed its gate, promote, roll back.
    case releasesDeploy = "releases.deploy"
    /// Release a model whose gate refused it.
    case releasesForce = "releases.force"
    case predict = "predictions.create"
    case predictionsRead = "predictions.read"
    case labelsWrite = "labels.write"
    case monitorsRead = "monitors.read"
    case ledgerRead = "ledger.read"
    /// Read what happened in every workspace, from the workspace `default`: the whole chain is proved by all of it.
    case ledgerAudit = "ledger.audit"
    case serverRead = "server.read"
    /// Remove for good what is in the bin, and content that nothing refers to.
    case storageCollect = "storage.collect"
    /// Read everything that is stored, the server's keys too.
    case storageBackup = "storage.backup"
    case tokensManage = "tokens.manage"
    /// Say who may do what: roles and role bindings, and explain anyone's access.
    case accessManage = "access.manage"
    /// See the workspaces in which one has a role.
    case workspacesRead = "workspaces.read"
    /// Create, change and delete workspaces.
    case workspacesManage = "workspaces.manage"
}

/// The one table of who may do what. A conformance test walks every route through it.
public enum Permissions {
    private static let read: Set<Action> = [
        .resourcesRead, .datasetsRead, .featuresRead, .trackingRead, .registryRead, .pipelinesRead, .releasesRead, .monitorsRead,
        .serverRead, .workspacesRead,
    ]

    public static func actions(of persona: Persona) -> Set<Action> { table[persona] ?? [] }

    private static let table = Dictionary(uniqueKeysWithValues: Persona.allCases.map { ($0, declared($0)) })

    private static func declared(_ persona: Persona) -> Set<Action> {
        switch persona {
        case .owner: Set(Action.allCases)
        case .dataScientist: read.union([.datasetsIngest, .trackingWrite, .registryWrite, .pipelinesRun, .predict, .predictionsRead])
        case .mlEngineer:
            read.union([
                .resourcesApply, .datasetsIngest, .eventsPush, .trackingWrite, .registryWrite, .pipelinesRun, .releasesDeploy, .predict,
                .predictionsRead, .labelsWrite, .ledgerRead, .webhooksManage, .modelsShare,
            ])
        case .platformEngineer:
            read.union([
                .resourcesApply, .releasesDeploy, .ledgerRead, .webhooksManage, .tokensManage, .storageCollect, .accessManage, .workspacesManage,
                .ledgerAudit,
            ])
        case .riskOfficer: read.union([.predictionsRead, .ledgerRead, .ledgerAudit, .modelsApprove])
        case .member: []
        case .service: [.predict, .featuresRead, .eventsPush, .labelsWrite]
        case .system:
            read.union([
                .trackingWrite, .registryWrite, .pipelinesRun, .releasesDeploy, .predictionsRead, .ledgerRead, .resourcesApply,
                .datasetsIngest,
                .predict,
            ])
        }
    }
}
