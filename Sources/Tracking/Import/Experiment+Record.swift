import Contracts
import Importing

/// An experiment of a foreign store. Its artifacts go to Keel's own place unless `artifactLocation` names another.
public struct ForeignExperiment: ImportRecord {
    public let id: String
    public let name: String
    public let artifactLocation: String?
    public let lifecycle: Lifecycle
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public let tags: [KeyValue]

    public init(
        id: String, name: String, artifactLocation: String?, lifecycle: Lifecycle, createdAt: Timestamp, updatedAt: Timestamp,
        tags: [KeyValue]
    ) {
        (self.id, self.name, self.artifactLocation, self.lifecycle) = (id, name, artifactLocation, lifecycle)
        (self.createdAt, self.updatedAt, self.tags) = (createdAt, updatedAt, tags)
    }

    /// Keel's own as the foreign store would have it, under the number that it has there.
    init(_ experiment: Experiment, foreignID: String) {
        self.init(
            id: foreignID, name: experiment.name,
            artifactLocation: ArtifactLocation.isOwn(experiment.artifactLocation, of: experiment.id)
                ? nil : experiment.artifactLocation,
            lifecycle: experiment.lifecycle, createdAt: experiment.createdAt, updatedAt: experiment.updatedAt,
            // What Keel noted of its own is in no foreign store.
            tags: experiment.tags.filter { !ReservedTags.isReserved($0.key) })
    }

    public var importID: String { id }
    public var record: JSON {
        [
            "id": .string(id), "name": .string(name), "artifact_location": artifactLocation.map(JSON.string) ?? .null,
            "lifecycle": .string(lifecycle.rawValue), "created": .int(createdAt.milliseconds), "updated": .int(updatedAt.milliseconds),
            "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }),
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "experiment")
        let (id, name, location) = (try reader.identifier("id"), try reader.string("name"), try reader.optionalString("artifact_location"))
        let lifecycle: Lifecycle = try reader.word("lifecycle")
        let (created, updated) = (try reader.milliseconds("created"), try reader.milliseconds("updated"))
        let tags = try ImportPairs.tags(reader).map { KeyValue($0.0, $0.1) }
        try reader.finish()
        guard !name.isEmpty else { throw reader.failure("name", "must not be empty") }
        self.init(id: id, name: name, artifactLocation: location, lifecycle: lifecycle, createdAt: created, updatedAt: updated, tags: tags)
    }
}

/// Where an experiment of a foreign store is in Keel, and how it came to be there.
public struct ImportedExperiment: Sendable {
    public let foreignID: String
    /// Keel's number of it.
    public let id: String
    public let state: ImportState
    /// Whether Keel had an experiment of this name already, whose runs and these now stand together.
    public let joined: Bool
}
