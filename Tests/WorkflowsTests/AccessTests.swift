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

    @Test("two workspaces have the same names, and each its own roles")
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
        var meant = AccessTests.keeper
        meant.workspace = .default
        let elsewhere = await #expect(throws: KeelError.self) { try await shop.apply([meant], by: inside) }
        #expect(elsewhere?.path == "Role/model-keeper.metadata.workspace")
        // A workspace that is deleted is closed to what is still under way, also when it is deleted again.
        for (kind, name) in [("RoleBinding", "fraud-keepers"), ("Role", "model-keeper")] {
            _ = try await shop.applying.delete(
                kind, name, environment: nil, cascade: false, data: false, isRehearsal: false, by: Workshop.may(.resourcesApply, inside))
        }
        try await workspaces.delete("fraud", by: Workshop.may(.workspacesManage))
        let again = await #expect(throws: KeelError.self) { try await workspaces.delete("fraud", by: Workshop.may(.workspacesManage)) }
        #expect(again?.code == .notFound)
        let late = await #expect(throws: KeelError.self) { try await shop.apply([AccessTests.keeper], by: inside) }
        #expect(late?.code == .notFound)
    }

    @Test("whoever may apply some things plans, applies, lists, restores and deletes these and no others")
    func someThings() async throws {
        let shop = try await Workshop()
        let entity = { (name: String, label: String) in
            Resource(kind: "Entity", name: name, labels: ["team": label], spec: ["keys": ["k": "string"]])
        }
        try await shop.apply([entity("fraud-card", "fraud"), entity("route", "delay")])
        let scope = PermissionScope(names: [try NamePattern("fraud-*", path: "")])
        let fred = Caller(
            name: "fred", persona: .member, permissions: [Permission([.resourcesApply, .resourcesRead], in: scope, from: "RoleBinding/f")])
        func refused(_ body: () async throws -> Void) async {
            let error = await #expect(throws: KeelError.self) { try await body() }
            #expect(error?.code == .permissionDenied)
        }
        let read = try Workshop.may(.resourcesRead, fred)
        #expect(try await shop.modules.resources.all(by: read).map(\.resource.name) == ["fraud-card"])
        #expect(try await shop.applying.plan([entity("fraud-card", "x")], by: read).map(\.kind) == [.changed])
        await refused { _ = try await shop.applying.plan([entity("route", "fraud")], by: read) }
        try await shop.apply([entity("fraud-card", "x")], by: fred)
        // Labels of others are not for them to set, so no label widens what labels give.
        await refused { try await shop.apply([entity("fraud-card", "y"), entity("route", "fraud")], by: fred) }
        let write = try Workshop.may(.resourcesApply, fred)
        await refused { _ = try await shop.applying.restore("Entity", "route", revision: 1, by: write) }
        _ = try await shop.applying.restore("Entity", "fraud-card", revision: 1, by: write)
        let hidden = await #expect(throws: KeelError.self) {
            try await shop.applying.delete("Entity", "route", environment: nil, cascade: true, data: false, isRehearsal: true, by: write)
        }
        #expect(hidden?.code == .notFound)
        _ = try await shop.applying.delete("Entity", "fraud-card", environment: nil, cascade: false, data: false, isRehearsal: false, by: write)
        #expect(try await shop.stored().keys.sorted() == ["Entity/route"])
    }

    @Test("what takes a permission to declare takes it to delete, also by a cascade")
    func deletion() async throws {
        let shop = try await Workshop()
        try await shop.apply([AccessTests.keeper, AccessTests.binding])
        let machine = Caller(name: "mel", persona: .mlEngineer)
        for (kind, name) in [("RoleBinding", "fraud-keepers"), ("Role", "model-keeper")] {
            for isRehearsal in [true, false] {
                let error = await #expect(throws: KeelError.self) {
                    try await shop.applying.delete(
                        kind, name, environment: nil, cascade: true, data: false, isRehearsal: isRehearsal,
                        by: Workshop.may(.resourcesApply, machine))
                }
                #expect(error?.code == .permissionDenied && error?.message.contains("access.manage") == true)
            }
        }
        #expect(try await shop.stored().count == 2)
    }

    @Test("an agent applies no trigger: it would run in the other's name with all that this one may do")
    func agents() async throws {
        let shop = try await Workshop()
        let agent = Caller(name: "mel", persona: .mlEngineer, actors: ["assistant"])
        try await shop.apply(Shop.all.filter { $0.kind != "Trigger" }, by: agent)
        let error = await #expect(throws: KeelError.self) { try await shop.apply([Shop.trigger], by: agent) }
        #expect(error?.code == .permissionDenied && error?.path == "Trigger/retrain")
        try await shop.apply([Shop.trigger], by: Caller(name: "mel", persona: .mlEngineer))
        // What a trigger runs, it runs in its author's name: an agent does not change that either.
        var pipeline = Shop.pipeline()
        pipeline.labels = ["changed": "yes"]
        let changed = await #expect(throws: KeelError.self) { try await shop.apply([pipeline], by: agent) }
        #expect(changed?.code == .permissionDenied && changed?.path == "Pipeline/train")
        try await shop.apply([pipeline], by: Caller(name: "mel", persona: .mlEngineer))
        let deletion = await #expect(throws: KeelError.self) {
            try await shop.applying.delete(
                "Trigger", "retrain", environment: nil, cascade: false, data: false, isRehearsal: false, by: Workshop.may(.resourcesApply, agent))
        }
        #expect(deletion?.code == .permissionDenied)
    }
}
