import Contracts
import Importing

/// A registered model of a foreign store, without its versions and aliases.
public struct ForeignRegisteredModel: ImportRecord {
    public let name: String
    public let description: String
    /// The highest number that a version ever had.
    public let lastVersion: Int
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public let tags: [ModelTag]

    public init(name: String, description: String, lastVersion: Int, createdAt: Timestamp, updatedAt: Timestamp, tags: [ModelTag]) {
        (self.name, self.description, self.lastVersion) = (name, description, lastVersion)
        (self.createdAt, self.updatedAt, self.tags) = (createdAt, updatedAt, tags)
    }

    public var importID: String { name }
    public var record: JSON {
        [
            "name": .string(name), "description": .string(description), "last_version": .int(Int64(lastVersion)),
            "created": .int(createdAt.milliseconds), "updated": .int(updatedAt.milliseconds),
            "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }),
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "model")
        self.init(
            name: try RegistryImport.name(reader), description: try reader.string("description"),
            lastVersion: try reader.int("last_version"),
            createdAt: try reader.milliseconds("created"), updatedAt: try reader.milliseconds("updated"),
            tags: try ImportPairs.tags(reader).map { ModelTag($0.0, $0.1) })
        try reader.finish()
    }
}

extension ModelVersion: ImportRecord {
    public init(
        name: String, version: Int, source: String, storageLocation: String, runID: String?, runLink: String?, modelID: String?,
        userID: String,
        stage: ModelStage, description: String, createdAt: Timestamp, updatedAt: Timestamp, foreignTags: [ModelTag]
    ) {
        self.init(
            name: name, version: version, source: source, storageLocation: storageLocation, runID: runID, runLink: runLink,
            modelID: modelID,
            userID: userID, stage: stage, description: description, createdAt: createdAt, updatedAt: updatedAt, tags: foreignTags)
    }

    public var importID: String { RegistryImport.id(name, version) }
    public var record: JSON {
        [
            "name": .string(name), "version": .int(Int64(version)), "source": .string(source), "storage_location": .string(storageLocation),
            "run": runID.map(JSON.string) ?? .null, "run_link": runLink.map(JSON.string) ?? .null,
            "model": modelID.map(JSON.string) ?? .null,
            "user": .string(userID), "stage": .string(stage.rawValue), "description": .string(description),
            "created": .int(createdAt.milliseconds),
            "updated": .int(updatedAt.milliseconds), "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }),
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "version")
        self.init(
            name: try RegistryImport.name(reader), version: try reader.int("version"), source: try reader.string("source"),
            storageLocation: try reader.string("storage_location"), runID: try reader.optionalString("run"),
            runLink: try reader.optionalString("run_link"), modelID: try reader.optionalString("model"), userID: try reader.string("user"),
            stage: try reader.word("stage"), description: try reader.string("description"), createdAt: try reader.milliseconds("created"),
            updatedAt: try reader.milliseconds("updated"), foreignTags: try ImportPairs.tags(reader).map { ModelTag($0.0, $0.1) })
        try reader.finish()
        guard version >= 1 else { throw reader.failure("version", "must be at least 1") }
    }
}

/// The aliases of one model, all of them.
public struct ForeignAliases: ImportRecord {
    public let model: String
    public let aliases: [ModelAlias]

    public init(model: String, aliases: [(alias: String, version: Int)]) {
        self.model = model
        self.aliases = aliases.map { ModelAlias(alias: $0.alias, version: $0.version) }
    }

    public var importID: String { model }
    public var record: JSON {
        ["name": .string(model), "aliases": ImportPairs.json(aliases.map { ($0.alias, String($0.version)) })]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "aliases")
        let name = try RegistryImport.name(reader)
        var aliases: [(alias: String, version: Int)] = []
        for (alias, version) in try ImportPairs.read(reader, "aliases") {
            guard let number = Int(version) else { throw reader.failure("aliases", "'\(version.prefix(40))' is no version") }
            aliases.append((alias, number))
        }
        try reader.finish()
        self.init(model: name, aliases: aliases)
    }
}

enum RegistryImport {
    static func id(_ name: String, _ version: Int) -> String { "\(name)/\(version)" }

    /// Names that today's rules forbid were allowed once: only what could not be kept is refused.
    static func name(_ reader: FieldReader) throws(KeelError) -> String {
        let name = try reader.string("name")
        guard !name.isEmpty, name.unicodeScalars.count <= 256 else { throw reader.failure("name", "must be 1 to 256 characters") }
        return name
    }
}
