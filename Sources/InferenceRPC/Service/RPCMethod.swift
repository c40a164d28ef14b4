/// What is served of `inference.GRPCInferenceService`.
enum RPCMethod: String, CaseIterable, Sendable {
    case serverLive = "ServerLive"
    case serverReady = "ServerReady"
    case modelReady = "ModelReady"
    case serverMetadata = "ServerMetadata"
    case modelMetadata = "ModelMetadata"
    case modelInfer = "ModelInfer"
    case modelStreamInfer = "ModelStreamInfer"
    case modelConfig = "ModelConfig"
    case modelStatistics = "ModelStatistics"
    case repositoryIndex = "RepositoryIndex"
    case repositoryModelLoad = "RepositoryModelLoad"
    case repositoryModelUnload = "RepositoryModelUnload"

    private static let byPath = Dictionary(uniqueKeysWithValues: allCases.map { ("/inference.GRPCInferenceService/\($0.rawValue)", $0) })

    /// Nil for a path of no method that is served.
    init?(path: String) {
        guard let method = RPCMethod.byPath[path] else { return nil }
        self = method
    }

    /// Whether it runs models, so that its messages may be as large as an endpoint takes.
    var isInference: Bool { self == .modelInfer || self == .modelStreamInfer }
}
