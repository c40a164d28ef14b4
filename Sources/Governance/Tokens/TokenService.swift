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
    private let policy: AccessPolicy
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void
    private let known: Mutex<Known>
    /// Secrets of programs that run now, and in whose name.
    private let lent = Mutex<[Digest: Caller]>([:])
    /// How long a token is good unless its maker says otherwise.
    public static let standardLife = TimeSpan.days(90)

    /// The tokens by name, and the name by each digest that lets in.
    private struct Known {
        var tokens: [String: Token] = [:]
        var names: [Digest: String] = [:]
        /// Of the secrets before the last rotation.
        var previous: [Digest: String] = [:]
        /// Used since the last time that this was stored.
        var used: Set<String> = []

        mutating func add(_ stored: StoredToken) {
            tokens[stored.token.name] = stored.token
            names[stored.digest] = stored.token.name
            if let digest = stored.previousDigest { previous[digest] = stored.token.name }
        }

        /// The token of a secret that lets in now.
        func token(_ digest: Digest, at now: Timestamp) -> Token? {
            if let token = names[digest].flatMap({ tokens[$0] }) { return token.isGood(at: now) ? token : nil }
            guard let token = previous[digest].flatMap({ tokens[$0] }), token.isGood(at: now), let end = token.previousUntil else { return nil }
            return now < end ? token : nil
        }
    }

    private init(
        database: Database, clock: any Clock, policy: AccessPolicy, denied: @escaping @Sendable (Caller, Action, String) async throws -> Void,
        known: Known
    ) {
        self.database = database
        self.clock = clock
        self.policy = policy
        self.denied = denied
        self.known = Mutex(known)
    }

    /// Reads the tokens there are.
    /// - Parameters:
    ///   - policy: what role bindings give to whom.
    ///   - denied: records that a caller was refused besides what the API checks.
    ///   - report: told of each row that is not what the ledger says, and lets nobody in.
    public static func open(
        database: Database, clock: any Clock = SystemClock(), policy: AccessPolicy = AccessPolicy(),
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void = { _, _, _ in },
        report: (_ subject: String, KeelError) -> Void = { _, _ in }
    ) async throws -> TokenService {
        let stored = try await database.read { try $0.checkedTokens() }
        for refused in stored.refused { report("Token/\(refused.name)", TokenService.refusal(refused)) }
        if !stored.uncovered.isEmpty {
            try await database.write { tx in
                for each in stored.uncovered {
                    try tx.record(
                        "token.covered", on: "Token/\(each.token.name)", ["digest": .string(each.digest.hex)], by: .system("tokens"))
                }
            }
        }
        var known = Known()
        for each in stored.valid { known.add(each) }
        return TokenService(database: database, clock: clock, policy: policy, denied: denied, known: known)
    }

    private static func refusal(_ refused: RefusedToken) -> KeelError {
        KeelError(
            .corrupted, "the stored token '\(refused.name)' is refused: \(refused.problem)",
            hint: "revoke it, make a new one, and find out who wrote to the database")
    }

    /// Rows of the table that are not what the ledger says, and let nobody in: those of the grant's workspace, by name. In `default` also those that
    /// are of no workspace that there is.
    public func refused(by grant: Grant) async throws -> [RefusedToken] {
        try grant.require(.ledgerRead, .tokensManage)
        let refused = try await database.read { try $0.checkedTokens() }.refused
        return refused.filter { $0.workspace == grant.workspace || (grant.workspace == .default && !policy.isKnown($0.workspace)) }
    }

    /// Makes a token; the ledger gets `token.created`, without the secret.
    /// - Parameters:
    ///   - scope: what it is limited to.
    ///   - actsFor: the token in whose name its holder acts: then it may do what both may, and the ledger names both.
    ///   - expires: when it ends; nil for never. `standardLife` is what callers use who were not told.
    /// - Throws: `permissionDenied` for one that may do more than the caller, by its persona or by role bindings that name it already,
    ///   `invalidArgument` for the persona `system` or an end that has passed, `alreadyExists` for a name that is or was in use, or that another workspace has
    ///   given something to (a name in the audit trail means one token for ever).
    public func create(
        name: String, persona: Persona, scope: TokenScope? = nil, actsFor: String? = nil, expires: Timestamp? = nil, by grant: Grant
    ) async throws -> IssuedToken {
        try grant.require(.tokensManage, on: ResourceRef("Token", name, in: grant.workspace))
        try Identifier.check(name: name, path: "name")
        guard !Caller.reservedNames.contains(name) else {
            throw KeelError.invalid("'\(name)' means a caller without a token", hint: "choose another name", path: "name")
        }
        try await recordingDenials(of: name, grant) {
            try refuseEscalation(name, persona, scope, by: grant.caller, to: "make")
            if let actsFor { try checkActing(for: actsFor, grant) }
        }
        try refusePast(expires)
        let secret = TokenService.newSecret()
        let digest = Digest(of: secret)
        let token = try await database.write { [policy] tx in
            // A binding in another workspace gives to a token that somebody there knows of: nobody takes its place.
            if try tx.row("SELECT name FROM tokens WHERE name = ?", [.string(name)]) != nil || policy.isNamed(name, besides: grant.workspace) {
                throw KeelError(.alreadyExists, "there is or was a token '\(name)'", hint: "choose another name", path: "name")
            }
            if try tx.row("SELECT count(*) AS n FROM tokens WHERE revoked_at IS NULL")?.int("n") ?? 0 >= Int64(TokenService.tokensMax) {
                throw KeelError(.unavailable, "there are \(TokenService.tokensMax) tokens already", hint: "revoke those no longer needed")
            }
            let token = Token(
                name: name, persona: persona, workspace: grant.workspace, scope: scope, actsFor: actsFor, createdAt: tx.now,
                createdBy: grant.caller.name, expiresAt: expires, revokedAt: nil, previousUntil: nil, lastUsedAt: nil)
            try tx.insert(token, digest)
            var data: JSON = [
                "persona": .string(persona.rawValue), "expires": expires.map { .string($0.description) } ?? .null,
                "digest": .string(digest.hex),
            ]
            if let scope { data["scope"] = scope.json }
            if let actsFor { data["acts_for"] = .string(actsFor) }
            try tx.record("token.created", on: "Token/\(name)", data, by: grant)
            return token
        }
        // A revocation may have been faster than this line: it stays.
        known.withLock { if $0.tokens[name] == nil { $0.add(StoredToken(token: token, digest: digest)) } }
        return IssuedToken(token: token, secret: secret)
    }

    /// Gives a token another secret; the ledger gets `token.rotated`. The secret until now stays good for `overlap`, so that programs can be given the
    /// new one without a gap.
    /// - Parameter expires: when the token ends; nil leaves its life as long as it was when it was made.
    /// - Throws: `notFound`; `failedPrecondition` for one that is revoked; `permissionDenied` as for `create`.
    public func rotate(_ name: String, overlap: TimeSpan, expires: Timestamp? = nil, by grant: Grant) async throws -> IssuedToken {
        try grant.require(.tokensManage, on: ResourceRef("Token", name, in: grant.workspace))
        try refusePast(expires)
        guard overlap >= .seconds(0), overlap <= .days(30) else {
            throw KeelError.invalid("must be between 0s and 30d", path: "overlap")
        }
        let secret = TokenService.newSecret()
        let digest = Digest(of: secret)
        let now = clock.now()
        let rotated = try await recordingDenials(of: name, grant) {
            try await database.write { [self] tx in
                var stored = try managed(name, by: grant, to: "rotate", tx)
                // Its maker was asked the same: whoever has the secret acts in the other's name.
                if let user = stored.token.actsFor { try checkActing(for: user, grant) }
                // The secret until now is good no longer than it would have been.
                let until = min(now + overlap, stored.token.expiresAt ?? .distantFuture)
                let life = stored.token.expiresAt.map { $0 - stored.token.createdAt }
                stored.previousDigest = stored.digest
                stored.digest = digest
                stored.token.previousUntil = until
                stored.token.expiresAt = expires ?? life.map { now + $0 }
                try tx.rotate(name, to: digest, previous: stored.previousDigest ?? digest, until: until, expires: stored.token.expiresAt)
                try tx.record(
                    "token.rotated", on: "Token/\(name)",
                    [
                        "digest": .string(digest.hex), "previous_until": .string(until.description),
                        "expires": stored.token.expiresAt.map { .string($0.description) } ?? .null,
                    ], by: grant)
                return stored
            }
        }
        known.withLock { known in
            known.names = known.names.filter { $0.value != name }
            known.previous = known.previous.filter { $0.value != name }
            if known.tokens[name]?.revokedAt == nil { known.add(rotated) }
        }
        return IssuedToken(token: rotated.token, secret: secret)
    }

    /// The principal that the secret belongs to; nil when it is unknown, expired or revoked. Touches no database.
    public func authenticate(_ secret: String) -> Principal? {
        guard TokenService.isSecret(secret) else { return nil }
        let digest = Digest(of: secret)
        let now = clock.now()
        return known.withLock { known in
            guard let token = known.token(digest, at: now), let principal = TokenService.principal(token, in: known, at: now) else { return nil }
            known.tokens[token.name]?.lastUsedAt = now
            known.used.insert(token.name)
            return principal
        }
    }

    /// The caller whose program this secret was lent to; nil when there is none.
    public func borrower(_ secret: String) -> Caller? {
        guard TokenService.isSecret(secret) else { return nil }
        let digest = Digest(of: secret)
        return lent.withLock { $0[digest] }?.with(requestID: Identifier.uuid())
    }

    /// When the token of this secret expired; nil for a secret that is unknown, revoked or still good. Only its holder can ask.
    public func expiry(of secret: String) -> Timestamp? {
        guard TokenService.isSecret(secret) else { return nil }
        let digest = Digest(of: secret)
        guard let token = known.withLock({ known in known.names[digest].flatMap { known.tokens[$0] } }), token.revokedAt == nil,
            let end = token.expiresAt
        else { return nil }
        return clock.now() >= end ? end : nil
    }

    /// The principal that a name in the audit trail stands for, as of now: the local owner, or the holder of a token that is still good.
    public func principal(named name: String) -> Principal? {
        if name == Principal.local.name { return .local }
        let now = clock.now()
        return known.withLock { known in
            guard let token = known.tokens[name], token.isGood(at: now) else { return nil }
            return TokenService.principal(token, in: known, at: now)
        }
    }

    /// Whoever acts for another is that one, with no more than both may; nil when the other's token is no longer good.
    private static func principal(_ token: Token, in known: Known, at now: Timestamp) -> Principal? {
        guard let other = token.actsFor else {
            return Principal(name: token.name, persona: token.persona, workspace: token.workspace, ceilings: ceilings(of: token))
        }
        guard let user = known.tokens[other], user.isGood(at: now) else { return nil }
        let own = Permission(Permissions.actions(of: token.persona), from: "Token/\(token.name)")
        return Principal(
            name: user.name, persona: user.persona, workspace: user.workspace, actors: [token.name],
            ceilings: ceilings(of: user) + ceilings(of: token) + [own])
    }

    private static func ceilings(of token: Token) -> [Permission] {
        guard let scope = token.scope else { return [] }
        return [Permission(scope.actions ?? Set(Action.allCases), in: scope.things, from: "Token/\(token.name)")]
    }

    /// A secret for a program that Keel runs for `caller`, good until `takeBack` or the end of this process; it is kept in memory only.
    ///
    /// The program acts in the caller's name with a data scientist's permissions at most, however much more the caller may do: whoever wrote the
    /// pipeline must not gain what whoever runs it may.
    /// - Parameter actor: what the program is, for the ledger: `Pipeline/training`.
    public func lend(to caller: Caller, actor: String) -> String {
        let secret = TokenService.newSecret()
        let borrower = caller.lent(to: actor, Permissions.actions(of: .dataScientist))
        lent.withLock { $0[Digest(of: secret)] = borrower }
        return secret
    }

    public func takeBack(_ secret: String) { lent.withLock { $0[Digest(of: secret)] = nil } }

    /// Stores when each token was last used; for a timer and the shutdown.
    public func flush() async throws {
        let used = known.withLock { known in
            defer { known.used = [] }
            return known.used.compactMap { name in known.tokens[name]?.lastUsedAt.map { (name, $0) } }
        }
        guard !used.isEmpty else { return }
        do {
            try await database.write { tx in
                for (name, time) in used {
                    try tx.execute("UPDATE tokens SET last_used_at = ? WHERE name = ?", [.timestamp(time), .string(name)])
                }
            }
        } catch {
            known.withLock { $0.used.formUnion(used.map(\.0)) }
            throw error
        }
    }

    /// The tokens of the workspace that the grant covers, the revoked too, by name.
    public func list(by grant: Grant) async throws -> [Token] {
        try grant.requireSome(.tokensManage)
        let stored = try await database.read { try $0.tokenRows() }.compactMap { StoredToken($0)?.token }
        // Uses of the last minute are not stored yet.
        return known.withLock { known in
            stored.filter { grant.covers(ResourceRef("Token", $0.name, in: $0.workspace)) }.map { token in
                var token = token
                token.lastUsedAt = known.tokens[token.name]?.lastUsedAt ?? token.lastUsedAt
                return token
            }
        }
    }

    /// Refuses the token from now on; the ledger gets `token.revoked`.
    /// - Throws: `notFound`; `permissionDenied` for a persona that may do more than the caller; `failedPrecondition` when it is revoked already.
    public func revoke(_ name: String, by grant: Grant) async throws {
        try grant.require(.tokensManage, on: ResourceRef("Token", name, in: grant.workspace))
        let revoked = try await recordingDenials(of: name, grant) {
            try await database.write { [self] tx in
                var stored = try managed(name, by: grant, to: "revoke", tx)
                stored.token.revokedAt = tx.now
                try tx.execute("UPDATE tokens SET revoked_at = ? WHERE name = ?", [.timestamp(tx.now), .string(name)])
                try tx.record("token.revoked", on: "Token/\(name)", by: grant)
                return stored
            }
        }
        known.withLock { $0.tokens[name] = revoked.token }
    }

    /// A token that the caller may change.
    private func managed(_ name: String, by grant: Grant, to verb: String, _ tx: Transaction) throws -> StoredToken {
        let all = try tx.tokenRows().compactMap { StoredToken($0) }.filter { $0.token.workspace == grant.workspace }
        guard let stored = all.first(where: { $0.token.name == name }) else {
            throw KeelError.notFound(
                "there is no token '\(name)'", hint: nearest(name, in: all.map(\.token.name)).map { "did you mean '\($0)'?" })
        }
        try refuseEscalation(name, stored.token.persona, stored.token.scope, by: grant.caller, to: verb)
        guard stored.token.revokedAt == nil else { throw KeelError(.failedPrecondition, "the token '\(name)' is revoked already") }
        return stored
    }

    private func refusePast(_ expires: Timestamp?) throws(KeelError) {
        guard let expires, expires <= clock.now() else { return }
        throw KeelError.invalid(
            "the token would have expired already, at \(expires)", hint: "give an instant in the future", path: "expires")
    }

    /// Only the holder of a token, and an owner, may let another act in its name.
    private func checkActing(for name: String, _ grant: Grant) throws {
        guard let other = known.withLock({ $0.tokens[name] }), other.isGood(at: clock.now()), other.workspace == grant.workspace,
            other.actsFor == nil
        else {
            throw KeelError.invalid("there is no token '\(name)' that another can act for", path: "acts_for")
        }
        guard grant.caller.persona == .owner || grant.caller.name == name, grant.caller.actors.isEmpty else {
            throw KeelError(
                .permissionDenied, "\(grant.caller.name) may not let another act for '\(name)'", hint: "ask '\(name)' or an owner",
                path: "acts_for")
        }
    }

    /// The permission table let the caller come this far; a token of a higher persona may still be out of reach, which is a denial too.
    private func recordingDenials<T>(of name: String, _ grant: Grant, _ body: () async throws -> T) async throws -> T {
        do { return try await body() } catch let error as KeelError where error.code == .permissionDenied {
            try await denied(grant.caller, .tokensManage, "Token/\(name)")
            throw error
        }
    }

    /// Nobody makes, rotates or revokes a token that may do what they may not themselves, in its own workspace. What other workspaces give to it they
    /// give to whoever manages it.
    private func refuseEscalation(
        _ name: String, _ persona: Persona, _ scope: TokenScope?, by caller: Caller, to verb: String
    ) throws(KeelError) {
        if let actor = caller.actors.first {
            throw KeelError(
                .permissionDenied, "\(actor) acts for \(caller.name) and may not \(verb) tokens, which outlive what it may do",
                hint: "\(caller.name) does it without an agent")
        }
        guard persona != .system else {
            throw .invalid("'system' is Keel itself: no token can be it", hint: "programs use the persona 'service'", path: "persona")
        }
        var actions = Permissions.actions(of: persona)
        if let limit = scope?.actions { actions.formIntersection(limit) }
        let excess = actions.filter { !caller.may($0, on: nil) }
        guard excess.isEmpty else {
            throw KeelError(
                .permissionDenied, "\(caller.name) (\(caller.persona.rawValue)) may not \(verb) a token of persona '\(persona.rawValue)'",
                hint: "it may do what you may not: \(excess.map(\.rawValue).sorted().joined(separator: ", ")); ask an owner",
                path: "persona")
        }
        for permission in policy.permissions(of: name, in: caller.workspace) {
            let excess = permission.actions.intersection(scope?.actions ?? permission.actions).filter { !caller.may($0, on: nil) }
            guard excess.isEmpty else {
                throw KeelError(
                    .permissionDenied, "\(caller.name) (\(caller.persona.rawValue)) may not \(verb) the token '\(name)': \(permission.source) names it",
                    hint: "it may do what you may not: \(excess.map(\.rawValue).sorted().joined(separator: ", ")); ask an owner", path: "name")
            }
        }
    }

    // MARK: Secrets

    static let prefix = "keel_"
    private static let secretLength = 48
    private static func isSecret(_ text: String) -> Bool { text.utf8.count == secretLength && text.hasPrefix(prefix) }

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

extension TokenService: Authenticator {
    public func principal(of credential: String) throws(KeelError) -> Principal? {
        guard credential.hasPrefix(TokenService.prefix) else { return nil }
        if let principal = authenticate(credential) { return principal }
        throw KeelError(
            .unauthenticated, expiry(of: credential).map { "the token expired at \($0)" } ?? "the token is not valid",
            hint: "keel tokens create makes one; it is shown once")
    }
}
