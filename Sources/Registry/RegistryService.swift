import Contracts
import Storage

/// Models, their versions, and the aliases that say which version does what.
///
/// Every change is a ledger event on `Model/{name}` that tells what was before and what is after: `ModelHistory` reads them.
public struct RegistryService: Sendable {
    let database: Database
    let loggedModels: (any LoggedModelLookup)?
    let usage: (any VersionUsage)?
    let runs: (any RunLookup)?
    let files: (any ModelFiles)?
    /// Aliases that only who may release moves or removes.
    let protectedAliases: Set<String>
    let denied: @Sendable (Caller, Action, _ subject: String) async throws -> Void

    /// - Parameters:
    ///   - loggedModels: resolves sources of the form `models:/m-…`.
    ///   - usage: what may forbid the deletion of a version.
    ///   - runs: tells whether a source lies among the artifacts of its run.
    ///   - files: reads what a model is from its files.
    ///   - protectedAliases: aliases that take the permission to release.
    ///   - denied: records what a caller was refused beside what the API checks.
    public init(
        database: Database, loggedModels: (any LoggedModelLookup)? = nil, usage: (any VersionUsage)? = nil, runs: (any RunLookup)? = nil,
        files: (any ModelFiles)? = nil, protectedAliases: Set<String> = [],
        denied: @escaping @Sendable (Caller, Action, _ subject: String) async throws -> Void = { _, _, _ in }
    ) {
        self.database = database
        self.loggedModels = loggedModels
        self.usage = usage
        self.runs = runs
        self.files = files
        self.protectedAliases = protectedAliases
        self.denied = denied
    }

    // MARK: Models

    /// - Throws: `alreadyExists` in the words that `mlflow.register_model` depends on.
    public func createModel(name: String, description: String = "", tags: [ModelTag] = [], _ grant: Grant) async throws -> RegisteredModel {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        for tag in tags { try RegistryRules.check(tag) }
        return try await database.write(in: grant.workspace) { tx in
            if let other = try RegistryStore.findModel(tx, name) { throw RegistryService.taken(name, by: other.tags, for: tags) }
            try RegistryStore.insert(tx, model: name, description: description, tags: tags)
            try ModelEvent.created(model: name, description: description, tags: tags).record(tx, grant)
            return try RegistryStore.model(tx, name)
        }
    }

    private static func taken(_ name: String, by old: [ModelTag], for new: [ModelTag]) -> KeelError {
        // MLflow looks at the tag's key only here.
        func isPrompt(_ tags: [ModelTag]) -> Bool { tags.contains { $0.key == ModelTag.isPrompt } }
        func word(_ tags: [ModelTag]) -> String { isPrompt(tags) ? "Prompt" : "Registered Model" }
        if isPrompt(old) == isPrompt(new) { return KeelError(.alreadyExists, "\(word(new)) (name=\(name)) already exists.") }
        return KeelError(
            .alreadyExists,
            "Tried to create a \(word(new).lowercased()) with name '\(name)', but the name is already taken by a \(word(old).lowercased()). MLflow does not allow creating a model and a prompt with the same name."
        )
    }

    public func model(name: String, _ grant: Grant) async throws -> RegisteredModel {
        try grant.require(.registryRead, on: RegistryService.thing(name, grant))
        try RegistryRules.check(modelName: name)
        return try await database.read(in: grant.workspace) { try RegistryStore.model($0, name) }
    }

    /// Only those that the caller may see: a page may hold fewer than were asked for.
    public func searchModels(_ search: RegistrySearch, _ grant: Grant) async throws -> Page<RegisteredModel> {
        try grant.requireSome(.registryRead)
        let page = try await database.read(in: grant.workspace) { try search.models(on: $0) }
        return Page(items: page.items.filter { grant.covers(RegistryService.thing($0.name, grant)) }, nextToken: page.nextToken)
    }

    /// The subject of what is done to a model and its versions.
    static func thing(_ name: String, _ grant: Grant) -> ResourceRef { ResourceRef("Model", name, in: grant.workspace) }

