import Contracts

/// What a `ModelPolicy` declares: which models may serve in a workspace.
public struct ModelPolicySpec: Sendable, Hashable {
    /// Whether models may bring Python code, which runs apart from the server.
    public enum PythonModels: String, Sendable, CaseIterable { case allowed, refused }

    public static let kind = "ModelPolicy"
    public static let schema = KindSchema(
        kind, "Which models may serve in a workspace, which has one at most. Declaring it takes the permission `access.manage`.",
        [
            FieldSchema(
                "pythonModels", .word(PythonModels.allCases.map(\.rawValue)), required: true,
                "Whether models may bring Python code. Where the setting `serving.python.code` refuses it, no workspace allows it.")
        ])

    public let name: String
    public let pythonModels: PythonModels

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        pythonModels = try reader.word("pythonModels")
        try reader.finish()
    }
}
