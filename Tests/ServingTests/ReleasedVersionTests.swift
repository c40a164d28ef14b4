import Contracts
import Foundation
import Registry
import Serving
import Storage
import Synchronization
import Testing

/// Registry and serving, connected as Platform connects them.
private struct Ports: VersionUsage, ReleasableVersions {
    func uses(_ db: any Querying, ofModel name: String, version: Int?) throws -> [String] {
        try DeploymentService.releases(ofModel: name, version: version.map(String.init), in: db)
    }
    func require(_ db: any Querying, model: String, version: String) throws {
        guard try RegistryService.isRegistered(db, model: model, version: Int(version) ?? 0) else { throw KeelError.notFound("it is gone") }
    }
}

/// Shows the instant that was set.
private final class SetClock: Contracts.Clock {
    private let instant = Mutex(Timestamp.systemNow())
    func move(_ span: TimeSpan) { instant.withLock { $0 = $0 + span } }
    func now() -> Timestamp { instant.withLock { $0 } }
}

@Suite("Releases and the versions that they name")
struct ReleasedVersionTests {
    private static let writer = try! Grant.check(Caller(name: "ada", persona: .owner), may: .registryWrite)
    private static let reader = try! Grant.check(Caller(name: "ada", persona: .owner), may: .releasesRead)

    @Test("whatever comes first, deletion, rename or release, no release names a version that is gone", arguments: 0..<6)
    func races(round: Int) async throws {
        let home = try await Home(versions: Ports())
        let registry = RegistryService(database: home.database, usage: Ports())
        try await home.service.configure([.delay()])
        let bundle = try await home.bundle(0.2, 0.8)
        for version in 1...20 {
            _ = try await registry.createVersion(model: "delay", source: "s3://b/\(version)", creatingModel: true, Self.writer)
        }
        let released = Home.Texts()
        await withTaskGroup(of: Void.self) { group in
            for version in 1...20 {
                group.addTask {
                    let made = try? await home.service.createRelease(
                        endpoint: .delay, model: "delay", version: "\(version)", bundle: bundle, gate: .passed, Home.deployer)
                    if let made { await released.add(made.modelVersion) }
                }
                group.addTask { try? await registry.deleteVersion(model: "delay", version: version, Self.writer) }
            }
            if round % 3 == 0 { group.addTask { _ = try? await registry.renameModel(name: "delay", to: "late", Self.writer) } }
            if round % 3 == 1 { group.addTask { try? await registry.deleteModel(name: "delay", Self.writer) } }
        }
        let named = try await home.database.read(in: .default) { try DeploymentService.releasedVersions(in: $0) }
        #expect(Set(named.map(\.version)) == Set(await released.texts))
        for (model, version) in named {
            #expect(try await home.database.read(in: .default) { try RegistryService.isRegistered($0, model: model, version: Int(version) ?? 0) })
        }
        await home.stop()
    }

    @Test("what was decided about a release is found after the clock was set back, and forward")
    func decisionsOverJumps() async throws {
        let clock = SetClock()
        let home = try await Home(clock: clock)
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        clock.move(.hours(-5))
        try await home.release(0.21, 0.79)
        clock.move(.days(400))
        try await home.release(0.22, 0.78)
        clock.move(.days(-400))
        _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        func kinds(_ version: String) async throws -> [String] {
            try await home.service.decisions(model: "delay", version: version, limit: 200, Self.reader).events.map(\.kind)
        }
        #expect(try await kinds("0.2") == ["release.created", "release.promoted"])
        #expect(try await kinds("0.21") == ["release.created", "rollout.started"])
        #expect(try await kinds("0.22") == ["release.created", "rollout.started", "release.promoted"])
        await home.stop()
    }

    @Test("who may deploy, but not force, cannot go back to a release whose gate failed; the refusal is recorded")
    func forcedRollback() async throws {
        let denials = Home.Texts()
        let home = try await Home(denials: denials)
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8, forced: true)
        try await home.release(0.21, 0.79)
        _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        let engineer = try Grant.check(Caller(name: "eve", persona: .mlEngineer), may: .releasesDeploy, on: "Endpoint/delay")
        let error = try await #require(throws: KeelError.self) {
            try await home.service.rollback(endpoint: .delay, to: 1, reason: "to see", engineer)
        }
        #expect(error.code == .permissionDenied)
        #expect(await denials.texts == ["eve releases.force Endpoint/delay"])
        // An owner's request has the grant to deploy too, and the owner may force.
        #expect(try await home.service.rollback(endpoint: .delay, to: 1, reason: "to see", Home.deployer).number == 1)
        await home.stop()
    }
}
