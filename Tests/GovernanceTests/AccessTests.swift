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

    @Test("a token with a scope may do no more than it, and only to what it names")
    func scope() async throws {
        let home = try await Home()
        let service = try await TokenService.open(database: home.database)
        let scope = TokenScope(
            actions: [.predict, .ledgerRead], things: PermissionScope(kinds: ["Endpoint"], names: [try NamePattern("fraud-*", path: "names")]))
        let issued = try await service.create(name: "scoring", persona: .mlEngineer, scope: scope, by: try grant(.tokensManage))
        for service in [service, try await TokenService.open(database: home.database)] {
            let caller = try AccessPolicy().caller(try #require(service.authenticate(issued.secret)))
            #expect(throws: Never.self) { try Grant.check(caller, may: .predict, on: "Endpoint/fraud-eu") }
            #expect(throws: KeelError.self) { try Grant.check(caller, may: .predict, on: "Endpoint/delay") }
            #expect(throws: KeelError.self) { try Grant.check(caller, may: .predict, on: "Model/fraud-eu") }
            #expect(throws: KeelError.self) { try Grant.check(caller, may: .trackingRead, on: "Endpoint/fraud-eu") }
            // For everything it may do it to some things only: a verb that names none refuses it.
            let some = try Grant.check(caller, may: .predict)
            #expect(throws: KeelError.self) { try some.require(.predict) }
            #expect(throws: Never.self) { try some.require(.predict, on: ResourceRef("Endpoint", "fraud-eu")) }
            #expect(throws: KeelError.self) { try some.require(.predict, on: ResourceRef("Endpoint", "delay")) }
        }
    }

    @Test("an agent acts in another's name with what both may, and the ledger names both")
    func acting() async throws {
        let home = try await Home()
        let service = try await TokenService.open(database: home.database)
        let manage = try grant(.tokensManage)
        _ = try await service.create(name: "rita", persona: .riskOfficer, by: manage)
        let agent = try await service.create(name: "assistant", persona: .mlEngineer, actsFor: "rita", by: manage)
        let caller = try AccessPolicy().caller(try #require(service.authenticate(agent.secret)))
        #expect(caller.name == "rita" && caller.actors == ["assistant"])
        #expect(throws: Never.self) { try Grant.check(caller, may: .ledgerRead) }
        // The agent's persona may deploy, rita may not; rita may approve, the agent may not.
        #expect(throws: KeelError.self) { try Grant.check(caller, may: .releasesDeploy) }
        #expect(throws: KeelError.self) { try Grant.check(caller, may: .modelsApprove) }
        try await home.database.write { tx in _ = try tx.record("thing.done", on: "Thing/1", by: caller) }
        let event = try #require(try await home.events("thing.done").first)
        #expect(event.caller == "rita" && event.actors == ["assistant"])
        #expect(try await home.database.read { try $0.verifyLedger().broken } == nil)
        _ = try await home.database.write { try $0.execute("UPDATE ledger SET actors = '' WHERE kind = 'thing.done'") }
        #expect(try await home.database.read { try $0.verifyLedger().broken?.seq } == event.seq)

        // Who is let act for another is said by that one or an owner, and ends with the other's access.
        let engineer = try grant(.tokensManage, .platformEngineer, name: "pat")
        await #expect(throws: KeelError.self) {
            try await service.create(name: "a2", persona: .service, actsFor: "rita", by: engineer)
        }
        try await service.revoke("rita", by: manage)
        #expect(service.authenticate(agent.secret) == nil)
    }

    @Test("what is lent to a program is never more than the caller may")
    func lending() async throws {
        let service = try await TokenService.open(database: try await Home().database)
        let scope = Permission([.pipelinesRun, .trackingRead], in: .everything, from: "RoleBinding/runner")
        let caller = Caller(name: "ci", persona: .member, permissions: [scope])
        let borrower = try #require(service.borrower(service.lend(to: caller, actor: "Pipeline/train")))
        #expect(borrower.name == "ci" && borrower.actors == ["Pipeline/train"])
        #expect(throws: Never.self) { try Grant.check(borrower, may: .trackingRead) }
        #expect(throws: KeelError.self) { try Grant.check(borrower, may: .trackingWrite) }
        let owner = try #require(service.borrower(service.lend(to: .local, actor: "Pipeline/train")))
        #expect(throws: Never.self) { try Grant.check(owner, may: .trackingWrite) }
        #expect(throws: KeelError.self) { try Grant.check(owner, may: .tokensManage) }
    }

    @Test("rotation gives another secret; the one until now is good for the overlap, also after a restart")
    func rotation() async throws {
        let (home, clock) = (try await Home(), ManualClock())
        let service = try await TokenService.open(database: home.database, clock: clock)
        let manage = try grant(.tokensManage)
        let first = try await service.create(name: "ci", persona: .service, expires: clock.now() + .days(3650), by: manage)
        let second = try await service.rotate("ci", overlap: .hours(1), by: manage)
        let restarted = try await TokenService.open(database: home.database, clock: clock)
        for service in [service, restarted] {
            #expect(service.authenticate(first.secret)?.name == "ci" && service.authenticate(second.secret)?.name == "ci")
        }
        let refused = try await restarted.refused(by: Grant.check(.local, may: .ledgerRead))
        #expect(refused.isEmpty)
        let third = try await service.rotate("ci", overlap: .seconds(0), by: manage)
        #expect(service.authenticate(first.secret) == nil && service.authenticate(second.secret) == nil)
        #expect(service.authenticate(third.secret)?.name == "ci")
        try await service.revoke("ci", by: manage)
        #expect(service.authenticate(third.secret) == nil)
        await #expect(throws: KeelError.self) { try await service.rotate("ci", overlap: .hours(1), by: manage) }
    }

    @Test("the last use of a token is known at once, and stored by the minute")
    func lastUse() async throws {
        let (home, clock) = (try await Home(), ManualClock())
        let service = try await TokenService.open(database: home.database, clock: clock)
        let manage = try grant(.tokensManage)
        let issued = try await service.create(name: "ci", persona: .service, by: manage)
        #expect(try await service.list(by: manage).first?.lastUsedAt == nil)
        clock.advance(.hours(1))
        _ = service.authenticate(issued.secret)
        #expect(try await service.list(by: manage).first?.lastUsedAt == clock.now())
        try await service.flush()
        #expect(try await TokenService.open(database: home.database).list(by: manage).first?.lastUsedAt == clock.now())
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

@Suite("Nobody gains by a token what they may not do")
struct TokenPowerTests {
    private let manager = Caller(name: "pat", persona: .platformEngineer)

    private func may(_ caller: Caller) throws -> Grant { try Grant.check(caller, may: .tokensManage) }

    private func bound(_ policy: AccessPolicy, _ name: String, _ actions: Set<Action>, in workspace: WorkspaceID = .default) {
        var content = AccessPolicy.Workspace()
        content.principals[name] = [Permission(actions, from: "RoleBinding/powers")]
        policy.replace(workspace, with: content)
    }

    @Test("a token that role bindings give more than its manager may do is neither made, rotated nor revoked by them")
    func bound() async throws {
        let policy = AccessPolicy()
        let service = try await TokenService.open(database: try await Home().database, policy: policy)
        let owner = try grant(.tokensManage)
        _ = try await service.create(name: "robot", persona: .member, by: owner)
        _ = try await service.rotate("robot", overlap: .seconds(0), by: may(manager))
        bound(policy, "robot", [.releasesForce])
        let attempts: [() async throws -> Void] = [
            { _ = try await service.rotate("robot", overlap: .seconds(0), by: may(manager)) },
            { try await service.revoke("robot", by: may(manager)) },
        ]
        for attempt in attempts {
            let error = await #expect(throws: KeelError.self) { try await attempt() }
            #expect(error?.code == .permissionDenied && error?.message.contains("RoleBinding/powers") == true)
        }
        bound(policy, "next", [.releasesForce])
        let made = await #expect(throws: KeelError.self) { try await service.create(name: "next", persona: .member, by: may(manager)) }
        #expect(made?.code == .permissionDenied)
        // A name that another workspace has given something to is not theirs to take, and the answer is that of a name in use.
        bound(policy, "robot", [])
        bound(policy, "wanted", [.predict], in: try WorkspaceID("fraud"))
        let answers = [try await refusal(service, "wanted"), try await refusal(service, "robot")]
        #expect(answers[0]?.message.replacing("wanted", with: "robot") == answers[1]?.message && answers[0]?.code == answers[1]?.code)
        bound(policy, "next", [.releasesForce])
        // Within a scope that leaves out what they may not do, they may.
        let limited = TokenScope(actions: [.releasesDeploy])
        _ = try await service.create(name: "next", persona: .member, scope: limited, by: may(manager))
        _ = try await service.rotate("robot", overlap: .seconds(0), by: owner)
    }

    private func refusal(_ service: TokenService, _ name: String) async throws -> KeelError? {
        await #expect(throws: KeelError.self) { try await service.create(name: name, persona: .member, by: may(manager)) }
    }

    @Test("only the one in whose name a token acts, and an owner, rotate it; not even an agent of that one")
    func agents() async throws {
        let service = try await TokenService.open(database: try await Home().database)
        let owner = try grant(.tokensManage)
        _ = try await service.create(name: "pat", persona: .platformEngineer, by: owner)
        _ = try await service.create(name: "helper", persona: .member, actsFor: "pat", by: owner)
        let other = Caller(name: "pia", persona: .platformEngineer)
        let agent = Caller(name: "pat", persona: .platformEngineer, actors: ["helper"])
        for stranger in [other, agent] {
            let error = await #expect(throws: KeelError.self) {
                try await service.rotate("helper", overlap: .seconds(0), by: may(stranger))
            }
            #expect(error?.code == .permissionDenied)
        }
        _ = try await service.rotate("helper", overlap: .seconds(0), by: may(manager))
        // A token would outlive what its maker may: an agent makes none at all.
        let made = await #expect(throws: KeelError.self) { try await service.create(name: "mine", persona: .member, by: may(agent)) }
        #expect(made?.code == .permissionDenied)
    }

    @Test("an agent does no more than each of the two tokens may, whatever things their scopes name")
    func bothScopes() async throws {
        let policy = AccessPolicy()
        let service = try await TokenService.open(database: try await Home().database, policy: policy)
        let owner = try grant(.tokensManage)
        func things(_ pattern: String) throws -> TokenScope {
            TokenScope(things: PermissionScope(names: [try NamePattern(pattern, path: "")]))
        }
        _ = try await service.create(name: "dana", persona: .dataScientist, scope: things("fraud-*"), by: owner)
        let agent = try await service.create(name: "agent", persona: .dataScientist, scope: things("*-eu"), actsFor: "dana", by: owner)
        let caller = try policy.caller(try #require(service.authenticate(agent.secret)))
        func may(_ name: String) -> Bool { caller.may(.registryWrite, on: ResourceRef("Model", name)) }
        #expect(may("fraud-eu"))
        #expect(!may("fraud-us") && !may("delay-eu"))
        #expect(!caller.may(.registryWrite, on: nil))
    }

    @Test("a rotation revives no secret that had ended")
    func expired() async throws {
        let clock = ManualClock()
        let service = try await TokenService.open(database: try await Home(clock: clock).database, clock: clock)
        let owner = try grant(.tokensManage)
        let first = try await service.create(name: "ci", persona: .service, expires: clock.now() + .hours(1), by: owner)
        clock.advance(.seconds(3000))
        let second = try await service.rotate("ci", overlap: .hours(2), by: owner)
        #expect(service.authenticate(first.secret) != nil)
        clock.advance(.seconds(660))
        #expect(service.authenticate(first.secret) == nil && service.authenticate(second.secret) != nil)
        clock.advance(.hours(2))
        #expect(service.authenticate(second.secret) == nil)
        let third = try await service.rotate("ci", overlap: .hours(1), by: owner)
        #expect(service.authenticate(second.secret) == nil && service.authenticate(third.secret) != nil)
    }

    @Test("each sees the tokens it may manage, and nobody learns of those of another workspace")
    func seen() async throws {
        let policy = AccessPolicy()
        let service = try await TokenService.open(database: try await Home().database, policy: policy)
        let fraud = try WorkspaceID("fraud")
        policy.replace(fraud, with: AccessPolicy.Workspace())
        for name in ["ci-a", "ci-b", "robot"] { _ = try await service.create(name: name, persona: .member, by: try grant(.tokensManage)) }
        let keeper = Caller(
            name: "kim", persona: .member,
            permissions: [
                Permission([.tokensManage], in: PermissionScope(kinds: ["Token"], names: [try NamePattern("ci-*", path: "")]), from: "RoleBinding/k")
            ])
        #expect(try await service.list(by: may(keeper)).map(\.name) == ["ci-a", "ci-b"])
        let grant = try Grant.check(Caller(name: "fred", persona: .owner, workspace: fraud), may: .accessManage)
        var messages: [String] = []
        for name in ["robot", "robox"] {
            let error = await #expect(throws: KeelError.self) {
                try await policy.explain(name, may: .predict, on: "*", tokens: service, by: grant)
            }
            messages.append(error?.message.replacing(name, with: "X") ?? "")
        }
        #expect(messages[0] == messages[1] && !messages[0].isEmpty)
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

    @Test("refusals of an agent, and those in another workspace, are told apart from those of the same name")
    func apart() async throws {
        let home = try await Home()
        let audit = AccessAudit(database: home.database)
        let callers = [
            risk, Caller(name: "rita", persona: .riskOfficer, actors: ["agent"]),
            Caller(name: "rita", persona: .riskOfficer, workspace: try WorkspaceID("fraud")),
        ]
        for caller in callers { try await audit.recordDenial(caller, action: .releasesForce, subject: "Endpoint/delay") }
        let events = try await home.events("access.denied")
        #expect(events.map(\.actors) == [[], ["agent"], []] && events.map(\.workspace) == ["default", "default", "fraud"])
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

@Suite("Roles and their bindings")
struct RoleTests {
    private func resource(_ text: String) throws -> Resource { try Resource(json: try JSON.parse(text)) }

    private func binding(_ spec: String) throws -> RoleBindingSpec {
        try RoleBindingSpec(
            resource: resource(#"{"apiVersion":"keel/v1","kind":"RoleBinding","metadata":{"name":"b"},"spec":\#(spec)}"#))
    }

    private let resources: [ResourceRef: [String: String]] = [
        ResourceRef("Endpoint", "fraud-eu", environment: .staging): ["team": "fraud"],
        ResourceRef("Endpoint", "fraud-eu", environment: .production): ["team": "fraud"],
        ResourceRef("Endpoint", "delay", environment: .production): [:], ResourceRef("Dataset", "flights"): ["team": "fraud"],
    ]

    @Test("a binding gives its role to those it names, for what it selects, in its workspace")
    func binding() throws {
        let policy = AccessPolicy()
        let access = AccessDeclarations(
            roles: [],
            bindings: [
                try binding(#"{"role": "ml-engineer", "groups": ["people:fraud"], "environments": ["staging"], "labels": {"team": "fraud"}}"#)
            ])
        #expect(access.mistakes(among: resources) { _ in nil }.isEmpty)
        policy.replace(.default, with: access.content(in: .default, among: resources))
        let dana = Principal(name: "people:dana", persona: .member, groups: ["people:fraud"])
        let caller = try policy.caller(dana)
        #expect(throws: Never.self) { try Grant.check(caller, may: .releasesDeploy, on: "Endpoint/fraud-eu@staging") }
        #expect(throws: KeelError.self) { try Grant.check(caller, may: .releasesDeploy, on: "Endpoint/fraud-eu") }
        #expect(throws: KeelError.self) { try Grant.check(caller, may: .releasesDeploy, on: "Endpoint/delay") }
        let other = try policy.caller(Principal(name: "people:eve", persona: .member))
        #expect(throws: KeelError.self) { try Grant.check(other, may: .releasesDeploy, on: "Endpoint/fraud-eu@staging") }
    }

    @Test("whoever has no role in a workspace learns nothing of it, not even that there is one")
    func workspaces() throws {
        let policy = AccessPolicy()
        let fraud = try WorkspaceID("fraud")
        policy.replace(fraud, with: AccessPolicy.Workspace())
        let engineer = Principal(name: "dana", persona: .mlEngineer)
        let there = #expect(throws: KeelError.self) { try policy.caller(engineer, in: fraud) }
        let missing = #expect(throws: KeelError.self) { try policy.caller(engineer, in: try WorkspaceID("xraud")) }
        #expect(there?.message.replacing("fraud", with: "xraud") == missing?.message && there?.code == missing?.code)
        #expect(try policy.caller(.local, in: fraud).persona == .owner)
        // The owner of another workspace is one there only.
        #expect(throws: KeelError.self) { try policy.caller(Principal(name: "o", persona: .owner, workspace: fraud), in: .default) }
        var content = AccessPolicy.Workspace()
        content.principals["dana"] = [Permission([.trackingRead], from: "RoleBinding/readers")]
        policy.replace(fraud, with: content)
        let caller = try policy.caller(engineer, in: fraud)
        #expect(throws: Never.self) { try Grant.check(caller, may: .trackingRead) }
        #expect(throws: KeelError.self) { try Grant.check(caller, may: .trackingWrite) }
    }

    @Test(
        "a binding that selects nothing, or names a role that is not there, is a mistake",
        arguments: [
            (#"{"role": "ml-enginer", "tokens": ["ci"]}"#, "RoleBinding/b.spec.role"),
            (#"{"role": "service", "tokens": ["ci"], "names": ["froud-*"]}"#, "RoleBinding/b.spec.names"),
            (#"{"role": "service", "tokens": ["ci"], "kinds": ["Endpont"]}"#, "RoleBinding/b.spec.kinds"),
            (#"{"role": "service", "tokens": ["ci"], "kinds": ["Dataset"], "names": ["fraud-*"]}"#, "RoleBinding/b.spec.names"),
            (#"{"role": "service", "tokens": ["ci"], "labels": {"team": "x"}}"#, "RoleBinding/b.spec.labels"),
        ])
    func nothing(spec: String, path: String) throws {
        let access = AccessDeclarations(roles: [], bindings: [try binding(spec)])
        #expect(access.mistakes(among: resources) { _ in nil }.map(\.path) == [path])
    }

    @Test(
        "what cannot be a binding is refused with its place",
        arguments: [
            (#"{"role": "service"}"#, "spec"), (#"{"role": "service", "users": ["dana"]}"#, "spec.users[0]"),
            (#"{"role": "service", "tokens": ["a b"]}"#, "spec.tokens[0]"),
            (#"{"role": "service", "tokens": ["a"], "environments": ["prod"]}"#, "spec.environments"),
            (#"{"role": "service", "tokens": ["a"], "resources": ["Endpoint/x"]}"#, "spec.resources"),
        ])
    func refused(spec: String, path: String) throws {
        let error = #expect(throws: KeelError.self) { try binding(spec) }
        #expect(error?.path == path)
    }
}
