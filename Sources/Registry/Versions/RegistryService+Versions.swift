import Contracts
import Storage

extension RegistryService {
    // MARK: Versions

    /// Registers a version. The model is made when there is none of this name, if `creatingModel`.
    /// - Parameters:
    ///   - source: where the model lies; `models:/m-…` and `models:/name/3` are resolved to where their files are.
    ///   - runID: the run that made it; taken from the logged model when nil.
    public func createVersion(
        model name: String, source: String, runID: String? = nil, tags: [ModelTag] = [], description: String = "", runLink: String? = nil,
        modelID: String? = nil, creatingModel: Bool = false, _ grant: Grant
    ) async throws -> ModelVersion {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        for tag in tags { try RegistryRules.check(versionTag: tag) }
        guard !source.isEmpty else { throw KeelError.invalid("Missing value for required parameter 'source'.") }
        let prompt = tags.arePromptTags
        let origin = try await origin(of: source, runID: runID, modelID: modelID, prompt: prompt, grant)
        let run = runID.flatMap { $0.isEmpty ? nil : $0 } ?? origin.runID
        let facts = prompt ? nil : try await files?.facts(at: origin.location, in: grant.workspace)
        let created = try await database.write(in: grant.workspace) { tx in
            if creatingModel { try ensureModel(tx, name, grant) }
            _ = try RegistryStore.model(tx, name)
            let origin = ModelSource(
                source: origin.source, location: origin.location, runID: run, modelID: origin.modelID, copied: origin.copied)
            let made = try insertVersion(
                tx, name, origin, tags: tags, description: description, runLink: runLink, facts: facts, prompt: prompt, grant)
            // A copy of a version is the same model: it is bound to the same bundle. Who approved the first did not approve this one.
            if let copied = origin.copied {
                try EvidenceStore.carry(tx, [.bundle], from: copied, to: VersionKey(name, made.version), grant)
            }
            return made
        }
        if !prompt, let id = origin.modelID { try await loggedModels?.registered(id, as: created, in: grant.workspace) }
        return created
    }

    func ensureModel(_ tx: Transaction, _ name: String, _ grant: Grant) throws {
        guard try RegistryStore.findModel(tx, name) == nil else { return }
        try RegistryStore.insert(tx, model: name, description: "", tags: [])
        try ModelEvent.created(model: name, description: "", tags: []).record(tx, grant)
    }

    /// Gives the next number to what lies at `origin`.
    func insertVersion(
        _ tx: Transaction, _ name: String, _ origin: ModelSource, tags: [ModelTag] = [], description: String = "", runLink: String? = nil,
        facts: ModelFacts? = nil, prompt: Bool = false, _ grant: Grant
    ) throws -> ModelVersion {
        let number = try RegistryStore.nextVersion(tx, of: name)
        let version = ModelVersion(
            name: name, version: number, source: origin.source, storageLocation: origin.location, runID: origin.runID, runLink: runLink,
            modelID: origin.modelID,
            userID: grant.caller.name, stage: .none, description: description, createdAt: tx.now, updatedAt: tx.now, facts: facts,
            tags: tags)
        try RegistryStore.insert(tx, version)
        try ModelEvent.created(version: version, prompt: prompt).record(tx, grant)
        return try RegistryStore.version(tx, name, number)
    }

    public func version(model name: String, version: Int, _ grant: Grant) async throws -> ModelVersion {
        try grant.require(.registryRead, on: RegistryService.thing(name, grant))
        return try await database.read(in: grant.workspace) { try RegistryStore.version($0, name, version) }
    }

    /// What `models:/delay@champion`, `models:/delay/3` or `models:/delay/latest` means now; nil when there is no such model, version or alias.
    /// - Throws: `invalidArgument` when it is no model URI.
    public func resolve(_ uri: String, _ grant: Grant) async throws -> ModelVersion? {
        guard let reference = ModelURI(uri) else {
            throw KeelError.invalid(
                "'\(uri.prefix(300))' is not a model URI", hint: "write models:/name@alias, models:/name/3 or models:/name/latest")
        }
        try grant.require(.registryRead, on: RegistryService.thing(reference.name, grant))
        return try await database.read(in: grant.workspace) { try reference.resolve(on: $0) }
    }

