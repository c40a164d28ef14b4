import Contracts
import Storage

extension Querying {
    func tokenRows() throws -> [SQLRow] {
        try rows("SELECT name, digest, persona, workspace, created_at, created_by, expires_at, revoked_at FROM tokens")
    }
}

extension Token {
    /// Nil when the row is damaged.
    static func read(_ row: SQLRow) -> (digest: Digest, token: Token)? {
        guard let digest = Digest(hex: row.text("digest")), let persona = Persona(rawValue: row.text("persona")) else { return nil }
        let token = Token(
            name: row.text("name"), persona: persona, workspace: row.text("workspace"), createdAt: row.time("created_at"),
            createdBy: row.text("created_by"), expiresAt: row.optionalTime("expires_at"), revokedAt: row.optionalTime("revoked_at"))
        return (digest, token)
    }
}

extension Transaction {
    func insert(_ token: Token, _ digest: Digest) throws {
        try execute(
            "INSERT INTO tokens (name, digest, persona, workspace, created_at, created_by, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                .string(token.name), .string(digest.hex), .string(token.persona.rawValue), .string(token.workspace),
                .timestamp(token.createdAt),
                .string(token.createdBy), token.expiresAt.map(Value.timestamp) ?? .null,
            ])
    }
}
