import Contracts
import Foundation
import Serving
import Storage
import Testing

@Suite("Endpoints of one name in environments and workspaces")
struct EnvironmentTests {
    private static let fraud = WorkspaceID(stored: "fraud")
    private static let delayOfFraud = ResourceRef("Endpoint", "delay", in: fraud)

    private func ids(_ home: Home, _ endpoint: ResourceRef) async throws -> [String] {
        let grant = try Home.may(.predictionsRead, in: endpoint.workspace)
        return try await PredictionQueries(database: home.database).predictions(endpoint: endpoint, grant).map(\.id)
    }

    private func labels(_ home: Home, _ endpoint: ResourceRef) async throws -> [Label?] {
        let grant = try Home.may(.predictionsRead, in: endpoint.workspace)
        return try await PredictionQueries(database: home.database).predictions(endpoint: endpoint, grant).map(\.label)
    }

    @Test("staging and production are two endpoints: each counts its releases, answers by its own and logs for itself")
    func sideBySide() async throws {
        let home = try await Home()
        let plan = RolloutPlan(shares: [0.5, 1], stepRequests: 1_000_000)
        try await home.service.configure([.delay(plan), EndpointSpec(.staging, rollout: plan)])
        try await home.release(0.2, 0.8)
        try await home.release(0.3, 0.7, to: .staging)
        try await home.release(0.4, 0.6, to: .staging)
        #expect(try await home.service.releases(endpoint: .delay, Home.deployer).map(\.name) == ["delay/1"])
        #expect(try await home.service.releases(endpoint: .staging, Home.deployer).map(\.name) == ["delay@staging/2", "delay@staging/1"])
        #expect(try await home.service.state(endpoint: .delay, Home.deployer).candidate == nil)
        #expect(try await home.service.state(endpoint: .staging, Home.deployer).candidate == 2)
        // The same id is a prediction of each.
        let production = try await home.runtime.infer(endpoint: .delay, request: Home.request([0]), ids: ["p"])
        let staging = try await home.runtime.infer(endpoint: .staging, request: Home.request([0]), ids: ["p"])
        #expect(production.modelVersion == "0.2" && staging.modelVersion != "0.2")
        try await home.runtime.flush()
        #expect(try await ids(home, .delay) == ["p"])
        // Of the rollout in staging both releases scored it.
        #expect(try await ids(home, .staging) == ["p", "p"])
        // Promoted there, nothing moves here.
        _ = try await home.service.promote(endpoint: .staging, Home.deployer)
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).modelVersion == "0.2")
        let events = try await home.database.read { try $0.ledgerEvents(kind: "release.promoted") }
        #expect(events.map(\.subject) == ["Endpoint/delay", "Endpoint/delay@staging", "Endpoint/delay@staging"])
        await home.stop()
    }

    @Test("a label is of the predictions of its id in its workspace, and of one endpoint when it names one, early or late")
    func labelled() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        try await home.service.configure([EndpointSpec(Self.delayOfFraud)], in: Self.fraud)
        for endpoint in [.delay, .staging, Self.delayOfFraud] as [ResourceRef] { try await home.release(0.2, 0.8, to: endpoint) }
        let early = try await home.runtime.label([LabelInput(id: "early", value: 1)], of: .staging, Home.labeller)
        #expect(early.unknown == 1)
        for endpoint in [.delay, .staging, Self.delayOfFraud] as [ResourceRef] {
            _ = try await home.runtime.infer(endpoint: endpoint, request: Home.request([0, 1]), ids: ["early", "late"])
        }
        try await home.runtime.flush()
        #expect(try await labels(home, .staging) == [1, nil])
        #expect(try await labels(home, .delay) == [nil, nil])
        #expect(try await home.runtime.label([LabelInput(id: "late", value: 0)], of: .delay, Home.labeller).joined == 1)
        #expect(try await labels(home, .staging) == [1, nil])
        #expect(try await labels(home, .delay) == [nil, 0])
        // Of whichever endpoint, but not in another workspace.
        #expect(try await home.runtime.label([LabelInput(id: "late", value: 1)], Home.labeller).joined == 1)
        #expect(try await labels(home, .staging) == [1, 1])
        #expect(try await labels(home, .delay) == [nil, 1])
        #expect(try await labels(home, Self.delayOfFraud) == [nil, nil])
        await home.stop()
    }

    @Test("a workspace sees and changes its own endpoints only, whatever the others are called")
    func workspaces() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let unknown = try await #require(throws: KeelError.self) {
            try await home.runtime.infer(endpoint: Self.delayOfFraud, request: Home.request([0]))
        }
        // The name that is in another workspace gets the answer of one that is nowhere, without a hint at what is near it.
        #expect(unknown.code == .notFound && unknown.hint == nil)
        #expect(unknown.message == "there is no endpoint 'delay'")
        try await home.service.configure([EndpointSpec(Self.delayOfFraud)], in: Self.fraud)
        try await home.release(0.3, 0.7, to: Self.delayOfFraud)
        #expect(try await home.runtime.infer(endpoint: Self.delayOfFraud, request: Home.request([0])).modelVersion == "0.3")
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).modelVersion == "0.2")
        // What is configured in one stays when the other loses its endpoints.
        try await home.service.configure([], in: .default)
        #expect(home.runtime.status().map(\.ref) == [Self.delayOfFraud])
        // A grant in one workspace is not one for the other.
        let error = await #expect(throws: KeelError.self) { try await home.service.releases(endpoint: Self.delayOfFraud, Home.deployer) }
        #expect(error?.code == .internal)
        let kept = try await home.database.read(in: Self.fraud) { try DeploymentService.releases(ofModel: "delay", in: $0) }
        #expect(kept == ["delay/1"])
        let events = try await home.database.read(in: Self.fraud) { try $0.ledgerEvents(kind: "release.created") }
        #expect(events.map(\.workspace) == ["fraud"])
        await home.stop()
    }

    @Test("what is not recovered yet when the server is killed is put where it belongs")
    func killed() async throws {
        let home = try await Home(writes: false)
        let specs = [EndpointSpec.delay(), EndpointSpec(.staging)]
        try await home.service.configure(specs)
        try await home.service.configure([EndpointSpec(Self.delayOfFraud)], in: Self.fraud)
        for endpoint in [.delay, .staging, Self.delayOfFraud] as [ResourceRef] {
            try await home.release(0.2, 0.8, to: endpoint)
            _ = try await home.runtime.infer(endpoint: endpoint, request: Home.request([0]), ids: ["of \(endpoint)"])
        }
        let again = try await Home(at: home.remains())
        for endpoint in [.delay, .staging, Self.delayOfFraud] as [ResourceRef] {
            #expect(try await ids(again, endpoint) == ["of \(endpoint)"])
        }
        await again.stop()
    }

    @Test("who may release in staging may not in production")
    func granted() async throws {
        let denials = Home.Texts()
        let home = try await Home(denials: denials)
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        let digest = try await home.bundle(0.2, 0.8)
        let scope = PermissionScope(environments: [.staging])
        let eve = Caller(name: "eve", persona: .member, permissions: [Permission([.releasesDeploy], in: scope, from: "RoleBinding/stagers")])
        let grant = try Grant.check(eve, may: .releasesDeploy, on: .staging)
        _ = try await home.service.createRelease(endpoint: .staging, model: "m", version: "1", bundle: digest, gate: .passed, grant)
        #expect(throws: KeelError.self) { try Grant.check(eve, may: .releasesDeploy, on: ResourceRef.delay) }
        // A grant for all that she may is none for production either.
        let all = try Grant.check(eve, may: .releasesDeploy)
        let error = await #expect(throws: KeelError.self) {
            try await home.service.createRelease(endpoint: .delay, model: "m", version: "1", bundle: digest, gate: .passed, all)
        }
        #expect(error?.code == .permissionDenied)
        await home.stop()
    }

    @Test("a promoted release says where it came from and what was known of it there, and is made once")
    func promoted() async throws {
        let home = try await Home()
        try await home.service.configure([.delay(), EndpointSpec(.staging)])
        try await home.release(0.2, 0.8, to: .staging)
        for i in 0..<3 { _ = try await home.runtime.infer(endpoint: .staging, request: Home.request([0]), ids: ["p\(i)"]) }
        _ = try await home.runtime.label([LabelInput(id: "p0", value: 1)], Home.labeller)
        let reader = try Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead)
        let record = try await home.service.record(endpoint: .staging, release: nil, reader)
        #expect(record.hasServed && record.predictions == 3 && record.labels == 1)
        #expect(record.json["created_by"] == "ada" && record.json["promoted_by"] == "ada" && record.json["reason"] == "first release of the endpoint")
        let source = PromotedFrom(endpoint: .staging, release: 1, digest: record.release.digest, evidence: record.json)
        func promote(_ source: PromotedFrom) async throws -> Release {
            try await home.service.createRelease(
                endpoint: .delay, model: "delay", version: "0.2", bundle: record.release.bundle, gate: .passed, from: source, Home.deployer)
        }
        let made = try await promote(source)
        #expect(made.promotedFrom == source && made.digest != record.release.digest)
        #expect(try await promote(source).number == made.number)
        let stored = try #require(try await home.service.releases(endpoint: .delay, Home.deployer).first)
        #expect(stored.promotedFrom == source && stored.digest == made.digest)
        let event = try #require(try await home.events("release.created").first)
        #expect(event.data["promoted_from"]?["evidence"]?["predictions"] == 3)
        // One that nobody deployed has served nowhere.
        let waiting = try await home.service.createRelease(
            endpoint: .staging, model: "delay", version: "9", bundle: try await home.bundle(0.3, 0.4), gate: .passed, Home.deployer)
        #expect(try await home.service.record(endpoint: .staging, release: waiting.number, reader).hasServed == false)
        // One that answered as a canary and was taken back says so.
        for i in 0..<3 { _ = try await home.runtime.infer(endpoint: .staging, request: Home.request([0]), ids: ["q\(i)"]) }
        try await home.release(0.25, 0.75, to: .staging)
        _ = try await home.service.promote(endpoint: .staging, Home.deployer)
        _ = try await home.service.rollback(endpoint: .staging, to: 1, reason: "it was worse", Home.deployer)
        let back = try await home.service.record(endpoint: .staging, release: 3, reader)
        #expect(back.takenBack?.data["reason"] == "it was worse" && back.json["taken_back_reason"] == "it was worse")
        #expect(try await home.service.record(endpoint: .staging, release: 1, reader).takenBack == nil)
        // The evidence is part of what the digest covers.
        _ = try await home.database.write { tx in
            try tx.execute("UPDATE releases SET promoted_from = replace(promoted_from, '\"predictions\":3', '\"predictions\":9') WHERE endpoint = 'delay'")
        }
        let forged = await #expect(throws: KeelError.self) { try await home.service.releases(endpoint: .delay, Home.deployer) }
        #expect(forged?.code == .corrupted)
        await home.stop()
    }
}