    /// What a model URI means now.
    /// - Throws: `notFound`, which says what there is instead; `invalidArgument` when it is no model URI.
    public func found(_ uri: String, _ grant: Grant) async throws -> ModelVersion {
        if let version = try await resolve(uri, grant) { return version }
        guard let reference = ModelURI(uri) else { throw KeelError.notFound("there is no model '\(uri)'") }
        let (model, newest) = try await database.read(in: grant.workspace) { db in
            (try RegistryStore.findModel(db, reference.name), try RegistryStore.versions(db, of: reference.name).last)
        }
        guard let model else {
            throw KeelError.notFound("there is no model '\(reference.name)'", hint: "keel get models lists those that there are")
        }
        guard let newest else {
            throw KeelError.notFound(
                "the model '\(model.name)' has no version", hint: "mlflow.register_model(\"runs:/RUN/model\", \"\(model.name)\") makes one")
        }
        let last = "its newest version is models:/\(model.name)/\(newest)"
        if case .alias(let alias) = reference.target {
            let there = model.aliases.isEmpty ? "it has none" : "it has " + model.aliases.map(\.alias).sorted().joined(separator: ", ")
            throw KeelError.notFound("the model '\(model.name)' has no alias '\(alias)'", hint: "\(there); \(last)")
        }
        throw KeelError.notFound("there is no '\(uri)'", hint: last)
    }

    /// The newest version of each stage, of the given stages only.
    public func latestVersions(model name: String, stages: [ModelStage] = [], _ grant: Grant) async throws -> [ModelVersion] {
        try grant.require(.registryRead, on: RegistryService.thing(name, grant))
        return try await database.read(in: grant.workspace) { db in
            _ = try RegistryStore.model(db, name)
            return try RegistryStore.latestVersions(db, name).filter { stages.isEmpty || stages.contains($0.stage) }
        }
    }

    public func searchVersions(_ search: RegistrySearch, _ grant: Grant) async throws -> Page<ModelVersion> {
        try grant.requireSome(.registryRead)
        let page = try await database.read(in: grant.workspace) { try search.versions(on: $0) }
        return Page(items: page.items.filter { grant.covers(RegistryService.thing($0.name, grant)) }, nextToken: page.nextToken)
    }

    public func updateVersion(model name: String, version: Int, description: String, _ grant: Grant) async throws -> ModelVersion {
        try await change(name, version, grant) { tx, before in
            try tx.execute(
                "UPDATE registry_versions SET description = ?, updated_ms = ? WHERE workspace = ? AND name = ? AND version = ?",
                [.string(description), .int(tx.now.milliseconds), tx.inWorkspace, .string(name), .int(Int64(version))])
            return ModelEvent(
                "model.version.updated", name, version: version, before: .string(before.description), after: .string(description))
        }
    }

    /// Moves a version to a stage; with `archivingOthers`, those that are there go to `Archived`.
    public func setStage(model name: String, version: Int, _ stage: ModelStage, archivingOthers: Bool = false, _ grant: Grant) async throws
        -> ModelVersion
    {
        if archivingOthers, stage != .staging, stage != .production {
            throw KeelError.invalid(
                "Model version transition cannot archive existing model versions because '\(stage.rawValue)' is not an Active stage. Valid stages are ['Staging', 'Production']"
            )
        }
        return try await change(name, version, grant) { tx, before in
            let others = try archivingOthers ? RegistryStore.versions(tx, of: name, in: stage).filter { $0 != version } : []
            for other in others {
                try RegistryStore.set(tx, stage: .archived, version: other, of: name)
                try ModelEvent(
                    "model.version.stage", name, version: other, before: .string(stage.rawValue),
                    after: .string(ModelStage.archived.rawValue)
                ).record(tx, grant)
            }
            try RegistryStore.set(tx, stage: stage, version: version, of: name)
            try RegistryStore.touch(tx, model: name)
            return ModelEvent(
                "model.version.stage", name, version: version, before: .string(before.stage.rawValue), after: .string(stage.rawValue))
        }
    }

    /// Deletes a version and the aliases on it.
    /// - Throws: `failedPrecondition` when something uses it.
    public func deleteVersion(model name: String, version: Int, _ grant: Grant) async throws {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try await guarded(name, grant) { tx in
            let found = try RegistryStore.version(tx, name, version)
            try guardUse(tx, name, version)
            try checkMayMove(found.aliases, of: name, grant)
            try ModelEvent(
                "model.version.deleted", name, version: version,
                [("aliases", .array(found.aliases.map(JSON.string))), ("source", .string(found.source))]
            ).record(tx, grant)
            try RegistryStore.delete(tx, version: version, of: name)
        }
    }

    public func setTag(model name: String, version: Int, _ tag: ModelTag, _ grant: Grant) async throws {
        try RegistryRules.check(modelName: name)
        try RegistryRules.check(versionTag: tag)
        _ = try await change(name, version, grant) { tx, found in
            try RegistryStore.set(tx, tag, version: version, of: name)
            return ModelEvent(
                "model.version.tagged", name, version: version, [("key", .string(tag.key))], before: found.tags.value(tag.key),
                after: .string(tag.value))
        }
    }

