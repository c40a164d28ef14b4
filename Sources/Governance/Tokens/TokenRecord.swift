import Contracts
import Storage

/// What the ledger says of a token. A row of the table lets nobody in unless the ledger tells of exactly that row: what was written into the table past
/// Keel is worthless.
struct TokenRecord: Hashable {
    var persona: String
    var workspace: String
    var scope: JSON
    var actsFor: String?
    var expires: String?
    /// Of the secret; nil in events of Keel 0.1.0, which did not hold it.
    var digest: String?
    /// Of the secret before the last rotation, and until when it is good.
    var previousDigest: String?
    var previousUntil: String?
    var isRevoked = false

    /// Why a row is refused; nil when it is what the ledger says.
    func problem(_ stored: StoredToken) -> String? {
        let token = stored.token
        if let known = digest, known != stored.digest.hex { return "its secret is not the one that was issued" }
        if persona != token.persona.rawValue { return "it was issued for the persona '\(persona)', not '\(token.persona.rawValue)'" }
        if workspace != token.workspace.name { return "it was issued in the workspace '\(workspace)', not '\(token.workspace)'" }
        if scope.canonical != (token.scope?.json ?? .null).canonical { return "it was issued with another scope" }
        if actsFor != token.actsFor { return "it was not issued to act for '\(token.actsFor ?? "itself")'" }
        if expires != token.expiresAt?.description { return "it was issued with another end" }
        if previousDigest != stored.previousDigest?.hex || previousUntil != token.previousUntil?.description {
            return "its secret before the last rotation is not the one that was issued"
        }
        if isRevoked, token.revokedAt == nil { return "it was revoked" }
        return nil
    }
}

/// A row of the table that is not what the ledger says.
public struct RefusedToken: Sendable, Hashable {
    public let name: String
    /// As the row has it.
    public let workspace: WorkspaceID
    public let problem: String
}

/// The tokens that let somebody in, and the rows that do not, by name.
struct StoredTokens {
    var valid: [StoredToken] = []
    var refused: [RefusedToken] = []
    /// Of Keel 0.1.0: their secrets are not in the ledger yet.
    var uncovered: [StoredToken] = []
}

extension Querying {
    /// The rows of the table, each held against the ledger.
    func checkedTokens() throws -> StoredTokens {
        let records = try tokenRecords()
        var out = StoredTokens()
        for row in try tokenRows() {
            let name = row.text("name")
            func refuse(_ problem: String) {
                out.refused.append(RefusedToken(name: name, workspace: WorkspaceID(stored: row.text("workspace")), problem: problem))
            }
            guard let stored = StoredToken(row) else {
                refuse("its row cannot be read")
                continue
            }
            guard let record = records[name] else {
                refuse("the ledger has no event that issued it")
                continue
            }
            if let problem = record.problem(stored) {
                refuse(problem)
                continue
            }
            out.valid.append(stored)
            if record.digest == nil, !record.isRevoked { out.uncovered.append(stored) }
        }
        return out
    }

    private func tokenRecords() throws -> [String: TokenRecord] {
        var out: [String: TokenRecord] = [:]
        for event in try ledgerEvents(kind: "token.", limit: .max) where try isIntact(event) {
            let name = String(event.subject.dropFirst("Token/".count))
            switch event.kind {
            case "token.created":
                out[name] = TokenRecord(
                    persona: event.data["persona"]?.string ?? "", workspace: event.workspace, scope: event.data["scope"] ?? .null,
                    actsFor: event.data["acts_for"]?.string, expires: event.data["expires"]?.string, digest: event.data["digest"]?.string)
            case "token.covered": if out[name]?.digest == nil { out[name]?.digest = event.data["digest"]?.string }
            case "token.rotated":
                guard var record = out[name] else { continue }
                record.previousDigest = record.digest
                record.previousUntil = event.data["previous_until"]?.string
                record.digest = event.data["digest"]?.string
                record.expires = event.data["expires"]?.string
                out[name] = record
            case "token.revoked": out[name]?.isRevoked = true
            default: continue
            }
        }
        return out
    }
}
