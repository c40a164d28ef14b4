import Contracts
import Crypto
import Foundation
import Governance
import OpenIDConnect
import TestSupport
import Testing

@Suite("Tokens of identity providers")
struct TokenTests {
    @Test(
        "a token that the issuer signed says who calls, whatever the algorithm",
        arguments: [
            TokenKey.p256("a"), .p384("a"), .p521("a"), .ed25519("a"), try! .rsa("a"), try! .rsa("a", "RS384"), try! .rsa("a", "RS512"),
            try! .rsa("a", "PS256"), try! .rsa("a", "PS384"), try! .rsa("a", "PS512"),
        ])
    func algorithms(key: TokenKey) async throws {
        let scene = try await Scene(key)
        let principal = try scene.authenticator.principal(of: try key.token(scene.claims(["groups": ["fraud", "all"]])))
        #expect(principal == Principal(name: "people:alice", persona: .member, groups: ["people:fraud", "people:all"]))
        #expect(scene.refusal(try key.token(scene.claims()).dropLast(8) + "AAAAAAAA")?.message.contains("its signature is wrong") == true)
        #expect(scene.refusal(try key.token(scene.claims(), header: ["alg": "ES257"]))?.message.contains("is not allowed") == true)
    }

    @Test("a changed claim, and a signature of another token, are refused")
    func forged() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let good = try key.token(scene.claims()).split(separator: ".")
        let other = try key.token(scene.claims(["sub": "owner"])).split(separator: ".")
        #expect(scene.refusal("\(good[0]).\(other[1]).\(good[2])")?.message == "the token is not valid: its signature is wrong")
        #expect(scene.refusal("\(good[0]).\(good[1]).\(other[2])")?.message == "the token is not valid: its signature is wrong")
        #expect(scene.refusal("\(good[0]).\(good[1]).")?.message == "the token is not valid: its signature is wrong")
    }

    @Test("a token without a signature, and one that is signed with the public key as a secret, are refused")
    func confusion() async throws {
        let key = try TokenKey.rsa("a")
        let scene = try await Scene(key)
        for algorithm in ["none", "None", "NONE", "", "HS256", "HS512", "RS1", "rs256"] {
            let refusal = scene.refusal(try key.token(scene.claims(), header: ["alg": .string(algorithm)]))
            #expect(refusal?.code == .unauthenticated && refusal?.message.contains("'\(algorithm)' is not allowed") == true)
        }
        let unsigned = base64url(#"{"alg":"none"}"#.utf8) + "." + base64url(scene.claims().bytes) + "."
        #expect(scene.refusal(unsigned)?.message.contains("'none' is not allowed") == true)
        // The public key in every form in which it could be taken for a shared secret.
        let publicKey = TokenKey.rsaKey.publicKey
        let head = base64url(#"{"alg":"HS256","kid":"a"}"#.utf8) + "." + base64url(scene.claims().bytes)
        for secret in [Array(publicKey.pemRepresentation.utf8), Array(publicKey.derRepresentation), key.jwk.bytes] {
            let code = HMAC<SHA256>.authenticationCode(for: Array(head.utf8), using: SymmetricKey(data: secret))
            #expect(scene.refusal(head + "." + base64url(code))?.message.contains("'HS256' is not allowed") == true)
        }
    }

    @Test("the key decides on the algorithm, not the token")
    func unfit() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        #expect(
            scene.refusal(try key.token(scene.claims(), header: ["alg": "RS256"]))?.message
                == "the token is not valid: the key that it names is not for its algorithm 'RS256'")
        let rsa = try TokenKey.rsa("a")
        var onlyPSS = rsa.jwk
        onlyPSS["alg"] = "PS256"
        let strict = try await Scene(rsa)
        strict.provider.state.withLock { $0.keys = [onlyPSS] }
        strict.clock.advance(.seconds(600))
        await strict.authenticator.refresh()
        #expect(strict.refusal(try rsa.token(strict.claims()))?.message.contains("not for its algorithm 'RS256'") == true)
        let narrow = try await Scene(key, algorithms: [.rs256])
        #expect(narrow.refusal(try key.token(narrow.claims()))?.hint == "allowed are RS256")
    }

    @Test("keys for encryption, symmetric keys, weak and malformed ones check nothing")
    func uselessKeys() throws {
        let good = TokenKey.p256("a").jwk
        #expect(IssuerKey(good) != nil)
        func changed(_ name: String, _ value: JSON) -> JSON {
            var jwk = good
            jwk[name] = value
            return jwk
        }
        let useless: [JSON] = [
            changed("use", "enc"), changed("key_ops", ["sign"]), changed("alg", "ECDH-ES"), changed("crv", "P-384"), changed("x", "AA"),
            changed("y", .string(base64url([UInt8](repeating: 1, count: 32)))), ["kty": "oct", "k": "c2VjcmV0", "kid": "a"], [:], 1,
            ["kty": "RSA", "n": .string(base64url([UInt8](repeating: 0xff, count: 64))), "e": "AQAB"],
            ["kty": "RSA", "n": .string(base64url([UInt8](repeating: 0xff, count: 4096))), "e": "AQAB"], ["kty": "RSA", "n": "", "e": ""],
            ["kty": "OKP", "crv": "Ed25519", "x": "AA"], ["kty": "OKP", "crv": "X25519", "x": "AA"],
        ]
        for jwk in useless { #expect(IssuerKey(jwk) == nil, "\(jwk.text)") }
    }

    @Test("a key that the token brings along is not believed")
    func ownKey() async throws {
        let (key, own) = (TokenKey.p256("a"), TokenKey.p256("a"))
        let scene = try await Scene(key)
        for name in ["jwk", "jku", "x5u", "x5c"] {
            let token = try own.token(scene.claims(), header: [name: name == "jwk" ? own.jwk : "https://evil.example.com"])
            #expect(scene.refusal(token)?.message == "the token is not valid: its signature is wrong")
        }
    }

    @Test("claims that are missing, wrong or of another time are refused, each with its reason")
    func claims() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let second = scene.second
        let refused: [(KeyValuePairs<String, JSON?>, String)] = [
            (["iss": nil], "who issued it"), (["iss": "https://other.example.com"], "is none that this server knows"),
            (["iss": .string(scene.provider.url + "/")], "is none that this server knows"), (["iss": 5], "who issued it"),
            (["aud": nil], "whom it is for"), (["aud": "other"], "it is for 'other' and not for this server"),
            (["aud": ["a", "b"]], "it is for 'a', 'b' and not"), (["aud": []], "not for this server"), (["aud": ["Keel"]], "not for this"),
            (["exp": nil], "when it expires"), (["exp": "never"], "is not a number of seconds"),
            (["exp": .double(second - 60)], "it expired at"), (["exp": 0], "it expired at"), (["exp": .int(.min)], "it expired at"),
            (["nbf": .double(second + 61)], "it is not valid before"), (["nbf": .int(.max)], "it is not valid before"),
            (["nbf": ["x"]], "is not a number"), (["iat": .double(second + 61)], "issued in the future"),
            (["iat": nil, "groups": ["g"]], "does not say when it was issued"), (["sub": nil], "its subject (sub) is missing"),
            (["sub": ""], "its subject (sub) is missing"), (["sub": 7], "its subject (sub) is missing"),
            (["sub": "a\u{0}b"], "control characters"), (["sub": .string(String(repeating: "a", count: 257))], "longer than 256"),
            (["groups": 5], "is a number and not a list"), (["groups": ["a", 5]], "does not list texts"),
            (["groups": ["a": "b"]], "is an object"), (["act": "agent"], "who acts (act) is missing"),
            (["act": ["sub": "x", "iss": 5]], "the issuer of who acts"),
        ]
        for (changes, words) in refused {
            let refusal = scene.refusal(try key.token(scene.claims(changes)))
            #expect(
                refusal?.code == .unauthenticated && refusal?.message.contains(words) == true, "\(changes): \(refusal?.message ?? "taken")")
        }
        let taken: [KeyValuePairs<String, JSON?>] = [
            ["exp": .double(second - 59)], ["nbf": .double(second + 59)], ["iat": .double(second + 59)], ["iat": nil],
            ["aud": ["a", "keel"]],
            ["exp": .double(1e300)], ["groups": nil], ["groups": []], ["groups": .null],
        ]
        for changes in taken { #expect(scene.refusal(try key.token(scene.claims(changes))) == nil, "\(changes)") }
    }

    @Test("what is no signed token is refused without harm")
    func malformed() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let claims = scene.claims().text
        let head = #"{"alg":"ES256","kid":"a"}"#
        let refused: [(String, String)] = [
            (try key.token(header: head, claims: "[]"), "its claims is a list"),
            (try key.token(header: #"{""#, claims: claims), "its header"),
            (try key.token(header: #"{"kid":"a"}"#, claims: claims), "names no algorithm"),
            (try key.token(header: #"{"alg":5}"#, claims: claims), "names no algorithm"),
            (try key.token(header: #"{"alg":"ES256","alg":"none"}"#, claims: claims), "same key twice"),
            (try key.token(header: #"{"alg":"ES256","kid":5}"#, claims: claims), "(kid) is not a text"),
            (try key.token(header: #"{"alg":"ES256","crit":["exp"],"exp":1}"#, claims: claims), "crit"),
            (try key.token(header: #"{"alg":"ES256","typ":"logout+jwt"}"#, claims: claims), "does not say who calls"),
            (try key.token(header: head, claims: claims.dropLast() + #","sub":"owner"}"#), "same key twice"),
            (try key.token(header: head, claims: claims.dropLast() + #","s\u0075b":"owner"}"#), "same key twice"),
            (try key.token(header: head, claims: String(repeating: "[", count: 5000)), "levels of nesting"),
            ("eyJ.", "2 parts"), ("ey.a.b.c", "4 parts"), ("eyJh.a.b.c.d", "it is encrypted"), ("ey=.a.b", "not base64url"),
            ("eyJ*.a.b", "not base64url"), ("eyJhbGciOiJFUzI1NiJ9.e30.a b", "not base64url"),
            ("ey" + String(repeating: ".", count: 16_000), "parts and not 3"),
            ("ey." + String(repeating: "a", count: 20_000), "more than 16384"),
        ]
        for (token, words) in refused {
            let refusal = scene.refusal(token)
            #expect(
                refusal?.code == .unauthenticated && refusal?.message.contains(words) == true,
                "\(token.prefix(80)): \(refusal?.message ?? "taken")")
        }
        let large = try key.token(scene.claims(["x": .string(String(repeating: "a", count: 20_000))]))
        #expect(scene.refusal(large)?.message.contains("more than 16384 bytes") == true)
        // Other credentials are somebody else's to judge.
        for other in ["", "keel_secret", "a.b.c", "ey", "password"] { #expect(try scene.authenticator.principal(of: other) == nil) }
    }

    @Test("random changes of a good token are refused and crash nothing")
    func fuzzed() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let good = Array(try key.token(scene.claims(["groups": ["a"]])).utf8)
        var random = Seeded(7)
        for _ in 0..<2000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: bytes.indices, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                default: bytes.insert(UInt8.random(in: 0..<128, using: &random), at: place)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            let principal = try? scene.authenticator.principal(of: text)
            // The unused bits at the end of a signature's base64 say nothing.
            if principal != nil { #expect(text.utf8.dropLast().elementsEqual(good.dropLast()), "\(text)") }
        }
    }

    @Test("who acts for the subject becomes its actors, the nearest first")
    func actors() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let act: JSON = [
            "sub": "agent",
            "act": ["sub": "planner", "iss": "https://agents.example.com", "act": ["sub": "bot", "iss": .string(scene.provider.url)]],
        ]
        let principal = try scene.authenticator.principal(of: try key.token(scene.claims(["act": act])))
        #expect(principal?.name == "people:alice")
        #expect(principal?.actors == ["people:agent", "https://agents.example.com:planner", "people:bot"])
        var deep: JSON = ["sub": "x"]
        for _ in 0..<8 { deep = ["sub": "x", "act": deep] }
        #expect(scene.refusal(try key.token(scene.claims(["act": deep])))?.message.contains("more than 8 act") == true)
    }

    @Test("groups are a list or one text, under a name or at the end of a way")
    func groupClaims() async throws {
        let key = TokenKey.p256("a")
        func groups(_ claim: String, _ changes: KeyValuePairs<String, JSON?>) async throws -> [String]? {
            let scene = try await Scene(key, groupsClaim: claim)
            return try scene.authenticator.principal(of: try key.token(scene.claims(changes)))?.groups
        }
        #expect(try await groups("realm_access.roles", ["realm_access": ["roles": ["a", "b"]]]) == ["people:a", "people:b"])
        #expect(try await groups("https://example.com/groups", ["https://example.com/groups": ["a"]]) == ["people:a"])
        #expect(try await groups("repository", ["repository": "org/repo"]) == ["people:org/repo"])
        #expect(try await groups("kubernetes.io.namespace", ["kubernetes.io": ["namespace": "a"]]) == [])
        #expect(try await groups("realm_access.roles", ["realm_access": 5]) == [])
    }

    @Test("a group that was lost is access that is lost: groups count for five minutes from when the token was issued")
    func lostGroups() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let policy = AccessPolicy()
        var content = AccessPolicy.Workspace()
        content.groups["people:fraud"] = [Permission([.registryWrite], from: "RoleBinding/fraud")]
        policy.replace(.default, with: content)
        let (member, plain) = (try key.token(scene.claims(["groups": ["fraud", "other"]])), try key.token(scene.claims()))
        func caller(_ token: String) throws -> Caller? { try scene.authenticator.principal(of: token).map { try policy.caller($0) } }
        #expect(try caller(member)?.actions == [.registryWrite])
        #expect(try caller(plain)?.actions == [])
        // Of another issuer a group of the same name gives nothing.
        #expect(try policy.caller(Principal(name: "jobs:alice", persona: .member, groups: ["jobs:fraud"])).actions == [])
        scene.clock.advance(.seconds(359))
        #expect(try caller(member)?.actions == [.registryWrite])
        scene.clock.advance(.seconds(1))
        #expect(scene.refusal(member)?.message.contains("its groups count for 5m") == true)
        #expect(scene.refusal(plain) == nil)
        // A binding that is taken away ends what it gave with the next request.
        let again = try key.token(scene.claims(["groups": ["fraud"]]))
        #expect(try caller(again)?.actions == [.registryWrite])
        policy.replace(.default, with: AccessPolicy.Workspace())
        #expect(try caller(again)?.actions == [])
    }

    @Test("a token that was found good is remembered until it expires, and five minutes at most")
    func remembered() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let short = try key.token(scene.claims(["exp": .double(scene.second + 30)]))
        #expect(scene.refusal(short) == nil)
        scene.clock.advance(.seconds(89))
        #expect(scene.refusal(short) == nil)
        scene.clock.advance(.seconds(1))
        #expect(scene.refusal(short)?.message.contains("it expired at") == true)
    }

    @Test("many tokens do not take memory without bounds")
    func many() async throws {
        let key = TokenKey.ed25519("a")
        let scene = try await Scene(key)
        let first = try key.token(scene.claims(["sub": "first"]))
        #expect(scene.refusal(first) == nil)
        for i in 0..<9000 { #expect(scene.refusal(try key.token(scene.claims(["sub": .string("u\(i)")]))) == nil) }
        #expect(scene.refusal(first) == nil)
    }

    @Test("an issuer's settings that cannot be meant are refused")
    func settings() throws {
        func problem(_ name: String = "people", _ url: String = "https://a.example.com", _ audiences: [String] = ["keel"]) -> String? {
            do {
                _ = try OpenIDIssuer(name: name, url: url, audiences: audiences)
                return nil
            } catch { return error.path }
        }
        #expect(problem() == nil)
        for name in ["", "a b", "a:b", "ä", String(repeating: "a", count: 41)] { #expect(problem(name) == "name") }
        for url in ["", "http://a.example.com", "a.example.com", "https://a?x=1", "https://a/#x", "https://u:p@a/"] {
            #expect(problem("people", url) == "url", "\(url)")
        }
        #expect(problem("people", "https://a.example.com", []) == "audience")
        #expect(problem("people", "https://a.example.com", [""]) == "audience")
    }
}
