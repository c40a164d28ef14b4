import Contracts
import Serving

extension ModelPolicySpec: ResourceKind {
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { [.accessManage] }

    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        let policies = scrutiny.declared.all(ModelPolicySpec.self)
        return policies.dropFirst().map { policy in
            .invalid("the workspace has a policy already", hint: "it is \(kind)/\(policies[0].name)", path: "\(kind)/\(policy.name)")
        }
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let policy = preparation.declared.all(ModelPolicySpec.self).first
        preparation.add(PreparedPolicy(policies: preparation.modules.deployments.policies, workspace: preparation.workspace, policy: policy))
    }

    /// What serves must go on serving: a policy that it does not keep is not put in force. One that is in force already is kept by every load.
    ///
    /// A key that is taken out of a policy is taken out all the same: what it signed serves until it is loaded again, and `warnings` names it.
    ///
    /// Called while nothing can be deployed, and until the change is in force: what a deployment under way brings would not be seen otherwise.
    static func requireKept(_ preparation: Preparation) async throws {
        let deployments = preparation.modules.deployments
        guard let policy = preparation.declared.all(ModelPolicySpec.self).first, policy.pythonModels != .allowed, !preparation.isStart,
            deployments.policies[preparation.workspace]?.pythonModels != policy.pythonModels
        else { return }
        let staying = Set(preparation.declared.all(EndpointSpec.self).map(\.ref))
        let running = try await deployments.releases(in: staying, refusedBy: policy)
        guard !running.isEmpty else { return }
        let hint = "roll back to releases without code, or delete the endpoints, first"
        throw KeelError(
            .failedPrecondition,
            policy.pythonModels == .refused
                ? "what serves runs code of its models' own, and the policy refuses that: \(running.joined(separator: ", "))"
                : "what serves runs code that none of the signers signed: \(running.joined(separator: ", "))",
            hint: policy.pythonModels == .refused ? hint : "sign their versions (keel models sign), or \(hint)", path: "\(kind)/\(policy.name).spec.pythonModels")
    }

    package static func warnings(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] {
        guard let policy = declared.all(ModelPolicySpec.self).first(where: { $0.name == resource.name }), policy.pythonModels == .signed else { return [] }
        let staying = Set(declared.all(EndpointSpec.self).map(\.ref))
        return try await modules.deployments.releases(in: staying, refusedBy: policy).map {
            "release \($0) serves, and none of the signers of \(kind)/\(policy.name) signed it: it serves until it is loaded again"
        }
    }
}

private struct PreparedPolicy: Prepared {
    let policies: ModelPolicies
    let workspace: WorkspaceID
    let policy: ModelPolicySpec?

    func activate() { policies.replace(workspace, with: policy) }
}
