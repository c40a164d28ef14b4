import Contracts
import Governance
import Synchronization

/// Says who holds a token that an identity provider signed (OpenID Connect, JSON Web Tokens), without asking the provider: its keys are fetched in
/// the background, by `run`.
///
/// The principal of a token is `ISSUER:sub`, its groups are `ISSUER:group`, with the issuer's short name in the settings.
public final class OpenIDAuthenticator: Authenticator {
    /// By what tokens say in `iss`.
    private let issuers: [String: OpenIDIssuer]
    private let documents: any IssuerDocuments
    private let clock: any Clock
    /// By the issuer's name.
    private let keys: Mutex<[String: IssuerKeys]>
    private let verified = Mutex(VerifiedTokens())

    package init(_ issuers: [OpenIDIssuer], documents: any IssuerDocuments, clock: any Clock = SystemClock()) {
        self.issuers = Dictionary(issuers.map { ($0.url, $0) }, uniquingKeysWith: { first, _ in first })
        self.documents = documents
        self.clock = clock
        keys = Mutex(Dictionary(issuers.map { ($0.name, IssuerKeys()) }, uniquingKeysWith: { first, _ in first }))
    }

    // MARK: Tokens

    public func principal(of credential: String) throws(KeelError) -> Principal? {
        guard !issuers.isEmpty, WebToken.isLike(credential) else { return nil }
        guard credential.utf8.count <= WebToken.bytesMax else { throw .refusedToken("it has more than \(WebToken.bytesMax) bytes") }
        let now = clock.now()
        let digest = Digest(of: credential)
        if let known = verified.withLock({ $0.principal(digest, at: now) }) { return known }
        return try check(credential, digest, at: now)
    }

    /// The principal that a name in the audit trail stands for: what its role bindings by name give it, for work that goes on without a token. Which groups
    /// it is in, a token alone can say.
    public func principal(named name: String) -> Principal? {
        guard let colon = name.firstIndex(of: ":"), let issuer = issuers.values.first(where: { $0.name == name[..<colon] }) else {
            return nil
        }
        return Principal(name: name, persona: .member, workspace: issuer.workspace)
    }

    /// What can be refused without a key is refused first.
    private func check(_ credential: String, _ digest: Digest, at now: Timestamp) throws(KeelError) -> Principal {
        let token = try WebToken(credential)
        guard let url = token.claims["iss"]?.string else { throw .refusedToken("it does not say who issued it (iss)") }
        guard let issuer = issuers[url] else {
            throw .refusedToken(
                "its issuer '\(url.shown)' is none that this server knows", hint: "the settings oidc.issuers name those that it knows")
        }
        guard let algorithm = SignatureAlgorithm(rawValue: token.algorithm), issuer.algorithms.contains(algorithm) else {
            let allowed = issuer.algorithms.map(\.rawValue).sorted().joined(separator: ", ")
            throw .refusedToken("its algorithm '\(token.algorithm.shown)' is not allowed", hint: "allowed are \(allowed)")
        }
        let claims = try TokenClaims(token.claims, of: issuer, at: now)
        try checkSignature(token, digest, algorithm, of: issuer, at: now)
        verified.withLock {
            $0.add(digest, claims.principal, of: issuer.name, bytes: credential.utf8.count, until: claims.until, at: now)
        }
        return claims.principal
    }

    private func checkSignature(
        _ token: WebToken, _ digest: Digest, _ algorithm: SignatureAlgorithm, of issuer: OpenIDIssuer, at now: Timestamp
    ) throws(KeelError) {
        switch keys.withLock({ $0[issuer.name]?.find(token.keyID, algorithm, at: now) ?? .notYet }) {
        case .key(let key):
            if key.isValid(token.signature, of: token.signed, by: algorithm) { return }
            // Without a name of the key, a wrong signature may be one by a new key.
            if token.keyID == nil { try awaitKey(digest.hex, of: issuer, at: now) }
            throw .refusedToken("its signature is wrong")
        case .notYet:
            throw KeelError(
                .unavailable, "the keys of the issuer '\(issuer.name)' have not been fetched", hint: OpenIDAuthenticator.laterHint)
        case .unknown:
            try awaitKey(token.keyID ?? digest.hex, of: issuer, at: now)
            throw .refusedToken(
                token.keyID.map { "'\(issuer.name)' has no key '\($0.shown)'" } ?? "'\(issuer.name)' has no key for \(algorithm.rawValue)")
        case .unfit: throw .refusedToken("the key that it names is not for its algorithm '\(algorithm.rawValue)'")
        case .ambiguous: throw .refusedToken("it does not name its key (kid), and '\(issuer.name)' has several")
        }
    }