    public func updateModel(name: String, description: String, _ grant: Grant) async throws -> RegisteredModel {
        try await change(name, grant) { tx, model in
            try tx.execute(
                "UPDATE registry_models SET description = ? WHERE workspace = ? AND name = ?",
                [.string(description), tx.inWorkspace, .string(name)])
            try RegistryStore.touch(tx, model: name)
            return ModelEvent("model.updated", name, before: .string(model.description), after: .string(description))
        }
    }

    public func renameModel(name: String, to newName: String, _ grant: Grant) async throws -> RegisteredModel {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        guard grant.covers(RegistryService.thing(newName, grant)) else {
            throw KeelError(.permissionDenied, "\(grant.caller.name) may not give a model the name '\(newName.prefix(200))'", path: "new_name")
        }
        try RegistryRules.check(modelName: newName, path: "new_name")
        return try await guarded(name, grant) { tx in
            let model = try RegistryStore.model(tx, name)
            let versions = newName == name ? [] : try prepareRename(tx, model, to: newName, grant)
            try tx.execute(
                "UPDATE registry_models SET name = ?, updated_ms = ? WHERE workspace = ? AND name = ?",
                [.string(newName), .int(tx.now.milliseconds), tx.inWorkspace, .string(name)])
            try tx.execute(
                "UPDATE registry_versions SET updated_ms = ? WHERE workspace = ? AND name = ?",
                [.int(tx.now.milliseconds), tx.inWorkspace, .string(newName)])
            try ModelEvent("model.renamed", newName, before: .string(name), after: .string(newName)).record(tx, grant)
            for version in versions {
                let old = VersionKey(name, version)
                try EvidenceStore.carry(tx, [.bundle, .approval, .signature], from: old, to: VersionKey(newName, version), grant)
            }
            return try RegistryStore.model(tx, newName)
        }
    }

    /// What must hold before a model gets another name: releases name its versions, and each number is used once under a name.
    /// - Returns: the versions, whose evidence follows the new name.
    private func prepareRename(_ tx: Transaction, _ model: RegisteredModel, to newName: String, _ grant: Grant) throws -> [Int] {
        if try RegistryStore.findModel(tx, newName) != nil {
            throw KeelError(.alreadyExists, "Registered Model (name=\(newName)) already exists.")
        }
        try guardUse(tx, model.name)
        try checkMayMove(model.aliases.map(\.alias), of: model.name, grant)
        if let taken = try RegistryStore.retiredVersion(tx, of: newName, alsoOf: model.name) {
            throw KeelError(
                .alreadyExists, "The name '\(newName)' was used before, with a version \(taken).",
                hint: "a number means one version under its name for ever: choose another name")
        }
        let versions = try RegistryStore.versions(tx, of: model.name)
        try RegistryStore.raiseNumber(tx, of: model.name, to: try RegistryStore.lastRetired(tx, of: newName))
        try RegistryStore.retire(tx, versions, of: model.name)
        return versions
    }

    /// - Throws: `failedPrecondition` when a version of it is in use.
    public func deleteModel(name: String, _ grant: Grant) async throws {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        try await guarded(name, grant) { tx in
            let model = try RegistryStore.model(tx, name)
            try guardUse(tx, name)
            try checkMayMove(model.aliases.map(\.alias), of: name, grant)
            let versions = try RegistryStore.versions(tx, of: name)
            let event = ModelEvent("model.deleted", name, [("versions", .array(versions.map { .int(Int64($0)) }))])
            try event.record(tx, grant)
            try RegistryStore.delete(tx, model: name)
        }
    }

    public func setTag(model name: String, _ tag: ModelTag, _ grant: Grant) async throws {
        try RegistryRules.check(modelName: name)
        try RegistryRules.check(tag)
        _ = try await change(name, grant) { tx, model in
            try RegistryStore.set(tx, tag, model: name)
            return ModelEvent(
                "model.tagged", name, [("key", .string(tag.key))], before: model.tags.value(tag.key), after: .string(tag.value))
        }
    }

    public func deleteTag(model name: String, key: String, _ grant: Grant) async throws {
        try RegistryRules.check(modelName: name)
        try EntityName.check(key, atMost: .max)
        try ReservedTags.check(key)
        _ = try await change(name, grant) { tx, model in
            try tx.execute(
                "DELETE FROM registry_model_tags WHERE workspace = ? AND name = ? AND key = ?", [tx.inWorkspace, .string(name), .string(key)])
            return ModelEvent("model.untagged", name, [("key", .string(key))], before: model.tags.value(key), after: .null)
        }
    }

