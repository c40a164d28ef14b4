import Contracts
import Foundation
import Registry
import Serving
import Storage
import Tracking

/// Makes of a registered version what an endpoint can serve: its files by their digests, its signature, and rows that it must answer.
///
/// A version keeps its bundle: what is approved or released later is what was bound here, whatever happens to the files of the run that logged it.
public struct ModelBinding: Sendable {
    /// Who runs the model.
    public enum Runner: String, Sendable, CaseIterable {
        /// Keel where it can, else the model's own Python code.
        case auto
        /// The model's own Python code.
        case python
    }

    private let registry: RegistryService
    private let tracking: TrackingService
    let models: ModelLoader
    private let facts: @Sendable (_ location: String, _ workspace: WorkspaceID) async throws -> ModelFacts?
    private static let exampleBytesMax: Int64 = 4 << 20

    /// - Parameter facts: what the `MLmodel` file under a location says.
    package init(
        registry: RegistryService, tracking: TrackingService, models: ModelLoader,
        facts: @escaping @Sendable (_ location: String, _ workspace: WorkspaceID) async throws -> ModelFacts?
    ) {
        self.registry = registry
        self.tracking = tracking
        self.models = models
        self.facts = facts
    }

    /// Loads a version, lets it answer its input example, and binds it to what was loaded.
    ///
    /// - Parameter grant: of who deploys.
    /// - Throws: `failedPrecondition` for a version without a signature or whose files are not kept here, and one that answers its example with something else
    ///   than was logged; what loading it throws.
    func bind(_ version: ModelVersion, runner: Runner, _ grant: Grant) async throws {
        let reading = try Grant.check(.system("deploy", in: grant.workspace), may: .trackingRead)
        let files = try await tracking.artifactFiles(at: version.storageLocation, reading)
        guard !files.isEmpty else {
            throw KeelError(
                .failedPrecondition, "the files of \(version.uri) are not kept here",
                hint: "they are at \(version.storageLocation): log the model to this server")
        }
        guard let facts = try await facts(version.storageLocation, grant.workspace) else {
            throw KeelError(
                .failedPrecondition, "\(version.uri) has no MLmodel file", hint: "log it with MLflow: mlflow.<flavor>.log_model(…)")
        }
        if let problem = facts.problem { throw KeelError(.failedPrecondition, "the MLmodel file of \(version.uri) cannot be read: \(problem)") }
        let folder = ModelFolder(version: version, files: files, facts: facts)
        var draft = try folder.bundle(runner: runner)
        if draft.flavor == .onnx {
            // A graph says in which files it keeps its larger tensors: MLflow saves them beside it, under names that it makes up.
            draft = draft.with(others: try folder.files(try await models.tensorFiles(of: draft), beside: draft))
        }
        if let inputs = try await example(folder.inputExample, of: folder, as: draft.signature.inputs.map { Field($0.name, $0.type) }) {
            let outputs = try await example(folder.outputExample, of: folder, as: draft.signature.outputs.map { Field($0.name, $0.type) })
            draft = draft.with(example: ModelExample(inputs: inputs, outputs: outputs))
        }
        let (digest, model) = try await models.store(draft, in: grant.workspace)
        let tried: JSON = model.exampleOutputs.map { ["rows": .int(Int64($0.rowCount)), "compared": .bool(draft.example?.outputs != nil)] } ?? .null
        try await registry.bind(
            VersionKey(version.name, version.version), to: digest, ["runner": .string(draft.flavor.rawValue), "asked": .string(runner.rawValue), "example": tried], grant)
    }

    /// What a version's `MLmodel` file says of it, before it was loaded; nil when it has none, or none that Keel can serve.
    func draft(of version: ModelVersion, in workspace: WorkspaceID) async throws -> ModelBundle? {
        let reading = try Grant.check(.system("plan", in: workspace), may: .trackingRead)
        let files = try await tracking.artifactFiles(at: version.storageLocation, reading)
        guard let facts = try await facts(version.storageLocation, workspace), facts.problem == nil else { return nil }
        return try? ModelFolder(version: version, files: files, facts: facts).bundle(runner: .auto)
    }

    /// The rows of an example's file; nil when there is none, or it is not one that a table holds.
    private func example(_ file: ModelFolder.File?, of folder: ModelFolder, as fields: [Field]) async throws -> Table? {
        guard let file, file.object.bytes <= ModelBinding.exampleBytesMax else { return nil }
        let bytes = try await models.objects.get(file.object.digest)
        guard let json = ExampleFile.json(bytes) else { return nil }
        return ExampleFile.table(json, fields)
    }
}
