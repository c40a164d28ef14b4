import Contracts

/// What lets a program or person in. The secret itself is kept nowhere.
public struct Token: Sendable, Hashable {
    /// Becomes the caller's name.
    public let name: String
    public let persona: Persona
    public let workspace: String
    public let createdAt: Timestamp
    public let createdBy: String
    /// From this instant on the token is refused; nil means never.
    public let expiresAt: Timestamp?
    public let revokedAt: Timestamp?

    public var json: JSON {
        [
            "name": .string(name), "persona": .string(persona.rawValue), "workspace": .string(workspace),
            "created_at": .string(createdAt.description),
            "created_by": .string(createdBy), "expires_at": expiresAt.map { .string($0.description) } ?? .null,
            "revoked_at": revokedAt.map { .string($0.description) } ?? .null,
        ]
    }
}

/// A new token with its secret, which is shown this once.
public struct IssuedToken: Sendable {
    public let token: Token
    /// `keel_` and 43 characters of base64url: 32 random bytes.
    public let secret: String
}
