import Contracts
import Registry

/// The registry's values in MLflow's JSON. Version numbers are texts there.
enum RegistryWire {
    static func model(_ model: RegisteredModel) -> JSON {
        object([
            ("name", .string(model.name)), ("creation_timestamp", .int(model.createdAt.milliseconds)),
            ("last_updated_timestamp", .int(model.updatedAt.milliseconds)),
            ("description", model.description.isEmpty ? JSON?.none : .string(model.description)),
            ("latest_versions", list(model.latest.map(listed))), ("tags", list(model.tags.map(tag))),
            ("aliases", list(model.aliases.map { ["alias": .string($0.alias), "version": .string(String($0.version))] })),
        ])
    }

    static func version(_ version: ModelVersion) -> JSON {
        object([
            ("name", .string(version.name)), ("version", .string(String(version.version))),
            ("creation_timestamp", .int(version.createdAt.milliseconds)),
            ("last_updated_timestamp", .int(version.updatedAt.milliseconds)), ("user_id", .string(version.userID)),
            ("current_stage", .string(version.stage.rawValue)), ("description", .string(version.description)),
            ("source", .string(version.source)),
            ("run_id", .string(version.runID ?? "")), ("status", "READY"), ("run_link", .string(version.runLink ?? "")),
            ("tags", list(version.tags.map(tag))), ("aliases", list(version.aliases.map(JSON.string))),
            ("model_id", version.modelID.map(JSON.string)),
        ])
    }

    /// A version in a list: MLflow names aliases only where one version is asked for, or a model.
    static func listed(_ version: ModelVersion) -> JSON {
        var version = version
        version.aliases = []
        return self.version(version)
    }

    static func tag(_ tag: ModelTag) -> JSON { ["key": .string(tag.key), "value": .string(tag.value)] }

    static func tag(_ request: MLflowRequest) throws -> ModelTag {
        ModelTag(try request.text("key"), try request.optionalText("value") ?? "")
    }

    static func versionNumber(_ request: MLflowRequest) throws -> Int {
        let text = try request.text("version")
        guard let number = Int(text) else { throw KeelError.invalid("Parameter 'version' must be an integer, got '\(text.prefix(100))'.") }
        return number
    }

    static func stage(_ text: String) throws -> ModelStage {
        guard let stage = ModelStage.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
            throw KeelError.invalid(
                "Invalid Model Version stage: \(text.prefix(100)). Value must be one of None, Staging, Production, Archived.")
        }
        return stage
    }
}
