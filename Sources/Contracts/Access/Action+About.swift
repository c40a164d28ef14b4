extension Action {
    /// What it allows, for the reference.
    public var about: String {
        switch self {
        case .resourcesRead: "read resources and their revisions, and plan changes"
        case .resourcesApply: "apply, restore and delete resources"
        case .datasetsRead: "read snapshots, profiles and quarantine"
        case .datasetsIngest: "ingest files, and seal pushed events into a snapshot"
        case .eventsPush: "push events to a dataset's stream"
        case .featuresRead: "read online features"
        case .trackingRead: "read experiments, runs, logged models and artifacts"
        case .trackingWrite: "log experiments, runs, logged models and artifacts"
        case .registryRead: "read registered models, their versions, history and cards"
        case .registryWrite: "change registered models: versions, aliases, tags"
        case .modelsApprove: "take responsibility for a model version that somebody else registered"
        case .modelsShare: "offer model versions to other workspaces, and accept what they offer"
        case .webhooksManage: "read and change webhooks, whose addresses may hold secrets"
        case .pipelinesRead: "read pipelines' runs"
        case .pipelinesRun: "start and cancel runs of pipelines"
        case .releasesRead: "read releases and endpoints"
        case .releasesDeploy: "create a release that passed its gate, promote, roll back"
        case .releasesForce: "release a model whose gate refused it"
        case .predict: "ask for predictions"
        case .predictionsRead: "read logged predictions, and verify features against them"
        case .labelsWrite: "post labels"
        case .monitorsRead: "read monitors and alerts"
        case .ledgerRead: "read and verify the ledger"
        case .ledgerAudit: "read the events of all workspaces, as a proof of the whole chain needs; from the workspace `default`"
        case .serverRead: "read metrics, routes and the version"
        case .storageCollect: "remove for good what was deleted, and content that nothing refers to"
        case .storageBackup: "read everything that is stored, the keys of the server too"
        case .tokensManage: "create, list and revoke tokens"
        case .accessManage: "change roles and role bindings, and explain anyone's access"
        case .workspacesRead: "see the workspaces in which one has a role"
        case .workspacesManage: "create, change and delete workspaces"
        }
    }
}

extension Persona {
    /// Who it is, for the reference.
    public var about: String {
        switch self {
        case .owner: "the local person, and whoever set the server up"
        case .dataScientist: "trains models"
        case .mlEngineer: "brings them to production"
        case .platformEngineer: "runs the server"
        case .riskOfficer: "looks at everything that happened"
        case .service: "a program that asks for predictions, pushes events and posts labels"
        case .member: "anybody: may do what role bindings give, and nothing else"
        case .system: "Keel's own background work; no token has it"
        }
    }
}
