import Contracts
import Synchronization

/// The policies in force, by workspace. Whoever loads a model asks it.
public final class ModelPolicies: Sendable {
    private let declared = Mutex<[WorkspaceID: ModelPolicySpec]>([:])

    public init() {}

    /// - Parameter policy: nil when the workspace declares none: then models may do what the server allows.
    public func replace(_ workspace: WorkspaceID, with policy: ModelPolicySpec?) { declared.withLock { $0[workspace] = policy } }

    /// The policy in force in a workspace; nil when it declares none.
    public subscript(workspace: WorkspaceID) -> ModelPolicySpec? { declared.withLock { $0[workspace] } }
}

extension ModelLoader {
    /// - Returns: whose signatures a bundle with code serves by, in the order of the policy; empty where none are asked for.
    /// - Throws: `permissionDenied` for a model that brings code which the policy in force in the workspace does not take.
    @discardableResult
    public func requireAccepted(_ bundle: ModelBundle, in workspace: WorkspaceID) async throws -> [String] {
        guard let policy = policies[workspace] else { return [] }
        return try await requireAccepted(bundle, by: policy, in: workspace)
    }

    /// The same by a policy that is not in force yet.
    @discardableResult
    public func requireAccepted(_ bundle: ModelBundle, by policy: ModelPolicySpec, in workspace: WorkspaceID) async throws -> [String] {
        guard policy.pythonModels != .allowed else { return [] }
        var names: [String] = []
        for model in ModelLoader.all(of: bundle) where model.flavor == .python {
            guard policy.pythonModels == .signed else {
                throw KeelError(
                    .permissionDenied, "the workspace '\(workspace)' takes no models that bring code (\(policy.place))",
                    hint: "log the model as ONNX, XGBoost or LightGBM, which Keel runs itself")
            }
            for name in try await signers(of: ModelManifest(model.files), by: policy, in: workspace) where !names.contains(name) { names.append(name) }
        }
        return names
    }

    private func signers(of manifest: ModelManifest, by policy: ModelPolicySpec, in workspace: WorkspaceID) async throws -> [String] {
        // What was written to the database by others is no signature.
        let found = try await signatures?.signatures(of: manifest.digest, in: workspace).filter { $0.isValid(of: manifest) } ?? []
        let names = policy.signers.filter { signer in found.contains { $0.key == signer.key } }.map(\.name)
        guard names.isEmpty else { return names }
        let trusted = policy.signers.map(\.name).joined(separator: ", ")
        let others = Set(found.map(\.key.base64)).sorted().joined(separator: ", ")
        let problem = others.isEmpty ? "nobody signed the files of this one" : "this one is signed with a key that is none of theirs: \(others)"
        throw KeelError(
            .permissionDenied, "the workspace '\(workspace)' takes Python models that \(trusted) signed, and \(problem) (\(policy.place))",
            hint: "keel models sign models:/NAME/VERSION --key FILE, by one of them")
    }
}

extension ModelPolicySpec {
    fileprivate var place: String { "\(ModelPolicySpec.kind)/\(name): pythonModels" }
}
