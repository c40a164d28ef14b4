import Contracts
import Outgoing
import Serving

/// The servers that run models of others: which addresses may be called, what they are shown, and which protocol they speak.
package final class RemoteServers: RemoteModels {
    private let guarded: GuardedHTTP
    private let secrets: RemoteSecrets
    private let memory: MemoryBudget
    /// How long a server may take to say what its model is.
    private static let describingMax = Duration.seconds(15)

    /// - Parameters:
    ///   - secrets: the folder of secrets; nil when there is none.
    ///   - memory: what answers are counted in.
    package init(_ guarded: GuardedHTTP, secrets: String?, memory: MemoryBudget) {
        self.memory = memory
        self.guarded = guarded
        self.secrets = RemoteSecrets(folder: secrets)
    }

    package func describe(_ model: RemoteModel, in workspace: WorkspaceID) async throws -> RemoteDescription {
        try await guarded.check(model.url)
        let server = try server(model, workspace)
        try server.checkSecret()
        let deadline = ContinuousClock.now + RemoteServers.describingMax
        return try await Blocking.run {
            switch model.wire {
            case .openInference: try OpenInference.describe(model, server, until: deadline)
            case .openAI: try OpenAI.describe(model, server, until: deadline)
            }
        }
    }

    package func runner(_ description: RemoteDescription, in workspace: WorkspaceID) throws(KeelError) -> any ModelRunner {
        let server = try server(description.model, workspace)
        switch description.model.wire {
        case .openInference: return try OpenInferenceRunner(description, server)
        case .openAI: return OpenAIRunner(description, server)
        }
    }

    private func server(_ model: RemoteModel, _ workspace: WorkspaceID) throws(KeelError) -> RemoteServer {
        RemoteServer(
            model: model, workspace: workspace, session: try OutgoingSession(model.url, idleMax: model.concurrency, through: guarded),
            secrets: secrets, memory: memory)
    }
}
