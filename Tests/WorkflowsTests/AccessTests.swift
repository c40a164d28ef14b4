import Contracts
import Governance
import Testing
import Workflows

@Suite("Roles and bindings that are applied")
struct AccessTests {
    private static let keeper = Resource(kind: "Role", name: "model-keeper", spec: ["actions": ["registry.read", "registry.write"]])
    private static let binding = Resource(
        kind: "RoleBinding", name: "fraud-keepers",
        spec: ["role": "model-keeper", "tokens": ["ci"], "kinds": ["Model"], "names": ["fraud-*"]])

    private func caller(_ shop: Workshop, in workspace: WorkspaceID? = nil) throws -> Caller {
        try shop.modules.policy.caller(Principal(name: "ci", persona: .member), in: workspace)
    }

    @Test("a binding is in force when the apply that declares it returns, also after a restart, and out of force when it is deleted")
    func inForce() async throws {
        let shop = try await Workshop()
        #expect(throws: KeelError.self) { try Grant.check(try caller(shop), may: .registryWrite, on: "Model/fraud-eu") }
        try await shop.apply([AccessTests.keeper, AccessTests.binding])
        for _ in 0..<2 {
            #expect(throws: Never.self) { try Grant.check(try caller(shop), may: .registryWrite, on: "Model/fraud-eu") }
            #expect(throws: KeelError.self) { try Grant.check(try caller(shop), may: .registryWrite, on: "Model/delay") }
            shop.modules.policy.replace(.default, with: AccessPolicy.Workspace())
            try await shop.applying.configure(.default, isStart: true)
        }
        // A role goes only with the bindings that name it.
        await #expect(throws: KeelError.self) { try await shop.delete("Role", "model-keeper") }
        try await shop.delete("RoleBinding", "fraud-keepers")
        #expect(throws: KeelError.self) { try Grant.check(try caller(shop), may: .registryWrite, on: "Model/fraud-eu") }
    }

    @Test("a binding that selects nothing is an error of the plan, and is not stored")
    func nothing() async throws {
        let shop = try await Workshop()
        var wrong = AccessTests.binding
        wrong.spec["names"] = ["froud-*"]
        let candidate = [AccessTests.keeper, wrong]
        let planned = await #expect(throws: KeelError.self) { try await shop.plan(candidate) }
        #expect(planned?.path == "RoleBinding/fraud-keepers.spec.names")
        await #expect(throws: KeelError.self) { try await shop.apply(candidate) }
        let stored = try await shop.modules.resources.all(by: Workshop.may(.resourcesRead))
        #expect(stored.isEmpty)
    }

    @Test("nobody gives what they may not do themselves, whether by a role, a binding, or an old revision of one")
    func escalation() async throws {
        let shop = try await Workshop()
        let engineer = Caller(name: "pat", persona: .platformEngineer)
        let role = Resource(kind: "Role", name: "forcer", spec: ["actions": ["releases.force"]])
        let owner = Resource(kind: "RoleBinding", name: "me", spec: ["role": "owner", "tokens": ["pat"]])
        for resource in [role, owner] {
            let error = await #expect(throws: KeelError.self) { try await shop.apply([resource], by: engineer) }
            #expect(error?.code == .permissionDenied)
        }
        let machine = Caller(name: "mel", persona: .mlEngineer)
        let reader = Resource(kind: "RoleBinding", name: "readers", spec: ["role": "service", "tokens": ["ci"]])
        let refused = await #expect(throws: KeelError.self) { try await shop.apply([reader], by: machine) }
        #expect(refused?.code == .permissionDenied)
        try await shop.apply([owner])
        // What stands already is no new gift: others can be applied beside it.
        try await shop.apply([owner, Resource(kind: "Role", name: "looker", spec: ["actions": ["tracking.read"]])], by: engineer)
        try await shop.delete("RoleBinding", "me")
        let restored = await #expect(throws: KeelError.self) {
            try await shop.applying.restore("RoleBinding", "me", revision: 1, by: Workshop.may(.resourcesApply, engineer))
        }
        #expect(restored?.code == .permissionDenied)
    }

    @Test("two workspaces have the same names, and each its own roles; kinds of one workspace say so in another")
    func workspaces() async throws {
        let shop = try await Workshop()
        let fraud = try WorkspaceID("fraud")
        let workspaces = WorkspaceService(database: shop.modules.database, policy: shop.modules.policy)
        _ = try await workspaces.create("fraud", by: Workshop.may(.workspacesManage))
        let inside = Caller(name: "ann", persona: .owner, workspace: fraud)
        try await shop.apply([AccessTests.keeper, AccessTests.binding], by: inside)
        #expect(throws: Never.self) { try Grant.check(try caller(shop, in: fraud), may: .registryWrite, on: "Model/fraud-eu") }
        #expect(throws: KeelError.self) { try Grant.check(try caller(shop), may: .registryWrite, on: "Model/fraud-eu") }
        #expect(try await shop.modules.resources.all(by: Workshop.may(.resourcesRead)).isEmpty)
        #expect(try await shop.modules.resources.all(by: Workshop.may(.resourcesRead, inside)).count == 2)
        // After a restart.
        shop.modules.policy.remove(fraud)
        try await shop.applying.configure(fraud, isStart: true)
        #expect(throws: Never.self) { try Grant.check(try caller(shop, in: fraud), may: .registryWrite, on: "Model/fraud-eu") }
        let error = await #expect(throws: KeelError.self) { try await shop.apply([Shop.endpoint([:])], by: inside) }
        #expect(error?.code == .notImplemented)
        var meant = AccessTests.keeper
        meant.workspace = .default
        let elsewhere = await #expect(throws: KeelError.self) { try await shop.apply([meant], by: inside) }
        #expect(elsewhere?.path == "Role/model-keeper.metadata.workspace")
    }
}
