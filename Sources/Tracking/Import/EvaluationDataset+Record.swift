import Contracts
import Importing

/// An evaluation dataset with its tags and experiments; its records travel in bulk.
extension EvaluationDataset: ImportRecord {
    public init(
        id: String, name: String, digest: String, schema: JSON?, createdAt: Timestamp, updatedAt: Timestamp, createdBy: String?,
        updatedBy: String?,
        tags: [KeyValue], experimentIDs: [String]
    ) {
        self.init(
            id: id, name: name, digest: digest, schema: schema, recordCount: 0, createdAt: createdAt, updatedAt: updatedAt,
            createdBy: createdBy,
            updatedBy: updatedBy, tags: tags, experimentIDs: experimentIDs)
    }

    public var importID: String { id }
    public var record: JSON {
        [
            "id": .string(id), "name": .string(name), "digest": .string(digest), "schema": schema ?? .null,
            "created": .int(createdAt.milliseconds),
            "updated": .int(updatedAt.milliseconds), "created_by": createdBy.map(JSON.string) ?? .null,
            "updated_by": updatedBy.map(JSON.string) ?? .null,
            "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }), "experiments": .array(experimentIDs.sorted().map(JSON.string)),
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "dataset")
        let schema = reader.optional("schema")
        guard let experiments = try reader.required("experiments").array else { throw reader.failure("experiments", "must be a list") }
        self.init(
            id: try reader.identifier("id"), name: try reader.string("name"), digest: try reader.string("digest"), schema: schema,
            createdAt: try reader.milliseconds("created"), updatedAt: try reader.milliseconds("updated"),
            createdBy: try reader.optionalString("created_by"),
            updatedBy: try reader.optionalString("updated_by"), tags: try ImportPairs.read(reader, "tags").map { KeyValue($0.0, $0.1) },
            experimentIDs: experiments.compactMap(\.string))
        try reader.finish()
    }
}

/// A record of an evaluation dataset.
extension EvaluationRecord: ImportRecord {
    public init(
        id: String, of dataset: String, _ content: EvaluationRecordContent, createdAt: Timestamp, updatedAt: Timestamp, createdBy: String?,
        updatedBy: String?
    ) {
        self.init(
            id: id, datasetID: dataset, content: content, createdAt: createdAt, updatedAt: updatedAt, createdBy: createdBy,
            updatedBy: updatedBy)
    }

    /// `DATASET/RECORD`: Keel's key of it.
    public var importID: String { "\(datasetID)/\(id)" }
    public var record: JSON {
        [
            "id": .string(id), "dataset": .string(datasetID), "inputs": content.inputs, "outputs": content.outputs ?? .null,
            "expectations": content.expectations ?? .null, "tags": content.tags ?? .null, "source": content.source?.json ?? .null,
            "created": .int(createdAt.milliseconds), "updated": .int(updatedAt.milliseconds),
            "created_by": createdBy.map(JSON.string) ?? .null,
            "updated_by": updatedBy.map(JSON.string) ?? .null,
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "record")
        // Read by the content.
        for name in ["inputs", "outputs", "expectations", "tags", "source"] { _ = reader.optional(name) }
        self.init(
            id: try reader.identifier("id"), of: try reader.identifier("dataset"),
            try EvaluationRecordContent(json: record, path: "record"),
            createdAt: try reader.milliseconds("created"), updatedAt: try reader.milliseconds("updated"),
            createdBy: try reader.optionalString("created_by"),
            updatedBy: try reader.optionalString("updated_by"))
        try reader.finish()
    }
}
