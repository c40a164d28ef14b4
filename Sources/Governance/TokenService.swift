import Contracts
import Storage
import Synchronization

/// Makes, checks and revokes tokens. Of a secret only its SHA-256 is stored: 256 random bits need no slow hash.
///
/// All tokens are also in memory, by digest, so that a request is authenticated without the database; the digest as the key makes the time of
/// the look-up say nothing about any secret. A row of the table counts only when the ledger tells of it (see `TokenRecord`).
public final class TokenService: Sendable {
    public static let tokensMax = 10_000

    private let database: Database
    private let clock: any Clock
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void
    private let known: Mutex<[Digest: Token]>
    /// Secrets of programs that run now, and in whose name.
    private let lent = Mutex<[Digest: Caller]>([:])

    private init(
        database: Database, clock: any Clock, denied: @escaping @Sendable (Caller, Action, String) async throws -> Void,
        known: [Digest: Token]
    ) {
        self.database = database
        self.clock = clock
        self.denied = denied
        self.known = Mutex(known)
    }

    /// Reads the tokens there are.
    /// - Parameters:
    ///   - denied: records that a caller was refused besides what the API checks.
    ///   - report: told of each row that is not what the ledger says, and lets nobody in.
    public static func open(
        database: Database, clock: any Clock = SystemClock(),
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void = { _, _, _ in },
        report: (_ subject: String, KeelError) -> Void = { _, _ in }
    ) async throws -> TokenService {
        let stored = try await database.read { try $0.checkedTokens() }
        for (name, problem) in stored.refused.sorted(by: { $0.key < $1.key }) {
            report("Token/\(name)", TokenService.refusal(name, problem))
        }
        if !stored.uncovered.isEmpty {
            try await database.write { tx in
                for (digest, token) in stored.uncovered {
                    try tx.record("token.covered", on: "Token/\(token.name)", ["digest": .string(digest.hex)], by: .system("tokens"))
                }
            }
        }
        return TokenService(database: database, clock: clock, denied: denied, known: stored.valid)
    }

    private static func refusal(_ name: String, _ problem: String) -> KeelError {
        KeelError(
            .corrupted, "the stored token '\(name)' is refused: \(problem)",
            hint: "revoke it, make a new one, and find out who wrote to the database")
    }

    /// Rows of the table that are not what the ledger says, and let nobody in: their names, each with the reason.
    public func refused(by grant: Grant) async throws -> [(name: String, problem: String)] {
        try grant.require(.ledgerRead, .tokensManage)
        let refused = try await database.read { try $0.checkedTokens() }.refused
        return refused.sorted { $0.key < $1.key }.map { (name: $0.key, problem: $0.value) }
    }

    /// Makes a token; the ledger gets `token.created`, without the secret.
    /// - Throws: `permissionDenied` for a persona that may do more than the caller, `invalidArgument` for the persona `system` or an end that has
    ///   passed, `alreadyExists` for a name that is or was in use (a name in the audit trail means one token for ever).
    public func create(name: String, persona: Persona, expires: Timestamp? = nil, by grant: Grant) async throws -> IssuedToken {
        try grant.require(.tokensManage)
        try Identifier.check(name: name, path: "name")
        guard !Caller.reservedNames.contains(name) else {
            throw KeelError.invalid("'\(name)' means a caller without a token", hint: "choose another name", path: "name")
        }
        try await recordingDenials(of: name, grant) { try TokenService.refuseEscalation(persona, by: grant.caller, to: "make") }
        if let expires, expires <= clock.now() {
            throw KeelError.invalid(
                "the token would have expired already, at \(expires)", hint: "give an instant in the future", path: "expires")
        }
        let secret = TokenService.newSecret()
        let digest = Digest(of: secret)
        let token = try await database.write { tx in
            if try tx.row("SELECT name FROM tokens WHERE name = ?", [.string(name)]) != nil {
                throw KeelError(.alreadyExists, "there is or was a token '\(name)'", hint: "choose another name", path: "name")
            }
            if try tx.row("SELECT count(*) AS n FROM tokens WHERE revoked_at IS NULL")?.int("n") ?? 0 >= Int64(TokenService.tokensMax) {
                throw KeelError(.unavailable, "there are \(TokenService.tokensMax) tokens already", hint: "revoke those no longer needed")
            }
            let token = Token(
                name: name, persona: persona, workspace: grant.caller.workspace, createdAt: tx.now, createdBy: grant.caller.name,
                expiresAt: expires,
                revokedAt: nil)
            try tx.insert(token, digest)
            try tx.record(
                "token.created", on: "Token/\(name)",
                [
                    "persona": .string(persona.rawValue), "expires": expires.map { .string($0.description) } ?? .null,
                    "digest": .string(digest.hex),
                ], by: grant)
            return token
        }
        // A revocation may have been faster than this line: it stays.
        known.withLock { if $0[digest] == nil { $0[digest] = token } }
        return IssuedToken(token: token, secret: secret)
    }

    /// Who the secret belongs to; nil when it is unknown, expired or revoked. Touches no database.
    public func authenticate(_ secret: String) -> Caller? {
        guard secret.utf8.count == TokenService.secretLength, secret.hasPrefix(TokenService.prefix) else { return nil }
        let digest = Digest(of: secret)
        if let caller = lent.withLock({ $0[digest] }) {
            return Caller(name: caller.name, persona: caller.persona, workspace: caller.workspace)
        }
        guard let token = known.withLock({ $0[digest] }), token.revokedAt == nil else { return nil }
        if let end = token.expiresAt, clock.now() >= end { return nil }
        return Caller(name: token.name, persona: token.persona, workspace: token.workspace)
    }

