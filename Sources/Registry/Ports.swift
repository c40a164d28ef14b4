import Contracts
import Storage

/// What the registry asks about models that were logged but not registered.
public protocol LoggedModelLookup: Sendable {
    /// Where the files of a logged model (`m-…`) are and which run made it; nil when there is none.
    func loggedModel(_ id: String, in workspace: WorkspaceID) async throws -> (artifactURI: String, runID: String?)?
    /// Tells the logged model that it is registered.
    func registered(_ id: String, as version: ModelVersion, in workspace: WorkspaceID) async throws
}

/// What the registry asks about the run that a version says it comes from.
public protocol RunLookup: Sendable {
    /// Where the run's artifacts lie; nil when there is no such run.
    func artifactURI(ofRun id: String, in workspace: WorkspaceID) async throws -> String?
}

/// What the registry asks about the files of a model.
public protocol ModelFiles: Sendable {
    /// What the `MLmodel` file under a location says; nil when the location is not kept here or has no such file.
    func facts(at location: String, in workspace: WorkspaceID) async throws -> ModelFacts?
    /// Lets the workspace of a transaction have the files under a location of another one, in a folder of its own for this offer.
    /// - Returns: where they are there; nil when the location is not kept here.
    func copy(_ tx: Transaction, from location: String, of source: WorkspaceID, offer: String) throws -> String?
}

/// What the registry asks before a version is deleted or a model renamed. It is asked inside the transaction that does it.
public protocol VersionUsage: Sendable {
    /// What uses a version, or any version of the model, in words such as `release delay/7`; empty when nothing does.
    func uses(_ db: any Querying, ofModel name: String, version: Int?) throws -> [String]
}

/// What webhooks need of the network.
public protocol WebhookSender: Sendable {
    /// - Throws: `invalidArgument` in MLflow's words when nothing may ever be sent to this URL: another scheme, an internal address, no such host.
    func check(url: String) async throws
    /// Posts JSON; follows no redirects.
    /// - Throws: `invalidArgument` when the address may not be reached, `unavailable` when it could not be.
    func post(_ body: String, headers: [(name: String, value: String)], to url: String) async throws -> WebhookAnswer
}

public struct WebhookAnswer: Sendable, Hashable {
    public let status: Int
    /// The beginning of the body.
    public let body: String
    /// Seconds that the receiver asks to wait.
    public let retryAfter: Int?

    public init(status: Int, body: String, retryAfter: Int? = nil) {
        (self.status, self.body, self.retryAfter) = (status, body, retryAfter)
    }
}
