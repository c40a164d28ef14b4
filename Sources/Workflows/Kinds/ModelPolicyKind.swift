import Contracts
import Serving

extension ModelPolicySpec: ResourceKind {
    package func permissions(_ modules: Modules) -> [Action] { [.accessManage] }

    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        let policies = scrutiny.declared.all(ModelPolicySpec.self)
        return policies.dropFirst().map { policy in
            .invalid("the workspace has a policy already", hint: "it is \(kind)/\(policies[0].name)", path: "\(kind)/\(policy.name)")
        }
    }

    package static func prepare(_ preparation: inout Preparation) async throws {
        let workspace = preparation.workspace
        let deployments = preparation.modules.deployments
        let policy = preparation.declared.all(ModelPolicySpec.self).first
        // What serves must go on serving: a policy that it does not keep is not put in force.
        if let policy, policy.pythonModels == .refused, !preparation.isStart, let running = await deployments.releasesWithCode(in: workspace).first {
            throw KeelError(
                .failedPrecondition, "release \(running) runs code of its model's own, and the policy refuses that",
                hint: "roll it back, or delete the endpoint, first", path: "\(kind)/\(policy.name).spec.pythonModels")
        }
        preparation.add(PreparedPolicy(policies: deployments.policies, workspace: workspace, policy: policy))
    }
}

private struct PreparedPolicy: Prepared {
    let policies: ModelPolicies
    let workspace: WorkspaceID
    let policy: ModelPolicySpec?

    func activate() { policies.replace(workspace, with: policy) }
}