    /// Tags do not count as an update of the model, as in MLflow.
    private func change(
        _ name: String, _ grant: Grant, _ body: @escaping @Sendable (Transaction, RegisteredModel) throws -> ModelEvent
    ) async throws -> RegisteredModel {
        try grant.require(.registryWrite, on: RegistryService.thing(name, grant))
        return try await database.write(in: grant.workspace) { tx in
            try body(tx, try RegistryStore.model(tx, name)).record(tx, grant)
            return try RegistryStore.model(tx, name)
        }
    }

    /// A transaction in which the caller may turn out not to be allowed what they ask; the denial is recorded then.
    func guarded<T: Sendable>(
        _ name: String, _ grant: Grant, needing action: Action = .releasesDeploy, _ body: @escaping @Sendable (Transaction) throws -> T
    ) async throws -> T {
        do { return try await database.write(in: grant.workspace, body) } catch let error as KeelError where error.code == .permissionDenied {
            try await denied(grant.caller, action, "Model/\(name)")
            throw error
        }
    }

    /// - Throws: `failedPrecondition` when something uses a version of the model, or this one.
    func guardUse(_ tx: Transaction, _ name: String, _ version: Int? = nil) throws {
        let uses = try usage?.uses(tx, ofModel: name, version: version) ?? []
        guard uses.isEmpty else {
            let what = version.map { "version \($0) of model '\(name)'" } ?? "model '\(name)'"
            let more = uses.count > 3 ? " and \(uses.count - 3) more" : ""
            throw KeelError(
                .failedPrecondition, "\(what) is in use by \(uses.prefix(3).joined(separator: ", "))\(more)",
                hint: "what serves, or can be rolled back to, stays")
        }
    }
}

/// The rules of names, with MLflow's wording.
enum RegistryRules {
    static let tagCharactersMax = 100_000

    static func check(modelName name: String, path: String = "name") throws(KeelError) {
        guard name.utf8.contains(where: { $0 != 32 && $0 != 9 }) else { throw .invalid("Missing value for required parameter '\(path)'.") }
        guard !name.utf8.contains(UInt8(ascii: "/")), !name.utf8.contains(UInt8(ascii: ":")) else {
            throw .invalid("Invalid model name '\(name.prefix(300))'. Names cannot contain '/' or ':'.")
        }
        try EntityName.checkIsPath(name, path: "name")
        try EntityName.check(length: name, of: path, atMost: 256)
    }

    static func check(_ tag: ModelTag) throws(KeelError) {
        try EntityName.check(tag.key)
        try ReservedTags.check(tag.key)
        try EntityName.check(length: tag.value, of: "value", atMost: tagCharactersMax)
    }

    /// A tag of a version: that with a prompt's text has words of its own.
    static func check(versionTag tag: ModelTag) throws(KeelError) {
        guard tag.key != "mlflow.prompt.text" || tag.value.unicodeScalars.count <= tagCharactersMax else {
            throw .invalid("Prompt text exceeds max length of \(tagCharactersMax) characters.")
        }
        try check(tag)
    }

    static func check(alias: String) throws(KeelError) {
        guard !alias.isEmpty else { throw .invalid("Registered model alias name cannot be empty.") }
        guard alias.unicodeScalars.allSatisfy({ EntityName.isAlphanumeric($0) || $0 == "_" || $0 == "-" })
        else {
            throw .invalid(
                "Invalid alias name: '\(alias.prefix(300))'. Names may only contain alphanumerics, underscores (_), and dashes (-).")
        }
        try EntityName.check(length: alias, of: "Registered model alias name", atMost: 255)
    }

    /// What may not be set: names that mean a version already.
    static func check(newAlias alias: String) throws(KeelError) {
        try check(alias: alias)
        guard alias.lowercased() != "latest" else { throw .invalid("'latest' alias name (case insensitive) is reserved.") }
        let digits = alias.dropFirst()
        if alias.lowercased().hasPrefix("v"), !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }) {
            throw .invalid("Version alias name '\(alias)' is reserved.")
        }
    }
}
