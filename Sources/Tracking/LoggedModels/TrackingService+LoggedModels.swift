import Contracts
import Storage

/// Models as runs leave them: what `mlflow.<flavour>.log_model` writes before anyone registers it.
extension TrackingService {
    public func createLoggedModel(
        experimentID: String, name: String?, modelType: String? = nil, sourceRunID: String? = nil, params: [KeyValue] = [],
        tags: [KeyValue] = [],
        _ grant: Grant
    ) async throws -> LoggedModel {
        try grant.require(.trackingWrite)
        let modelName = name.flatMap { $0.isEmpty ? nil : $0 } ?? RunNames.random()
        guard
            !modelName.utf8.contains(where: {
                [UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "%"), UInt8(ascii: "\""), UInt8(ascii: "'")]
                    .contains($0)
            })
        else {
            throw KeelError.invalid(
                "Invalid model name ('\(modelName.prefix(200))') provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")"
            )
        }
        try EntityName.check(length: modelName, of: "name", atMost: TrackingLimits.experimentNameCharactersMax)
        for item in params + tags { try EntityName.check(length: item.key, of: "key", atMost: TrackingLimits.keyCharactersMax) }
        for tag in tags { try ReservedTags.check(tag.key) }
        return try await database.write(in: grant.workspace) { tx in
            let experiment = try ExperimentStore.find(tx, id: experimentID)
            try requireActive(experiment)
            if let sourceRunID { _ = try RunStore.find(tx, id: sourceRunID) }
            let id = "m-" + Identifier.ordered32()
            let model = LoggedModel(
                id: id, experimentID: experimentID, name: modelName, modelType: modelType, sourceRunID: sourceRunID, status: .pending,
                artifactURI: ArtifactLocation.appending("models/\(id)/artifacts", to: experiment.artifactLocation), createdAt: tx.now,
                updatedAt: tx.now, params: params,
                tags: tags)
            try LoggedModelStore.insert(tx, model)
            try tx.record(
                "logged_model.created", on: "LoggedModel/\(id)",
                ["name": .string(modelName), "experiment": .string(experimentID), "run": sourceRunID.map(JSON.string) ?? .null], by: grant)
            return try LoggedModelStore.find(tx, id: id)
        }
    }

    public func loggedModel(id: String, _ grant: Grant) async throws -> LoggedModel {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try LoggedModelStore.find($0, id: id) }
    }

    /// Says that the upload has ended, well or not.
    public func finalizeLoggedModel(id: String, status: LoggedModelStatus, _ grant: Grant) async throws -> LoggedModel {
        try grant.require(.trackingWrite)
        return try await database.write(in: grant.workspace) { tx in
            _ = try LoggedModelStore.find(tx, id: id)
            try LoggedModelStore.set(tx, status: status, of: id)
            try tx.record("logged_model.finalized", on: "LoggedModel/\(id)", ["status": .string(status.rawValue)], by: grant)
            return try LoggedModelStore.find(tx, id: id)
        }
    }

    public func deleteLoggedModel(id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            _ = try LoggedModelStore.find(tx, id: id)
            try LoggedModelStore.delete(tx, id: id)
            try tx.record("logged_model.deleted", on: "LoggedModel/\(id)", by: grant)
        }
    }

    public func setLoggedModelTags(id: String, _ tags: [KeyValue], _ grant: Grant) async throws -> LoggedModel {
        for tag in tags { try ReservedTags.check(tag.key) }
        return try await change(id, grant) { tx in
            for tag in tags { try LoggedModelStore.set(tx, tag, kind: "tag", on: id) }
        }
    }

    public func deleteLoggedModelTag(id: String, key: String, _ grant: Grant) async throws {
        try ReservedTags.check(key)
        _ = try await change(id, grant) { tx in
            guard try LoggedModelStore.removeTag(tx, key: key, from: id) else {
                throw KeelError.notFound("No tag with key '\(key)' found for model with ID '\(id)'.")
            }
        }
    }

    public func logLoggedModelParams(id: String, _ params: [KeyValue], _ grant: Grant) async throws {
        _ = try await change(id, grant) { tx in
            for param in params { try LoggedModelStore.add(tx, param: param, to: id) }
        }
    }

    private func change(_ id: String, _ grant: Grant, _ body: @escaping @Sendable (Transaction) throws -> Void) async throws -> LoggedModel
    {
        try grant.require(.trackingWrite)
        return try await database.write(in: grant.workspace) { tx in
            _ = try LoggedModelStore.find(tx, id: id)
            try body(tx)
            return try LoggedModelStore.find(tx, id: id)
        }
    }

    public func searchLoggedModels(_ search: LoggedModelSearch, _ grant: Grant) async throws -> Page<LoggedModel> {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try search.run(on: $0) }
    }
}
