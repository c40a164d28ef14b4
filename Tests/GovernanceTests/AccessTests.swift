import Contracts
import Foundation
import Governance
import Storage
import Synchronization
import Testing

private final class ManualClock: Clock {
    private let time = Mutex(Timestamp(seconds: 1_700_000_000))
    func now() -> Timestamp { time.withLock { $0 } }
    func advance(_ span: TimeSpan) { time.withLock { $0 = $0 + span } }
}

@Suite("Tokens")
struct TokenTests {
    @Test("a token has no name that the audit trail gives to callers without one", arguments: ["local", "nobody", "keel"])
    func reserved(name: String) async throws {
        let service = try await TokenService.open(database: try await Home().database)
        let error = try await #require(throws: KeelError.self) {
            try await service.create(name: name, persona: .service, by: try grant(.tokensManage))
        }
        #expect(error.path == "name")
    }

    @Test("a token lets its holder in as its persona until it is revoked, also after a restart")
    func lifeCycle() async throws {
        let home = try await Home()
        let service = try await TokenService.open(database: home.database)
        let manage = try grant(.tokensManage)
        let issued = try await service.create(name: "replay", persona: .service, by: manage)
        #expect(issued.secret.hasPrefix("keel_") && issued.secret.utf8.count == 48)
        let caller = try #require(service.authenticate(issued.secret))
        #expect(caller.name == "replay" && caller.persona == .service)
        let last = try #require(issued.secret.last)
        #expect(service.authenticate(String(issued.secret.dropLast()) + (last == "A" ? "B" : "A")) == nil)
        #expect(service.authenticate("") == nil)

        let again = try await TokenService.open(database: home.database)
        #expect(again.authenticate(issued.secret)?.name == "replay")
        try await again.revoke("replay", by: manage)
        #expect(again.authenticate(issued.secret) == nil)
        #expect(try await home.events("token.").map(\.kind) == ["token.created", "token.revoked"])
        #expect(try await again.list(by: manage).map { $0.revokedAt == nil } == [false])
        await #expect(throws: KeelError.self) { try await service.create(name: "replay", persona: .service, by: manage) }
        await #expect(throws: KeelError.self) { try await service.revoke("replay", by: manage) }
    }

    @Test("A6: a token is revoked by who may do as much as it, and by nobody else")
    func revocation() async throws {
        let home = try await Home()
        let service = try await TokenService.open(database: home.database)
        for persona in [Persona.owner, .mlEngineer, .dataScientist, .riskOfficer, .platformEngineer, .service] {
            _ = try await service.create(name: persona.rawValue, persona: persona, by: try grant(.tokensManage))
        }
        let engineer = try Grant.check(Caller(name: "pat", persona: .platformEngineer), may: .tokensManage)
        for persona in [Persona.owner, .mlEngineer, .dataScientist, .riskOfficer, .service] {
            await #expect(throws: KeelError.self) { try await service.revoke(persona.rawValue, by: engineer) }
        }
        try await service.revoke(Persona.platformEngineer.rawValue, by: engineer)
        #expect(try await service.list(by: engineer).filter { $0.revokedAt != nil }.map(\.persona) == [.platformEngineer])
    }

    @Test("an expired token lets nobody in")
    func expiry() async throws {
        let (home, clock) = (try await Home(), ManualClock())
        let service = try await TokenService.open(database: home.database, clock: clock)
        let issued = try await service.create(name: "t", persona: .service, expires: clock.now() + .hours(1), by: grant(.tokensManage))
        #expect(service.authenticate(issued.secret) != nil)
        clock.advance(.hours(1))
        #expect(service.authenticate(issued.secret) == nil)
        await #expect(throws: KeelError.self) {
            try await service.create(name: "u", persona: .service, expires: clock.now(), by: grant(.tokensManage))
        }
    }

    @Test("nobody makes a token that may do more than they may")
    func escalation() async throws {
        let service = try await TokenService.open(database: try await Home().database)
        let platform = try grant(.tokensManage, .platformEngineer, name: "pat")
        for persona in Persona.allCases {
            let allowed = persona != .system && Permissions.actions(of: persona).isSubset(of: Permissions.actions(of: .platformEngineer))
            let made = try? await service.create(name: "by-pat-\(persona.rawValue)", persona: persona, by: platform)
            #expect((made != nil) == allowed, "\(persona)")
        }
        await #expect(throws: KeelError.self) { try await service.create(name: "s", persona: .system, by: grant(.tokensManage)) }
        _ = try await service.create(name: "o", persona: .owner, by: grant(.tokensManage))
    }

    @Test("a refused making or revocation of a token is recorded as a denial, a mistake is not")
    func refusals() async throws {
        let home = try await Home()
        let audit = AccessAudit(database: home.database)
        let service = try await TokenService.open(
            database: home.database, denied: { try await audit.recordDenial($0, action: $1, subject: $2) })
        let platform = try grant(.tokensManage, .platformEngineer, name: "pat")
        _ = try await service.create(name: "o", persona: .owner, by: grant(.tokensManage))
        await #expect(throws: KeelError.self) { try await service.revoke("o", by: platform) }
        await #expect(throws: KeelError.self) { try await service.create(name: "p", persona: .owner, by: platform) }
        await #expect(throws: KeelError.self) { try await service.revoke("nobody", by: platform) }
        let events = try await home.events("access.denied")
        #expect(events.map(\.subject) == ["Token/o", "Token/p"])
        #expect(events.allSatisfy { $0.caller == "pat" && $0.data["action"]?.string == "tokens.manage" })
    }

    @Test("the secret is nowhere in the files of the home, its digest is")
    func hashedAtRest() async throws {
        let home = try await Home()
        let service = try await TokenService.open(database: home.database)
        let secrets = try await [
            service.create(name: "a", persona: .owner, by: grant(.tokensManage)),
            service.create(name: "b", persona: .service, by: grant(.tokensManage)),
        ]
        for file in try FileManager.default.contentsOfDirectory(atPath: home.folder) where file.hasPrefix("keel.sqlite") {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: home.folder + "/" + file))
            for issued in secrets { #expect(bytes.range(of: Data(issued.secret.utf8.dropFirst(5))) == nil, "\(file)") }
        }
        let digests = try await home.database.read { try $0.rows("SELECT digest FROM tokens ORDER BY name").map { $0.text("digest") } }
        #expect(digests == secrets.map { Digest(of: $0.secret).hex })
    }
}

