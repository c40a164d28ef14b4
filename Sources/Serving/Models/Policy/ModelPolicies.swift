import Contracts
import Synchronization

/// Which models may serve in each workspace, as declared now. It is asked whenever a model is loaded: to be tried, deployed, brought back, or served after a start.
public final class ModelPolicies: Sendable {
    private let declared = Mutex<[WorkspaceID: ModelPolicySpec]>([:])

    public init() {}

    /// - Parameter policy: nil when the workspace declares none: then models may do what the server allows.
    public func replace(_ workspace: WorkspaceID, with policy: ModelPolicySpec?) { declared.withLock { $0[workspace] = policy } }

    /// Whether the policy in force in a workspace takes no models that bring code.
    public func refusesCode(in workspace: WorkspaceID) -> Bool { declared.withLock { $0[workspace]?.pythonModels == .refused } }

    /// - Throws: `permissionDenied` for a model that brings code into a workspace that takes none.
    func require(_ bundle: ModelBundle, in workspace: WorkspaceID) throws(KeelError) {
        guard bundle.flavor == .python, let policy = declared.withLock({ $0[workspace] }), policy.pythonModels == .refused else { return }
        throw KeelError(
            .permissionDenied, "the workspace '\(workspace)' takes no models that bring code (ModelPolicy/\(policy.name): pythonModels)",
            hint: "log the model as ONNX, XGBoost or LightGBM, which Keel runs itself")
    }
}
