import Contracts
import Governance

/// Roles are read by the bindings that name them.
extension RoleSpec: ResourceKind {
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { [.accessManage] }

    /// Nobody gives what they may not do themselves.
    package func given(among declared: Declarations) -> Set<Action> { actions }
}

extension RoleBindingSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        // A role that is not there is among the mistakes, which know the built-in ones too.
        RoleSpec.builtIn.contains { $0.rawValue == role } ? [] : [ResourceReference.Target("spec.role", RoleSpec.schema.name, role)]
    }

    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { [.accessManage] }

    package func given(among declared: Declarations) -> Set<Action> { declared.access.actions(of: role) ?? [] }

    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        // A binding that selected something once must not stand in the way when that goes.
        guard let given = scrutiny.given else { return [] }
        let bindings = scrutiny.declared.all(RoleBindingSpec.self).filter { given.contains("\(schema.name)/\($0.name)") }
        let access = AccessDeclarations(roles: scrutiny.declared.all(RoleSpec.self), bindings: bindings)
        return access.mistakes(among: scrutiny.declared.labels) { scrutiny.names[$0] }
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let declared = preparation.declared
        preparation.add(
            PreparedAccess(
                policy: preparation.modules.policy, workspace: preparation.workspace,
                content: declared.access.content(in: preparation.workspace, among: declared.labels)))
    }
}

private struct PreparedAccess: Prepared {
    let policy: AccessPolicy
    let workspace: WorkspaceID
    let content: AccessPolicy.Workspace

    func activate() { policy.replace(workspace, with: content) }
}

extension Declarations {
    fileprivate var access: AccessDeclarations { AccessDeclarations(roles: all(RoleSpec.self), bindings: all(RoleBindingSpec.self)) }
}
