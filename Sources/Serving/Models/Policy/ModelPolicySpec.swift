import Contracts

/// What a `ModelPolicy` declares: which models may serve in a workspace.
///
///     pythonModels: signed
///     signers:
///       - { name: ci, key: MCowBQYDK2VwAyEA… }     # openssl pkey -in key.pem -pubout
public struct ModelPolicySpec: Sendable, Hashable {
    /// Whether models may bring Python code, which runs apart from the server.
    public enum PythonModels: String, Sendable, CaseIterable {
        case allowed
        /// Those whose files one of the signers has signed.
        case signed
        case refused
    }

    /// Somebody whose signature is trusted.
    public struct Signer: Sendable, Hashable {
        public let name: String
        public let key: SignerKey
    }

    public static let kind = "ModelPolicy"
    public static let schema = KindSchema(
        kind, "Which models may serve in a workspace, which has one at most. Declaring it takes the permission `access.manage`.",
        [
            FieldSchema(
                "pythonModels", .word(PythonModels.allCases.map(\.rawValue)), required: true,
                """
                Whether models may bring Python code: with `signed` those whose files one of the signers has signed (`keel models sign`). Where the setting \
                `serving.python.code` refuses it, no workspace allows it.
                """),
            FieldSchema(
                "signers",
                .list(
                    .object([
                        FieldSchema("name", .text, required: true, "What the signer is called in plans, cards and answers."),
                        FieldSchema(
                            "key", .text, required: true,
                            "The public key, Ed25519: the text that `openssl pkey -in key.pem -pubout` writes, or its base64 alone."),
                    ])), "Whose signatures count, with `pythonModels: signed`."),
        ])

    public let name: String
    public let pythonModels: PythonModels
    public let signers: [Signer]

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        pythonModels = try reader.word("pythonModels")
        var signers: [Signer] = []
        for item in try reader.optional("signers") == nil ? [] : reader.objects("signers") {
            let name = try item.string("name")
            guard let key = SignerKey(try item.string("key")) else {
                throw item.failure("key", "is no public key of Ed25519", hint: "openssl pkey -in key.pem -pubout")
            }
            try item.finish()
            guard !signers.contains(where: { $0.name == name }) else { throw item.failure("name", "names a second signer '\(name.prefix(60))'") }
            signers.append(Signer(name: name, key: key))
        }
        self.signers = signers
        try reader.finish()
        guard signers.isEmpty == (pythonModels != .signed) else {
            throw reader.failure(
                "signers", signers.isEmpty ? "names nobody whose signature counts" : "says whose signatures count, and none is asked for",
                hint: signers.isEmpty ? "signers: [{ name: ci, key: … }]" : "pythonModels: signed asks for them")
        }
    }
}
