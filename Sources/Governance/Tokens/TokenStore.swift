import Contracts
import Storage

/// A row of the table: the token, and the digests of the secrets that let its holder in.
struct StoredToken: Sendable {
    var token: Token
    var digest: Digest
    /// Of the secret before the last rotation.
    var previousDigest: Digest?

    /// Nil when the row is damaged.
    init?(_ row: SQLRow) {
        guard let digest = Digest(hex: row.text("digest")), let persona = Persona(rawValue: row.text("persona")) else { return nil }
        var scope: TokenScope?
        if let text = row.optionalText("scope") {
            // A limit that cannot be read must not be taken for none.
            guard let json = try? JSON.parse(text), let reader = try? FieldReader(json, path: ""), let read = try? TokenScope(reader) else {
                return nil
            }
            scope = read
        }
        token = Token(
            name: row.text("name"), persona: persona, workspace: WorkspaceID(stored: row.text("workspace")), scope: scope,
            actsFor: row.optionalText("acts_for"), createdAt: row.time("created_at"), createdBy: row.text("created_by"),
            expiresAt: row.optionalTime("expires_at"), revokedAt: row.optionalTime("revoked_at"),
            previousUntil: row.optionalTime("previous_until"), lastUsedAt: row.optionalTime("last_used_at"))
        self.digest = digest
        previousDigest = row.optionalText("previous_digest").flatMap { Digest(hex: $0) }
    }

    init(token: Token, digest: Digest) {
        self.token = token
        self.digest = digest
        previousDigest = nil
    }
}

extension Querying {
    func tokenRows() throws -> [SQLRow] { try rows("SELECT * FROM tokens ORDER BY name") }

    func storedToken(_ name: String) throws -> StoredToken? {
        try row("SELECT * FROM tokens WHERE name = ?", [.string(name)]).flatMap { StoredToken($0) }
    }
}

extension Transaction {
    func insert(_ token: Token, _ digest: Digest) throws {
        try execute(
            """
            INSERT INTO tokens (name, digest, persona, workspace, scope, acts_for, created_at, created_by, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(token.name), .string(digest.hex), .string(token.persona.rawValue), .string(token.workspace.name),
                token.scope.map { .string($0.json.text) } ?? .null, token.actsFor.map(Value.string) ?? .null, .timestamp(token.createdAt),
                .string(token.createdBy), token.expiresAt.map(Value.timestamp) ?? .null,
            ])
    }

    /// Stores another secret beside the one until now, which stays good for a while.
    func rotate(_ name: String, to digest: Digest, previous: Digest, until: Timestamp, expires: Timestamp?) throws {
        try execute(
            "UPDATE tokens SET digest = ?, previous_digest = ?, previous_until = ?, expires_at = ? WHERE name = ?",
            [.string(digest.hex), .string(previous.hex), .timestamp(until), expires.map(Value.timestamp) ?? .null, .string(name)])
    }
}
