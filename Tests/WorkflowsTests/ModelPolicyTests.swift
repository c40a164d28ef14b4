import Contracts
import Foundation
import Serving
import Storage
import Synchronization
import Testing
import Workflows

/// Whatever is deployed while a policy comes into force: what serves afterwards keeps it.
@Suite("Policies of models beside deployments", .timeLimit(.minutes(10)))
struct ModelPolicyTests {
    private let code = CodeInTest()
    private let refused = Resource(kind: "ModelPolicy", name: "models", spec: ["pythonModels": "refused"])

    /// A shop whose endpoint serves nothing, with a release that runs code.
    private func shop() async throws -> (shop: Workshop, release: Int) {
        let shop = try await Workshop(code: code)
        try await shop.apply([Shop.endpoint([:])])
        let stored = try await CodeInTest.bundle("flavors: {}", in: shop.objects).digest
        let release = try await shop.modules.deployments.createRelease(
            endpoint: Shop.clicking, model: "clicks", version: "1", bundle: stored, gate: .passed, Workshop.may(.releasesDeploy))
        return (shop, release.number)
    }

    private func deploy(_ shop: Workshop, _ release: Int, recheck: @escaping @Sendable (EndpointSpec) async throws -> Void = { _ in }) -> Task<Void, any Error> {
        Task {
            try await shop.modules.deployments.deploy(
                endpoint: Shop.clicking, release: release, recheck: recheck, Workshop.may(.releasesDeploy))
        }
    }

    private func serving(_ shop: Workshop) -> Int? { shop.modules.runtime.serving(Shop.clicking).first?.release.number }

    @Test("a policy that is applied while a model is loaded is in force at once, and the model does not serve")
    func whileItLoads() async throws {
        let (shop, release) = try await shop()
        code.close()
        let before = code.loads
        let deploying = deploy(shop, release)
        while code.loads == before { try await Task.sleep(for: .milliseconds(2)) }
        try await shop.apply([refused])
        code.open()
        let error = await #expect(throws: KeelError.self) { try await deploying.value }
        #expect(error?.code == .permissionDenied)
        #expect(serving(shop) == nil)
    }

    @Test("nothing is deployed between the moment when a policy is found to be kept and the one when it is in force")
    func whileItIsPutInForce() async throws {
        let (shop, release) = try await shop()
        let prepared = try await shop.applying.preparation(Workshop.may(.resourcesApply))([Shop.endpoint([:]), refused], [refused])
        let before = code.loads
        let deploying = deploy(shop, release)
        while code.loads == before { try await Task.sleep(for: .milliseconds(2)) }
        try await Task.sleep(for: .milliseconds(100))
        #expect(serving(shop) == nil)
        await prepared.activate()
        await #expect(throws: KeelError.self) { try await deploying.value }
        #expect(serving(shop) == nil)
    }

    @Test("a policy waits for a deployment that is being committed, and is refused by name when that brings code")
    func whileADeploymentIsCommitted() async throws {
        let (shop, release) = try await shop()
        let door = Door()
        let deploying = deploy(shop, release) { _ in await door.pass() }
        while !(await door.isReached) { try await Task.sleep(for: .milliseconds(2)) }
        let applying = Task { [refused] in try await shop.apply([refused]) }
        try await Task.sleep(for: .milliseconds(100))
        await door.open()
        try await deploying.value
        let error = await #expect(throws: KeelError.self) { _ = try await applying.value }
        #expect(error?.message == "what serves runs code of its models' own, and the policy refuses that: clicking/1")
        #expect(serving(shop) == 1)
        #expect(try await shop.stored()["ModelPolicy/models"] == nil)
    }
}

/// Keeps whoever passes until it is opened.
private actor Door {
    private var isOpen = false
    private(set) var isReached = false

    func open() { isOpen = true }

    func pass() async {
        isReached = true
        while !isOpen { try? await Task.sleep(for: .milliseconds(2)) }
    }
}
