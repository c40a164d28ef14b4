import Contracts

/// What lets a program or person in. The secret itself is kept nowhere.
public struct Token: Sendable, Hashable {
    /// Becomes the caller's name.
    public let name: String
    /// What its holder is in its workspace.
    public let persona: Persona
    public let workspace: WorkspaceID
    /// What it is limited to; nil when it may do all that its persona and role bindings give.
    public let scope: TokenScope?
    /// The token in whose name its holder acts; nil when it acts in its own.
    public let actsFor: String?
    public let createdAt: Timestamp
    public let createdBy: String
    /// From this instant on the token is refused; nil means never.
    public internal(set) var expiresAt: Timestamp?
    public internal(set) var revokedAt: Timestamp?
    /// Until then the secret before the last rotation is good too; nil when there is none.
    public internal(set) var previousUntil: Timestamp?
    /// Nil when it was never used. At most a minute of use is lost in a crash.
    public internal(set) var lastUsedAt: Timestamp?

    public var json: JSON {
        func instant(_ time: Timestamp?) -> JSON { time.map { .string($0.description) } ?? .null }
        return [
            "name": .string(name), "persona": .string(persona.rawValue), "workspace": .string(workspace.name), "scope": scope?.json ?? .null,
            "acts_for": actsFor.map(JSON.string) ?? .null, "created_at": .string(createdAt.description), "created_by": .string(createdBy),
            "expires_at": instant(expiresAt), "revoked_at": instant(revokedAt), "previous_until": instant(previousUntil),
            "last_used_at": instant(lastUsedAt),
        ]
    }

    func isGood(at now: Timestamp) -> Bool { revokedAt == nil && expiresAt.map { now < $0 } ?? true }
}

/// What a token is limited to: some actions, some things, or both.
public struct TokenScope: Sendable, Hashable {
    /// Nil for all that its holder may do.
    public let actions: Set<Action>?
    public let things: PermissionScope

    public init(actions: Set<Action>? = nil, things: PermissionScope = .everything) {
        self.actions = actions
        self.things = things
    }

    public var json: JSON {
        var out = things.json
        if let actions { out["actions"] = .array(actions.map(\.rawValue).sorted().map(JSON.string)) }
        return out
    }

    /// Reads `{actions?, environments?, kinds?, names?}` strictly.
    public init(_ reader: FieldReader) throws(KeelError) {
        let actions = try reader.optional("actions") == nil ? nil : Set(Action.list(reader, "actions"))
        self.init(actions: actions, things: try PermissionScope(reader))
        try reader.finish()
        guard actions != nil || !things.isEverything else {
            throw .invalid("a scope without a limit limits nothing", hint: "leave it out, or give actions, environments, kinds or names")
        }
    }
}

/// A new token with its secret, which is shown this once.
public struct IssuedToken: Sendable {
    public let token: Token
    /// `keel_` and 43 characters of base64url: 32 random bytes.
    public let secret: String
}