    /// When the token of this secret expired; nil for a secret that is unknown, revoked or still good. Only its holder can ask.
    public func expiry(of secret: String) -> Timestamp? {
        guard secret.utf8.count == TokenService.secretLength, secret.hasPrefix(TokenService.prefix) else { return nil }
        let digest = Digest(of: secret)
        guard let token = known.withLock({ $0[digest] }), token.revokedAt == nil, let end = token.expiresAt else { return nil }
        return clock.now() >= end ? end : nil
    }

    /// The caller that a name in the audit trail stands for, as of now: the local owner, or the holder of a token that is still good.
    public func caller(named name: String) -> Caller? {
        if name == Caller.local.name { return .local }
        guard let token = known.withLock({ $0.values.first { $0.name == name } }), token.revokedAt == nil else { return nil }
        if let end = token.expiresAt, clock.now() >= end { return nil }
        return Caller(name: token.name, persona: token.persona, workspace: token.workspace)
    }

    /// A secret for a program that Keel runs for `caller`, good until `takeBack` or the end of this process; it is kept in memory only.
    ///
    /// The program acts under the caller's name with a data scientist's permissions, however much more the caller may do: whoever wrote the
    /// pipeline must not gain what whoever runs it may.
    public func lend(to caller: Caller) -> String {
        let secret = TokenService.newSecret()
        lent.withLock { $0[Digest(of: secret)] = Caller(name: caller.name, persona: .dataScientist, workspace: caller.workspace) }
        return secret
    }

    public func takeBack(_ secret: String) { lent.withLock { $0[Digest(of: secret)] = nil } }

    /// Every token, the revoked too, by name.
    public func list(by grant: Grant) async throws -> [Token] {
        try grant.require(.tokensManage)
        return try await database.read { try $0.tokenRows() }.compactMap { Token.read($0)?.token }.sorted { $0.name < $1.name }
    }

    /// Refuses the token from now on; the ledger gets `token.revoked`.
    /// - Throws: `notFound`; `permissionDenied` for a persona that may do more than the caller; `failedPrecondition` when it is revoked already.
    public func revoke(_ name: String, by grant: Grant) async throws {
        try grant.require(.tokensManage)
        let revoked = try await recordingDenials(of: name, grant) { try await revokeStored(name, grant) }
        known.withLock { $0[revoked.digest] = revoked.token }
    }

    private func revokeStored(_ name: String, _ grant: Grant) async throws -> (digest: Digest, token: Token) {
        try await database.write { tx in
            let stored = try tx.tokenRows().compactMap { Token.read($0) }
            guard let (digest, token) = stored.first(where: { $0.token.name == name }) else {
                throw KeelError.notFound(
                    "there is no token '\(name)'", hint: nearest(name, in: stored.map(\.token.name)).map { "did you mean '\($0)'?" })
            }
            try TokenService.refuseEscalation(token.persona, by: grant.caller, to: "revoke")
            guard token.revokedAt == nil else { throw KeelError(.failedPrecondition, "the token '\(name)' is revoked already") }
            try tx.execute("UPDATE tokens SET revoked_at = ? WHERE name = ?", [.timestamp(tx.now), .string(name)])
            try tx.record("token.revoked", on: "Token/\(name)", by: grant)
            return (
                digest,
                Token(
                    name: name, persona: token.persona, workspace: token.workspace, createdAt: token.createdAt, createdBy: token.createdBy,
                    expiresAt: token.expiresAt, revokedAt: tx.now)
            )
        }
    }

    /// The permission table let the caller come this far; a token of a higher persona may still be out of reach, which is a denial too.
    private func recordingDenials<T>(of name: String, _ grant: Grant, _ body: () async throws -> T) async throws -> T {
        do { return try await body() } catch let error as KeelError where error.code == .permissionDenied {
            try await denied(grant.caller, .tokensManage, "Token/\(name)")
            throw error
        }
    }

    /// Nobody makes or revokes a token that may do what they may not themselves.
    private static func refuseEscalation(_ persona: Persona, by caller: Caller, to verb: String) throws(KeelError) {
        guard persona != .system else {
            throw .invalid("'system' is Keel itself: no token can be it", hint: "programs use the persona 'service'", path: "persona")
        }
        guard caller.persona != .owner else { return }
        let excess = Permissions.actions(of: persona).subtracting(Permissions.actions(of: caller.persona))
        guard excess.isEmpty else {
            throw KeelError(
                .permissionDenied, "\(caller.name) (\(caller.persona.rawValue)) may not \(verb) a token of persona '\(persona.rawValue)'",
                hint: "it may do what you may not: \(excess.map(\.rawValue).sorted().joined(separator: ", ")); ask an owner",
                path: "persona")
        }
    }

    // MARK: Secrets

    private static let prefix = "keel_"
    private static let secretLength = 48

    private static func newSecret() -> String {
        var random = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        for _ in 0..<4 { withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) } }
        return prefix + base64url(bytes)
    }

    /// RFC 4648 §5, without padding.
    private static func base64url(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var (out, held, bits): ([UInt8], UInt32, Int) = ([], 0, 0)
        for byte in bytes {
            held = held << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                out.append(alphabet[Int(held >> UInt32(bits)) & 63])
            }
        }
        if bits > 0 { out.append(alphabet[Int(held << UInt32(6 - bits)) & 63]) }
        return String(decoding: out, as: UTF8.self)
    }
}
