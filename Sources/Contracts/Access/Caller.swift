/// What a caller is to the organisation; the permission table gives each its actions. These are the built-in roles.
public enum Persona: String, Sendable, CaseIterable, Codable {
    /// The local person on loopback, and whoever set the server up.
    case owner
    case dataScientist = "data-scientist"
    case mlEngineer = "ml-engineer"
    case platformEngineer = "platform-engineer"
    case riskOfficer = "risk-officer"
    /// A program that asks for predictions, pushes events and posts labels.
    case service
    /// Nobody in particular: may do what role bindings give, and nothing else.
    case member
    /// Keel's own background work: triggers, rollouts, monitors.
    case system
}

/// Who asks, in which workspace, with which request id.
public struct Caller: Sendable, Hashable {
    /// Whose permissions count: the token's name, `issuer:subject` of a person or job that an identity provider vouches for, `local` for the loopback
    /// owner, `keel` for the system.
    public let name: String
    public let persona: Persona
    public let workspace: WorkspaceID
    /// Ties log lines, ledger events and responses of one request together.
    public let requestID: String
    /// Who acts in the caller's name, the nearest to the request first: an agent, and what called it. Empty when the caller acts for itself.
    public let actors: [String]
    /// Groups that an identity provider says it is in, as `issuer:group`.
    public let groups: [String]
    /// What it may do besides what its persona gives.
    public let permissions: [Permission]
    /// Whatever else it may do, it may do no more than each of these: the scopes of tokens, and what a program or an agent is lent.
    public let ceilings: [Permission]

    public init(
        name: String, persona: Persona, workspace: WorkspaceID = .default, requestID: String = Identifier.uuid(), actors: [String] = [],
        groups: [String] = [], permissions: [Permission] = [], ceilings: [Permission] = []
    ) {
        self.name = name
        self.persona = persona
        self.workspace = workspace
        self.requestID = requestID
        self.actors = actors
        self.groups = groups
        self.permissions = permissions
        self.ceilings = ceilings
    }

    /// The same caller in another request.
    public func with(requestID: String) -> Caller {
        Caller(
            name: name, persona: persona, workspace: workspace, requestID: requestID, actors: actors, groups: groups,
            permissions: permissions, ceilings: ceilings)
    }

    /// Another one acting in this caller's name, with no more than these actions.
    public func lent(to actor: String, _ actions: Set<Action>) -> Caller {
        Caller(
            name: name, persona: persona, workspace: workspace, requestID: requestID, actors: [actor] + actors, groups: groups,
            permissions: permissions, ceilings: ceilings + [Permission(actions, from: actor)])
    }

    /// The same caller with no more than these actions.
    /// - Parameter source: what limits it, for explanations.
    public func limited(to actions: Set<Action>, by source: String) -> Caller {
        Caller(
            name: name, persona: persona, workspace: workspace, requestID: requestID, actors: actors, groups: groups,
            permissions: permissions, ceilings: ceilings + [Permission(actions, from: source)])
    }

    /// The person at the server's own machine.
    public static var local: Caller { Caller(name: "local", persona: .owner) }
    /// Whoever was refused without a token that is good.
    public static var nobody: Caller { Caller(name: "nobody", persona: .service) }
    /// Names that mean callers without a token; none of a token may be one.
    public static let reservedNames: Set<String> = ["local", "nobody", "keel"]
    /// Keel's own background work.
    public static func system(_ part: String, in workspace: WorkspaceID = .default) -> Caller {
        Caller(name: "keel/\(part)", persona: .system, workspace: workspace)
    }
}

extension Caller {
    /// Whether it may do this to a thing; to everything in its workspace, when none is named.
    public func may(_ action: Action, on subject: ResourceRef?) -> Bool {
        guard ceilings.allSatisfy({ $0.gives(action, on: subject) }) else { return false }
        return Permissions.actions(of: persona).contains(action) || permissions.contains { $0.gives(action, on: subject) }
    }

    /// Whether it may do this to some things, though perhaps not to all.
    func maySomewhere(_ action: Action) -> Bool {
        guard ceilings.allSatisfy({ $0.actions.contains(action) }) else { return false }
        return Permissions.actions(of: persona).contains(action) || permissions.contains { $0.actions.contains(action) }
    }

    /// What it may do somewhere.
    public var actions: Set<Action> { Set(Action.allCases.filter(maySomewhere)) }

    /// Why it may do this, or may not; for people.
    public func explanation(of action: Action, on subject: ResourceRef?) -> (isAllowed: Bool, because: String) {
        if let ceiling = ceilings.first(where: { !$0.gives(action, on: subject) }) { return (false, "\(ceiling.source) does not extend to it") }
        if Permissions.actions(of: persona).contains(action) { return (true, "the role '\(persona.rawValue)' allows it in this workspace") }
        if let permission = permissions.first(where: { $0.gives(action, on: subject) }) { return (true, "\(permission.source) allows it") }
        let near = permissions.filter { $0.actions.contains(action) }.map(\.source)
        return (false, near.isEmpty ? "no role binding gives it" : "\(near.joined(separator: ", ")) gives it, but not for this")
    }
}
