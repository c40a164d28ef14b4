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
        let policy = preparation.declared.all(ModelPolicySpec.self).first
        preparation.add(PreparedPolicy(policies: preparation.modules.deployments.policies, workspace: preparation.workspace, policy: policy))
    }

    /// What serves must go on serving: a policy that it does not keep is not put in force. One that is in force already is kept by every load.
    ///
    /// Called while nothing can be deployed, and until the change is in force: what a deployment under way brings would not be seen otherwise.
    static func requireKept(_ preparation: Preparation) async throws {
        let deployments = preparation.modules.deployments
        guard let policy = preparation.declared.all(ModelPolicySpec.self).first, policy.pythonModels == .refused, !preparation.isStart,
            !deployments.policies.refusesCode(in: preparation.workspace)
        else { return }
        let staying = Set(preparation.declared.all(EndpointSpec.self).map(\.ref))
        let running = await deployments.releasesWithCode(in: staying)
        guard !running.isEmpty else { return }
        throw KeelError(
            .failedPrecondition, "what serves runs code of its models' own, and the policy refuses that: \(running.joined(separator: ", "))",
            hint: "roll back to releases without code, or delete the endpoints, first", path: "\(kind)/\(policy.name).spec.pythonModels")
    }
}

private struct PreparedPolicy: Prepared {
    let policies: ModelPolicies
    let workspace: WorkspaceID
    let policy: ModelPolicySpec?

    func activate() { policies.replace(workspace, with: policy) }
}