    public func deleteTag(model name: String, version: Int, key: String, _ grant: Grant) async throws {
        try RegistryRules.check(modelName: name)
        try EntityName.check(key, atMost: .max)
        try ReservedTags.check(key)
        _ = try await change(name, version, grant) { tx, found in
            try tx.execute(
                "DELETE FROM registry_version_tags WHERE workspace = ? AND name = ? AND version = ? AND key = ?",
                [tx.inWorkspace, .string(name), .int(Int64(version)), .string(key)])
            return ModelEvent(
                "model.version.untagged", name, version: version, [("key", .string(key))], before: found.tags.value(key), after: .null)
        }
    }

    /// Tags do not count as an update of the version, as in MLflow.
    private func change(
        _ name: String, _ version: Int, _ grant: Grant, _ body: @escaping @Sendable (Transaction, ModelVersion) throws -> ModelEvent
    ) async throws -> ModelVersion {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        return try await database.write(in: grant.workspace) { tx in
            try body(tx, try RegistryStore.version(tx, name, version)).record(tx, grant)
            return try RegistryStore.version(tx, name, version)
        }
    }

    // MARK: Aliases

    /// What an alias must stand at for a move to happen.
    public enum Expectation: Sendable, Hashable {
        case anything
        /// The alias must not exist yet.
        case unset
        case version(Int)
    }

    /// Moves an alias to a version.
    /// - Parameter expecting: refuses the move when another caller moved it meanwhile.
    /// - Returns: the version it stood at before.
    @discardableResult
    public func setAlias(model name: String, alias: String, version: Int, expecting: Expectation = .anything, _ grant: Grant) async throws
        -> Int?
    {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        try RegistryRules.check(newAlias: alias)
        return try await guarded(name, grant) { tx in
            try checkMayMove([alias], of: name, grant)
            _ = try RegistryStore.version(tx, name, version)
            let previous = try RegistryStore.alias(tx, name, alias)
            let holds =
                switch expecting {
                case .anything: true
                case .unset: previous == nil
                case .version(let expected): previous == expected
                }
            guard holds else {
                throw KeelError(
                    .failedPrecondition,
                    "alias '\(alias)' of model '\(name)' stands at \(previous.map { "version \($0)" } ?? "no version"), not where it was expected",
                    hint: "read it again and decide anew")
            }
            try move(tx, alias, of: name, to: version, grant)
            return previous
        }
    }

    func move(_ tx: Transaction, _ alias: String, of name: String, to version: Int, _ grant: Grant) throws {
        let previous = try RegistryStore.alias(tx, name, alias)
        try RegistryStore.set(tx, alias: alias, version: version, of: name)
        try ModelEvent(
            "model.alias.set", name, version: version, [("alias", .string(alias))], before: previous.map { .int(Int64($0)) } ?? .null,
            after: .int(Int64(version))
        ).record(tx, grant)
    }

    /// Protected aliases say what serves or what the next model is compared with: only who may release moves or removes them.
    func checkMayMove(_ aliases: some Sequence<String>, of name: String, _ grant: Grant) throws(KeelError) {
        guard let alias = aliases.first(where: protectedAliases.contains) else { return }
        let caller = grant.caller
        guard caller.may(.releasesDeploy, on: RegistryService.thing(name, grant)) else {
            throw KeelError(
                .permissionDenied,
                "\(caller.name) (\(caller.persona.rawValue)) may not move or remove the alias '\(alias)' of model '\(name)'",
                hint: "it is protected: this takes the permission \(Action.releasesDeploy.rawValue)")
        }
    }

    /// Removing an alias that is not there is no error, as in MLflow.
    public func deleteAlias(model name: String, alias: String, _ grant: Grant) async throws {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        try RegistryRules.check(alias: alias)
        try await guarded(name, grant) { tx in
            try checkMayMove([alias], of: name, grant)
            _ = try RegistryStore.model(tx, name)
            guard let previous = try RegistryStore.alias(tx, name, alias) else { return }
            try tx.execute(
                "DELETE FROM registry_aliases WHERE workspace = ? AND name = ? AND alias = ?", [tx.inWorkspace, .string(name), .string(alias)])
            try ModelEvent(
                "model.alias.removed", name, version: previous, [("alias", .string(alias))], before: .int(Int64(previous)), after: .null
            ).record(tx, grant)
        }
    }

    /// The version that an alias stands at; `latest` is the newest one.
    /// - Throws: `invalidArgument` when there is no such alias, as MLflow has it.
    public func version(model name: String, alias: String, _ grant: Grant) async throws -> ModelVersion {
        try grant.require(.registryRead, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        try RegistryRules.check(alias: alias)
        return try await database.read(in: grant.workspace) { db in
            _ = try RegistryStore.model(db, name)
            if alias.lowercased() == "latest" {
                guard let latest = try RegistryStore.latestVersions(db, name).last else {
                    throw KeelError.notFound("Latest version not found for model \(name).")
                }
                return latest
            }
            guard let version = try RegistryStore.alias(db, name, alias) else {
                throw KeelError.invalid("Registered model alias \(alias) not found.")
            }
            return try RegistryStore.version(db, name, version)
        }
    }
}