@Suite("Refusals in the ledger")
struct AccessAuditTests {
    private let risk = Caller(name: "rita", persona: .riskOfficer)

    @Test("a refusal is an event at once; repetitions are counted into one more event when the minute is over")
    func aggregation() async throws {
        let (home, clock) = (try await Home(), ManualClock())
        let audit = AccessAudit(database: home.database, clock: clock)
        for _ in 0..<10 { try await audit.recordDenial(risk, action: .releasesForce, subject: "Endpoint/delay") }
        var events = try await home.events("access.denied")
        #expect(events.map { $0.data["count"]?.integer } == [1])
        #expect(events[0].caller == "rita" && events[0].subject == "Endpoint/delay" && events[0].data["action"]?.string == "releases.force")
        clock.advance(.seconds(61))
        try await audit.recordDenial(risk, action: .tokensManage, subject: "*")
        events = try await home.events("access.denied")
        #expect(events.map { $0.data["count"]?.integer } == [1, 9, 1])
    }

    @Test("a flood of different refusals writes a bounded number of events and loses none of the counts")
    func flood() async throws {
        let (home, clock) = (try await Home(), ManualClock())
        let audit = AccessAudit(database: home.database, clock: clock)
        for i in 0..<1000 {
            try await audit.recordDenial(Caller(name: "x\(i)", persona: .service), action: .ledgerRead, subject: "Thing/\(i % 7)")
        }
        try await audit.flush()
        let events = try await home.events("access.denied")
        #expect(events.count <= 66)
        #expect(events.compactMap { $0.data["count"]?.integer }.reduce(0, +) == 1000)
    }
}
