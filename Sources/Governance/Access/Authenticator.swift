import Contracts

/// Whoever a credential stands for, before it is known in which workspace a request is.
public struct Principal: Sendable, Hashable {
    /// As the ledger names it: a token's name, or `issuer:subject` of a person or job that an identity provider vouches for.
    public let name: String
    /// What it is in its own workspace; elsewhere it is a member.
    public let persona: Persona
    public let workspace: WorkspaceID
    /// Groups that role bindings may name, as `issuer:group`.
    public let groups: [String]
    /// Who acts in its name, the nearest first.
    public let actors: [String]
    /// Whatever it may do, it may do no more than each of these.
    public let ceilings: [Permission]

    public init(
        name: String, persona: Persona, workspace: WorkspaceID = .default, groups: [String] = [], actors: [String] = [],
        ceilings: [Permission] = []
    ) {
        self.name = name
        self.persona = persona
        self.workspace = workspace
        self.groups = groups
        self.actors = actors
        self.ceilings = ceilings
    }

    /// The person at the server's own machine.
    public static let local = Principal(name: Caller.local.name, persona: .owner)
}

/// Says who holds a credential. It is asked on the event loop when a request's head has arrived, so it neither waits nor reads a disk.
public protocol Authenticator: Sendable {
    /// - Returns: nil when the credential is none of its kind; the next authenticator is asked.
    /// - Throws: `unauthenticated` with the reason for one that is not good; `unavailable` when that cannot be told yet.
    func principal(of credential: String) throws(KeelError) -> Principal?
}
