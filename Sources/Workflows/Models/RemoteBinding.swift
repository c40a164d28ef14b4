import Contracts
import Registry
import Serving

/// Makes a registered version of a model that an endpoint declares to be on another server: what the server says of it, and rows that it answered.
///
/// From there on it is a version like any other: it is approved, released, compared and taken back in the same way.
public struct RemoteBinding: Sendable {
    private let registry: RegistryService
    private let models: ModelLoader
    private let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void

    package init(
        registry: RegistryService, models: ModelLoader, denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void
    ) {
        self.registry = registry
        self.models = models
        self.denied = denied
    }

    /// Registers it under a name, unless the same declaration is registered there already: then its server is not asked.
    /// - Returns: the URI of the version.
    /// - Throws: what keeps the model from being served; `permissionDenied` when the caller may not register models of this name.
    func register(_ remote: RemoteModel, as name: String, by caller: Caller) async throws -> String {
        let subject = "Model/\(name)"
        let grant: Grant
        do throws(KeelError) { grant = try Grant.check(caller, may: .registryWrite, on: subject) } catch {
            try await denied(caller, .registryWrite, subject)
            throw error
        }
        if let known = try await registry.version(of: name, declared: remote.digest, grant) { return known.uri }
        let found = try await models.describe(remote, in: caller.workspace)
        let example = try RemoteBinding.example(remote, found.signature) ?? found.example
        let draft = ModelBundle(remote: found).with(example: example.map { ModelExample(inputs: $0) })
        let (digest, model) = try await models.store(draft, in: caller.workspace)
        let tried: JSON = model.exampleOutputs.map { ["rows": .int(Int64($0.rowCount)), "compared": false] } ?? .null
        let version = try await registry.register(
            RemoteRegistration(
                model: name, source: remote.source, declaration: remote.digest, bundle: digest,
                data: ["runner": "remote", "asked": "auto", "server": .string(remote.url), "example": tried]), grant)
        return version.uri
    }

    /// The declared rows as the model takes them; nil when there are none.
    private static func example(_ remote: RemoteModel, _ signature: Signature) throws(KeelError) -> Table? {
        guard !remote.example.isEmpty else { return nil }
        let names = signature.inputs.map(\.name)
        for (i, row) in remote.example.enumerated() {
            for member in row.members ?? [] where !names.contains(member.key) {
                throw .invalid(
                    "the model takes no column '\(member.key.prefix(60))'",
                    hint: nearest(member.key, in: names).map { "did you mean '\($0)'?" } ?? "its columns: \(names.joined(separator: ", "))",
                    path: "spec.remote.example[\(i)]")
            }
        }
        guard let table = ExampleFile.table(.array(remote.example), signature.inputs.map { Field($0.name, $0.type) }) else {
            throw .invalid(
                "the rows do not fit the model's inputs", hint: signature.inputs.map { "\($0.name) is \($0.type)" }.joined(separator: ", "),
                path: "spec.remote.example")
        }
        return table
    }
}
