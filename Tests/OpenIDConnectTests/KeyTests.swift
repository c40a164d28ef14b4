import Contracts
import Governance
import OpenIDConnect
import Synchronization
import Testing

@Suite("Keys of identity providers")
struct KeyTests {
    private static let down = KeelError(.unavailable, "Connection refused")

    @Test("before the first fetch a token cannot be judged, and afterwards it can")
    func first() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key, fetched: false)
        let token = try key.token(scene.claims())
        #expect(scene.refusal(token)?.code == .unavailable)
        // What is wrong for other reasons is said at once.
        #expect(scene.refusal(try key.token(scene.claims(["aud": "other"])))?.code == .unauthenticated)
        await scene.authenticator.refresh()
        #expect(scene.refusal(token) == nil)
        #expect(scene.authenticator.problems.isEmpty)
    }

    @Test("a new key of the issuer is fetched when a token names it, and the old one is refused once it is gone")
    func rotation() async throws {
        let (old, new) = (TokenKey.p256("old"), TokenKey.p256("new"))
        let scene = try await Scene(old)
        let before = try old.token(scene.claims())
        #expect(scene.refusal(before) == nil)
        scene.clock.advance(.seconds(60))
        scene.provider.show(new)
        let after = try new.token(scene.claims())
        let refusal = scene.refusal(after)
        #expect(refusal?.code == .unavailable && refusal?.message.contains("may be signed with a new key") == true)
        await scene.authenticator.refresh()
        #expect(scene.refusal(after) == nil)
        // It was remembered as good, by a key that the issuer has withdrawn.
        #expect(scene.refusal(before)?.code == .unavailable)
        scene.clock.advance(.seconds(30))
        await scene.authenticator.refresh()
        #expect(scene.refusal(before)?.message == "the token is not valid: 'people' has no key 'old'")
    }

    @Test("tokens that name no key: the only key is meant, a new one is fetched, and of several none is guessed")
    func unnamed() async throws {
        let (old, new) = (TokenKey.p256(nil), TokenKey.p256(nil))
        let scene = try await Scene(old)
        #expect(scene.refusal(try old.token(scene.claims())) == nil)
        scene.provider.show(new)
        scene.clock.advance(.seconds(60))
        let token = try new.token(scene.claims())
        #expect(scene.refusal(token)?.code == .unavailable)
        await scene.authenticator.refresh()
        #expect(scene.refusal(token) == nil)
        // A signature that is still wrong after a fetch is wrong.
        let forged = try TokenKey.p256(nil).token(scene.claims())
        #expect(scene.refusal(forged)?.code == .unavailable)
        scene.clock.advance(.seconds(30))
        await scene.authenticator.refresh()
        #expect(scene.refusal(forged)?.message == "the token is not valid: its signature is wrong")
        scene.provider.show(old, new)
        scene.clock.advance(.seconds(600))
        await scene.authenticator.refresh()
        #expect(scene.refusal(try new.token(scene.claims(["sub": "bob"])))?.message.contains("has several") == true)
    }

    @Test("unknown keys cost the provider one fetch in 30 seconds, however many are named")
    func flood() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        for i in 0..<1000 {
            let stranger = TokenKey(id: "k\(i)", algorithm: "ES256", jwk: key.jwk, sign: key.sign)
            let refusal = scene.refusal(try stranger.token(scene.claims()))
            #expect(refusal?.code == (i < IssuerKeys.askedMax ? .unavailable : .unauthenticated))
            await scene.authenticator.refresh()
        }
        #expect(scene.provider.fetches == 1)
        scene.clock.advance(.seconds(29))
        await scene.authenticator.refresh()
        #expect(scene.provider.fetches == 1)
        scene.clock.advance(.seconds(1))
        await scene.authenticator.refresh()
        #expect(scene.provider.fetches == 2)
        // They were looked for: now they are refused for good, and good tokens are not.
        let stranger = TokenKey(id: "k0", algorithm: "ES256", jwk: key.jwk, sign: key.sign)
        #expect(scene.refusal(try stranger.token(scene.claims()))?.code == .unauthenticated)
        #expect(scene.refusal(try key.token(scene.claims())) == nil)
    }

    @Test("keys are fetched every five minutes, or as the issuer says within bounds")
    func period() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        func wait(_ seconds: Int64) async -> Int {
            scene.clock.advance(.seconds(seconds))
            await scene.authenticator.refresh()
            return scene.provider.fetches
        }
        #expect(await wait(299) == 1)
        scene.provider.state.withLock { $0.maxAge = .seconds(3600) }
        #expect(await wait(1) == 2)
        #expect(await wait(899) == 2)
        scene.provider.state.withLock { $0.maxAge = .seconds(0) }
        #expect(await wait(1) == 3)
        #expect(await wait(59) == 3)
        #expect(await wait(1) == 4)
    }

    @Test("while the provider is down the known keys go on for a day, and it is asked ever less often")
    func down() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        let reports = Mutex<[String]>([])
        scene.provider.fail(Self.down)
        scene.clock.advance(.seconds(300))
        let began = scene.clock.now()
        var attempts: [Double] = []
        for _ in 0..<240 {
            let before = scene.provider.state.withLock { $0.asked.count }
            await scene.authenticator.refresh { line in reports.withLock { $0.append(line) } }
            if scene.provider.state.withLock({ $0.asked.count }) > before { attempts.append((scene.clock.now() - began).seconds) }
            scene.clock.advance(.seconds(1))
        }
        #expect(attempts == [0, 1, 3, 7, 15, 31, 63, 123, 183])
        #expect(reports.withLock { $0.count } == 1)
        #expect(scene.refusal(try key.token(scene.claims())) == nil)
        let problem = try #require(scene.authenticator.problems.first)
        #expect(problem.subject == "Issuer/people" && problem.since == began)
        #expect(problem.what == "its keys cannot be fetched: Connection refused; the known ones are used until 2023-11-15T22:13:20Z")
        // A key that is not known may be one that cannot be fetched now: it is not refused.
        for _ in 0..<3 { #expect(scene.refusal(try TokenKey.p256("new").token(scene.claims()))?.code == .unavailable) }

        scene.clock.advance(.hours(23))
        #expect(scene.refusal(try key.token(scene.claims())) == nil)
        scene.clock.advance(.hours(1))
        #expect(scene.refusal(try key.token(scene.claims()))?.code == .unavailable)

        scene.provider.fail(nil)
        await scene.authenticator.refresh { line in reports.withLock { $0.append(line) } }
        #expect(scene.refusal(try key.token(scene.claims())) == nil)
        #expect(scene.authenticator.problems.isEmpty)
        #expect(reports.withLock { $0.last } == "Issuer/people: its keys can be fetched again")
    }

    @Test("a discovery document of another issuer, and a key set without a key, are a problem and change nothing")
    func wrongDocuments() async throws {
        let key = TokenKey.p256("a")
        let scene = try await Scene(key)
        scene.provider.state.withLock { $0.issuer = "https://evil.example.com" }
        scene.clock.advance(.seconds(300))
        await scene.authenticator.refresh()
        #expect(
            scene.authenticator.problems.first?.what.contains(
                "its discovery document is of the issuer 'https://evil.example.com' and not of 'https://login.example.com'") == true)
        scene.provider.state.withLock { $0.issuer = scene.provider.url }
        for keys in [[], [["kty": "oct", "k": "AA"]], [JSON](repeating: key.jwk, count: 101)] as [[JSON]] {
            scene.provider.state.withLock { $0.keys = keys }
            scene.clock.advance(.seconds(300))
            await scene.authenticator.refresh()
            #expect(scene.authenticator.problems.first?.what.contains("its key set") == true)
        }
        #expect(scene.refusal(try key.token(scene.claims())) == nil)
    }

    @Test("several issuers at once: each is checked with its own keys only")
    func several() async throws {
        let (person, job) = (TokenKey.p256("same"), TokenKey.p256("same"))
        let (people, jobs) = (Provider("https://people.example.com", person), Provider("https://jobs.example.com", job))
        struct Both: IssuerDocuments {
            let providers: [Provider]
            func document(at url: String) async throws -> IssuerDocument {
                guard let provider = providers.first(where: { url.hasPrefix($0.url) }) else {
                    throw KeelError(.unavailable, "no such host")
                }
                return try await provider.document(at: url)
            }
        }
        let clock = ManualClock()
        let authenticator = OpenIDAuthenticator(
            [
                try OpenIDIssuer(name: "people", url: people.url, audiences: ["keel"]),
                try OpenIDIssuer(name: "jobs", url: jobs.url, audiences: ["keel-jobs"], workspace: try WorkspaceID("training")),
            ], documents: Both(providers: [people, jobs]), clock: clock)
        await authenticator.refresh()
        func token(_ key: TokenKey, _ provider: Provider, _ audience: String) throws -> String {
            try key.token([
                "iss": .string(provider.url), "sub": "alice", "aud": .string(audience), "exp": .double(clock.now().seconds + 60),
            ])
        }
        #expect(try authenticator.principal(of: token(person, people, "keel"))?.name == "people:alice")
        let principal = try authenticator.principal(of: token(job, jobs, "keel-jobs"))
        #expect(principal?.name == "jobs:alice" && principal?.workspace.name == "training")
        for mixed in [try token(job, people, "keel"), try token(person, jobs, "keel-jobs"), try token(person, people, "keel-jobs")] {
            let error = #expect(throws: KeelError.self) { try authenticator.principal(of: mixed) }
            #expect(error?.code == .unauthenticated)
        }
        // One provider that is down takes nothing from the other.
        people.fail(Self.down)
        clock.advance(.seconds(300))
        await authenticator.refresh()
        #expect(authenticator.problems.map(\.subject) == ["Issuer/people"])
        #expect(try authenticator.principal(of: token(job, jobs, "keel-jobs")) != nil)
    }

    @Test(
        "how long keys may be kept, as an answer's Cache-Control says",
        arguments: [
            ("max-age=60", 60), ("public, Max-Age = \"120\", must-revalidate", 120), ("no-store", nil), ("max-age=-1", nil),
            ("max-age", nil),
            ("max-age=99999999999999999999", nil), ("s-maxage=5", nil), ("", nil),
        ] as [(String, Int64?)])
    func cacheControl(text: String, seconds: Int64?) {
        #expect(HTTPIssuerDocuments.maxAge(text) == seconds.map { .seconds($0) })
    }

    @Test("a clock that is set back does not put the next fetch off")
    func clockSetBack() {
        var keys = IssuerKeys()
        let now = Timestamp(seconds: 1_700_000_000)
        keys.begin(at: now)
        _ = keys.finish([], maxAge: nil, at: now)
        #expect(!keys.isDue(at: now + .seconds(299)) && keys.isDue(at: now + .seconds(300)))
        #expect(keys.isDue(at: now - .hours(1)))
    }

    @Test("a key that is asked for during a fetch is looked for in the next")
    func during() throws {
        var keys = IssuerKeys()
        let now = Timestamp(seconds: 1_700_000_000)
        let key = try #require(IssuerKey(TokenKey.p256("a").jwk))
        keys.begin(at: now)
        let mayComeFirst = keys.mayCome("b", at: now)
        #expect(mayComeFirst)
        let hasChanged = keys.finish([key], maxAge: nil, at: now + .seconds(1))
        #expect(hasChanged)
        let mayStillCome = keys.mayCome("b", at: now + .seconds(2))
        #expect(mayStillCome)
        #expect(!keys.isDue(at: now + .seconds(29)) && keys.isDue(at: now + .seconds(30)))
        keys.begin(at: now + .seconds(30))
        let hasChangedAgain = keys.finish([key], maxAge: nil, at: now + .seconds(31))
        #expect(!hasChangedAgain)
        let mayComeLast = keys.mayCome("b", at: now + .seconds(32))
        #expect(!mayComeLast)
    }
}
