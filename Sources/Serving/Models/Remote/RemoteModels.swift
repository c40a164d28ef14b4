import Contracts

/// Models of other servers, as serving needs them. Platform connects it.
public protocol RemoteModels: Sendable {
    /// Asks the server what the model takes and gives.
    /// - Throws: `invalidArgument` for an address that may not be called or a secret that is not there, `notFound` when the server has no such model,
    ///   `contractViolation` when it is not what is declared, `unavailable`, `badGateway` and `deadlineExceeded` as a call does.
    func describe(_ model: RemoteModel, in workspace: WorkspaceID) async throws -> RemoteDescription
    /// Makes what asks the server. It opens no connection yet.
    /// - Throws: `invalidArgument` for an address that this server may not call.
    func runner(_ description: RemoteDescription, in workspace: WorkspaceID) throws(KeelError) -> any ModelRunner
}

/// A model of another server with what that server said of it when it was registered.
public struct RemoteDescription: Sendable, Hashable {
    public let model: RemoteModel
    public let signature: Signature
    /// What the protocol needs to know besides: datatypes, how many rows at once. Written and read by the protocol's client alone.
    public let facts: JSON
    /// Whether the same question has the same answer: then the answer to the example is kept and compared with.
    public let isRepeatable: Bool
    /// Rows to try it with when none are declared; nil leaves the choice to the loader.
    public let example: Table?

    public init(model: RemoteModel, signature: Signature, facts: JSON, isRepeatable: Bool, example: Table? = nil) {
        self.model = model
        self.signature = signature
        self.facts = facts
        self.isRepeatable = isRepeatable
        self.example = example
    }
}