    /// - Parameter id: the name of the key; of a token that names none, its digest.
    /// - Throws: `unavailable` when the key may come with the next fetch.
    private func awaitKey(_ id: String, of issuer: OpenIDIssuer, at now: Timestamp) throws(KeelError) {
        guard keys.withLock({ $0[issuer.name]?.mayCome(id, at: now) == true }) else { return }
        throw KeelError(
            .unavailable, "the token may be signed with a new key of '\(issuer.name)', and its keys are being fetched again",
            hint: OpenIDAuthenticator.laterHint)
    }

    private static let laterHint = "try again in a few seconds; keel doctor says what is wrong with an issuer"

    // MARK: Keys

    /// Fetches the keys of every issuer, again and again, until the task is cancelled.
    /// - Parameter report: gets a line when fetching begins to fail, fails for another reason, or works again.
    public func run(report: @escaping @Sendable (String) -> Void) async {
        await withDiscardingTaskGroup { group in
            for issuer in issuers.values {
                group.addTask { [self] in
                    repeat { await refresh(issuer, report) } while (try? await Task.sleep(for: .milliseconds(250))) != nil
                }
            }
        }
    }

    /// Fetches the keys of every issuer for which it is time.
    package func refresh(report: @escaping @Sendable (String) -> Void = { _ in }) async {
        for issuer in issuers.values { await refresh(issuer, report) }
    }

    private func refresh(_ issuer: OpenIDIssuer, _ report: @Sendable (String) -> Void) async {
        let now = clock.now()
        let begins = keys.withLock { keys in
            guard keys[issuer.name]?.isDue(at: now) == true else { return false }
            keys[issuer.name]?.begin(at: now)
            return true
        }
        guard begins else { return }
        let before = problem(of: issuer)?.what
        do {
            let (fetched, maxAge) = try await fetch(issuer)
            let hasChanged = keys.withLock { $0[issuer.name]?.finish(fetched, maxAge: maxAge, at: clock.now()) == true }
            if hasChanged { verified.withLock { $0.removeAll(of: issuer.name) } }
            if before != nil { report("Issuer/\(issuer.name): its keys can be fetched again") }
        } catch {
            keys.withLock { $0[issuer.name]?.fail(KeelError.wrapping(error), at: clock.now()) }
            guard !Task.isCancelled, let after = problem(of: issuer), after.what != before else { return }
            report("\(after.subject): \(after.what)")
        }
    }

    /// Reads the discovery document (OpenID Connect Discovery 1.0, section 4.3), then the key set that it names.
    private func fetch(_ issuer: OpenIDIssuer) async throws -> ([IssuerKey], maxAge: TimeSpan?) {
        let discovery = try await documents.document(at: issuer.discoveryURL).content
        guard let own = discovery["issuer"]?.string else {
            throw KeelError(.unavailable, "\(issuer.discoveryURL) does not name its issuer")
        }
        guard own == issuer.url else {
            throw KeelError(
                .unavailable, "its discovery document is of the issuer '\(own.shown)' and not of '\(issuer.url)'",
                hint: "the setting oidc.issuers.\(issuer.name).url must be the issuer to the letter")
        }
        guard let address = discovery["jwks_uri"]?.string else {
            throw KeelError(.unavailable, "\(issuer.discoveryURL) names no key set (jwks_uri)")
        }
        let set = try await documents.document(at: address)
        return (try IssuerKey.all(in: set.content), set.maxAge)
    }

    /// The issuers whose keys cannot be fetched, and what that means.
    public var problems: [Damage] { issuers.values.compactMap(problem).sorted { $0.subject < $1.subject } }

    private func problem(of issuer: OpenIDIssuer) -> Damage? {
        keys.withLock { keys in
            guard let state = keys[issuer.name], let problem = state.problem, let outlook = state.outlook else { return nil }
            return Damage(
                subject: "Issuer/\(issuer.name)", what: "its keys cannot be fetched: \(problem.error.message); \(outlook)",
                hint: problem.error.hint, since: problem.since)
        }
    }
}
