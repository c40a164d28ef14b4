import Contracts
import Crypto
import CryptoExtras
import Foundation
import OpenIDConnect
import Synchronization

final class ManualClock: Clock {
    private let time = Mutex(Timestamp(seconds: 1_700_000_000))
    func now() -> Timestamp { time.withLock { $0 } }
    func advance(_ span: TimeSpan) { time.withLock { $0 = $0 + span } }
}

func base64url(_ bytes: some Sequence<UInt8>) -> String {
    Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
}

/// A private key that signs tokens, with its public half as a JSON Web Key.
struct TokenKey: Sendable {
    let id: String?
    let algorithm: String
    let jwk: JSON
    let sign: @Sendable ([UInt8]) throws -> [UInt8]

    private static func jwk(_ id: String?, _ members: KeyValuePairs<String, JSON>) -> JSON {
        var jwk = JSON.of(members)
        if let id { jwk["kid"] = .string(id) }
        return jwk
    }

    static func p256(_ id: String?) -> TokenKey {
        let key = P256.Signing.PrivateKey()
        let point = key.publicKey.rawRepresentation
        return TokenKey(
            id: id, algorithm: "ES256",
            jwk: jwk(
                id, ["kty": "EC", "crv": "P-256", "x": .string(base64url(point.prefix(32))), "y": .string(base64url(point.suffix(32)))])
        ) { Array(try key.signature(for: $0).rawRepresentation) }
    }

    static func p384(_ id: String?) -> TokenKey {
        let key = P384.Signing.PrivateKey()
        let point = key.publicKey.rawRepresentation
        return TokenKey(
            id: id, algorithm: "ES384",
            jwk: jwk(
                id, ["kty": "EC", "crv": "P-384", "x": .string(base64url(point.prefix(48))), "y": .string(base64url(point.suffix(48)))])
        ) { Array(try key.signature(for: $0).rawRepresentation) }
    }

    static func p521(_ id: String?) -> TokenKey {
        let key = P521.Signing.PrivateKey()
        let point = key.publicKey.rawRepresentation
        return TokenKey(
            id: id, algorithm: "ES512",
            jwk: jwk(
                id, ["kty": "EC", "crv": "P-521", "x": .string(base64url(point.prefix(66))), "y": .string(base64url(point.suffix(66)))])
        ) { Array(try key.signature(for: $0).rawRepresentation) }
    }

    static func ed25519(_ id: String?) -> TokenKey {
        let key = Curve25519.Signing.PrivateKey()
        return TokenKey(
            id: id, algorithm: "EdDSA",
            jwk: jwk(id, ["kty": "OKP", "crv": "Ed25519", "x": .string(base64url(key.publicKey.rawRepresentation))])
        ) { Array(try key.signature(for: $0)) }
    }

    static func rsa(_ id: String?, _ algorithm: String = "RS256", key: _RSA.Signing.PrivateKey = rsaKey) throws -> TokenKey {
        let numbers = try key.publicKey.getKeyPrimitives()
        let padding: _RSA.Signing.Padding = algorithm.hasPrefix("PS") ? .PSS : .insecurePKCS1v1_5
        return TokenKey(
            id: id, algorithm: algorithm,
            jwk: jwk(id, ["kty": "RSA", "n": .string(base64url(numbers.modulus)), "e": .string(base64url(numbers.publicExponent))])
        ) { bytes in
            let signature =
                switch algorithm.suffix(3) {
                case "384": try key.signature(for: SHA384.hash(data: bytes), padding: padding)
                case "512": try key.signature(for: SHA512.hash(data: bytes), padding: padding)
                default: try key.signature(for: SHA256.hash(data: bytes), padding: padding)
                }
            return Array(signature.rawRepresentation)
        }
    }

    /// Making one takes long, so tests share it.
    static let rsaKey: _RSA.Signing.PrivateKey = {
        guard let key = try? _RSA.Signing.PrivateKey(keySize: .bits2048) else { preconditionFailure("no key could be made") }
        return key
    }()

    /// A token of these texts, signed by this key.
    func token(header: String, claims: String) throws -> String {
        let signed = base64url(header.utf8) + "." + base64url(claims.utf8)
        return signed + "." + base64url(try sign(Array(signed.utf8)))
    }

    func token(_ claims: JSON, header changes: KeyValuePairs<String, JSON?> = [:]) throws -> String {
        var header = JSON.of(["alg": .string(algorithm), "typ": "JWT"])
        if let id { header["kid"] = .string(id) }
        for (name, value) in changes { header[name] = value }
        return try token(header: header.text, claims: claims.text)
    }
}

/// The documents of a provider, in memory.
final class Provider: IssuerDocuments {
    struct State {
        var keys: [JSON]
        var issuer: String
        var maxAge: TimeSpan?
        var failure: KeelError?
        var asked: [String] = []
    }
    let url: String
    let state: Mutex<State>

    init(_ url: String = "https://login.example.com", _ keys: TokenKey...) {
        self.url = url
        state = Mutex(State(keys: keys.map(\.jwk), issuer: url))
    }

    func show(_ keys: TokenKey...) { state.withLock { $0.keys = keys.map(\.jwk) } }
    func fail(_ error: KeelError?) { state.withLock { $0.failure = error } }
    /// How often its keys were fetched.
    var fetches: Int { state.withLock { $0.asked.filter { $0.hasSuffix("/jwks") }.count } }

    func document(at url: String) async throws -> IssuerDocument {
        try state.withLock { state in
            state.asked.append(url)
            if let failure = state.failure { throw failure }
            if url.hasSuffix("/.well-known/openid-configuration") {
                return IssuerDocument(content: ["issuer": .string(state.issuer), "jwks_uri": .string(self.url + "/jwks")])
            }
            return IssuerDocument(content: ["keys": .array(state.keys)], maxAge: state.maxAge)
        }
    }
}

/// An issuer with its provider, and a server that knows it.
struct Scene {
    let clock = ManualClock()
    let provider: Provider
    let issuer: OpenIDIssuer
    let authenticator: OpenIDAuthenticator

    init(
        _ keys: TokenKey..., audiences: [String] = ["keel"], groupsClaim: String = "groups", algorithms: [SignatureAlgorithm]? = nil,
        fetched: Bool = true
    ) async throws {
        provider = Provider()
        let jwks = keys.map(\.jwk)
        provider.state.withLock { $0.keys = jwks }
        issuer = try OpenIDIssuer(
            name: "people", url: provider.url, audiences: audiences, groupsClaim: groupsClaim,
            algorithms: Set(algorithms ?? SignatureAlgorithm.allCases))
        authenticator = OpenIDAuthenticator([issuer], documents: provider, clock: clock)
        if fetched { await authenticator.refresh() }
    }

    var second: Double { clock.now().seconds }

    /// Claims that are good for an hour.
    func claims(_ changes: KeyValuePairs<String, JSON?> = [:]) -> JSON {
        var claims = JSON.of([
            "iss": .string(provider.url), "sub": "alice", "aud": "keel", "iat": .double(second), "exp": .double(second + 3600),
        ])
        for (name, value) in changes { claims[name] = value }
        return claims
    }

    /// Why a token is refused, or nothing.
    func refusal(_ token: String) -> KeelError? {
        do {
            return try authenticator.principal(of: token) == nil ? KeelError(.internal, "not taken for a token") : nil
        } catch { return error }
    }
}
