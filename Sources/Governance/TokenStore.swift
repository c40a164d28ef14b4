import Contracts
import Storage

extension Querying {
    func tokens() throws -> [Digest: Token] {
        var out: [Digest: Token] = [:]
        for row in try rows("SELECT name, digest, persona, workspace, created_at, created_by, expires_at, revoked_at FROM tokens") {
            guard let digest = Digest(hex: row.text("digest")), let persona = Persona(rawValue: row.text("persona")) else {
                throw KeelError(.corrupted, "the stored token '\(row.text("name"))' is damaged", hint: "revoke it and make a new one")
            }
            out[digest] = Token(
                name: row.text("name"), persona: persona, workspace: row.text("workspace"), createdAt: row.time("created_at"),
                createdBy: row.text("created_by"), expiresAt: row.optionalTime("expires_at"), revokedAt: row.optionalTime("revoked_at"))
        }
        return out
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
