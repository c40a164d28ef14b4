import Contracts
import Storage

/// What a deployment did at once.
public enum Deployment: Sendable, Hashable {
    /// The release answers all requests.
    case stable(Release)
    /// A rollout began; `superseded` is the candidate that it replaced.
    case rollout(Release, superseded: Int?)
}

/// Decides which release serves: creates releases, moves traffic to them by the endpoint's rollout, and takes them back.
///
/// Each verb loads and warms first, then changes the tables and the ledger in one transaction, then swaps the route. A crash between leaves the
/// tables right, and `configure` goes on from them.
///
/// Loading may take minutes, so it is done before the endpoint's turn: a verb takes the turn to see that what it decided by is still so, and to commit.
public actor DeploymentService {
    /// One endpoint as it is now. Everything that can fail was done before this is changed.
    struct Live {
        var spec: EndpointSpec
        var state: EndpointState
        var stable: ServedRelease?
        var candidate: ServedRelease?
        let load: EndpointLoad
        var rollout: Rollout?
        /// Its releases are loaded in the background: their processes take seconds to start, and nothing else waits for them.
        var isStarting = false
        /// What somebody last decided about what serves. A deployment that loaded its model meanwhile finds it.
        var decision = Decision()
        /// Counters at the beginning: totals of the candidate as last stored; the incumbent's rows before the rollout.
        var baseline = RolloutBaseline()
    }

    /// One decision of a person or a pipeline; what a rollout does by itself is none.
    struct Decision {
        var id = Identifier.hex32()
        /// In words, as `release delay/3 was deployed`.
        var text = "it was declared anew"
    }

    let database: Database
    let models: ModelLoader
    let runtime: ServingRuntime
    let inbox = RolloutInbox()
    let features: (any OnlineFeatures)?
    let versions: (any ReleasableVersions)?
    let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void
    let onPromoted: @Sendable (Release, _ since: Int64?) async -> Void
    let onFailed: @Sendable (ResourceRef, KeelError) -> Void
    var endpoints: [ResourceRef: Live] = [:]
    /// One for each endpoint that was ever declared.
    private var turns: [ResourceRef: Turn] = [:]
    /// One for each workspace: its endpoints are declared by one caller at a time.
    private var declaring: [WorkspaceID: Turn] = [:]
    /// Workspaces whose endpoints are held by a draft. Their rollouts wait, so that those of others need not.
    var held: Set<WorkspaceID> = []

    /// - Parameters:
    ///   - versions: tells whether a model version that is to be released still exists.
    ///   - denied: records that a caller was refused besides what the API checks.
    ///   - onPromoted: called after a release became an endpoint's stable one, and again after each start, as the process may have ended in between: then
    ///     with the number of the ledger's event that promoted it.
    ///   - onFailed: told of an endpoint whose release could not be loaded after `configure` had returned.
    public init(
        database: Database, models: ModelLoader, runtime: ServingRuntime, features: (any OnlineFeatures)?,
        versions: (any ReleasableVersions)? = nil,
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void = { _, _, _ in },
        onPromoted: @escaping @Sendable (Release, _ since: Int64?) async -> Void = { _, _ in },
        onFailed: @escaping @Sendable (ResourceRef, KeelError) -> Void = { _, _ in }
    ) {
        self.database = database
        self.models = models
        self.runtime = runtime
        self.features = features
        self.versions = versions
        self.denied = denied
        self.onPromoted = onPromoted
        self.onFailed = onFailed
        runtime.log.observe(inbox)
    }

    func live(_ endpoint: ResourceRef) throws(KeelError) -> Live {
        if let live = endpoints[endpoint] { return live }
        let name = endpoint.qualifiedName
        let others = endpoints.keys.filter { $0.workspace == endpoint.workspace }.map(\.qualifiedName)
        throw .notFound(
            "there is no endpoint '\(name.prefix(128))'",
            hint: nearest(name, in: others).map { "did you mean '\($0)'?" } ?? "declare an Endpoint and apply it")
    }

    /// Runs the verbs of an endpoint one after another: an actor lets others in at every await. Nothing slow belongs here, loading models least of all.
    func exclusively<T>(_ endpoint: ResourceRef, _ body: () async throws -> T) async throws -> T { try await turn(of: endpoint).run(body) }

    func turn(of endpoint: ResourceRef) -> Turn {
        if let turn = turns[endpoint] { return turn }
        let turn = Turn()
        turns[endpoint] = turn
        return turn
    }

    func turn(of workspace: WorkspaceID) -> Turn {
        if let turn = declaring[workspace] { return turn }
        let turn = Turn()
        declaring[workspace] = turn
        return turn
    }
}
