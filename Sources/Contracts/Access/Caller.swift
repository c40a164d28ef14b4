/// What a caller is to the organisation; the permission table gives each its actions.
public enum Persona: String, Sendable, CaseIterable, Codable {
    /// The local person on loopback, and whoever set the server up.
    case owner
    case dataScientist = "data-scientist"
    case mlEngineer = "ml-engineer"
    case platformEngineer = "platform-engineer"
    case riskOfficer = "risk-officer"
    /// A program that asks for predictions, pushes events and posts labels.
    case service
    /// Keel's own background work: triggers, rollouts, monitors.
    case system
}

/// Who asks, in which workspace, with which request id.
public struct Caller: Sendable, Hashable {
    /// The token's name, `local` for the loopback owner, `keel` for the system.
    public let name: String
    public let persona: Persona
    public let workspace: String
    /// Ties log lines, ledger events and responses of one request together.
    public let requestID: String

    public init(name: String, persona: Persona, workspace: String = "default", requestID: String = Identifier.uuid()) {
        self.name = name
        self.persona = persona
        self.workspace = workspace
        self.requestID = requestID
    }

    /// The person at the server's own machine.
    public static var local: Caller { Caller(name: "local", persona: .owner) }
    /// Whoever was refused without a token that is good.
    public static var nobody: Caller { Caller(name: "nobody", persona: .service) }
    /// Names that mean callers without a token; none of a token may be one.
    public static let reservedNames: Set<String> = ["local", "nobody", "keel"]
    /// Keel's own background work.
    public static func system(_ part: String) -> Caller { Caller(name: "keel/\(part)", persona: .system) }
}
