import Contracts
import Importing

/// A logged model with its params and tags; its metrics travel in bulk.
public struct ForeignModel: ImportRecord {
    public let model: LoggedModel
    public let lifecycle: Lifecycle

    public init(
        id: String, experimentID: String, name: String, modelType: String?, sourceRunID: String?, status: LoggedModelStatus,
        artifactURI: String,
        createdAt: Timestamp, updatedAt: Timestamp, lifecycle: Lifecycle, params: [KeyValue], tags: [KeyValue]
    ) {
        self.init(
            LoggedModel(
                id: id, experimentID: experimentID, name: name, modelType: modelType, sourceRunID: sourceRunID, status: status,
                artifactURI: artifactURI, createdAt: createdAt, updatedAt: updatedAt, params: params, tags: tags), lifecycle)
    }

    init(_ model: LoggedModel, _ lifecycle: Lifecycle) { (self.model, self.lifecycle) = (model, lifecycle) }

    public var importID: String { model.id }
    public var record: JSON {
        [
            "id": .string(model.id), "experiment": .string(model.experimentID), "name": .string(model.name),
            "type": model.modelType.map(JSON.string) ?? .null, "run": model.sourceRunID.map(JSON.string) ?? .null,
            "status": .string(model.status.rawValue), "artifact_uri": .string(model.artifactURI),
            "created": .int(model.createdAt.milliseconds),
            "updated": .int(model.updatedAt.milliseconds), "lifecycle": .string(lifecycle.rawValue),
            "params": ImportPairs.json(model.params.map { ($0.key, $0.value) }),
            "tags": ImportPairs.json(model.tags.map { ($0.key, $0.value) }),
        ]
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "model")
        self.init(
            id: try reader.identifier("id"), experimentID: try reader.identifier("experiment"), name: try reader.string("name"),
            modelType: try reader.optionalString("type"), sourceRunID: try reader.optionalString("run"), status: try reader.word("status"),
            artifactURI: try reader.string("artifact_uri"), createdAt: try reader.milliseconds("created"),
            updatedAt: try reader.milliseconds("updated"),
            lifecycle: try reader.word("lifecycle"), params: try ImportPairs.read(reader, "params").map { KeyValue($0.0, $0.1) },
            tags: try ImportPairs.tags(reader).map { KeyValue($0.0, $0.1) })
        try reader.finish()
    }
}

/// A measurement of a run or of a logged model, as it travels in bulk: `[owner, [key, value, milliseconds, step], run?, dataset?, digest?]`.
public struct MetricPoint: Sendable {
    /// The run, or the logged model.
    public let owner: String
    public let metric: Metric
    /// The run that measured a logged model; nil for a run's own.
    public let runID: String?

    public init(owner: String, metric: Metric, runID: String? = nil) { (self.owner, self.metric, self.runID) = (owner, metric, runID) }

    public var record: JSON {
        guard let runID else { return .array([.string(owner), metric.point]) }
        return .array([
            .string(owner), metric.point, .string(runID), .string(metric.datasetName ?? ""), .string(metric.datasetDigest ?? ""),
        ])
    }

    public init(record: JSON) throws(KeelError) {
        guard let owner = record[0]?.string, let point = record[1] else {
            throw .invalid("a point is [owner, measurement, …], not \(record.text.prefix(200))")
        }
        let bare = try Metric(point: point)
        guard let run = record[2]?.string else {
            self.init(owner: owner, metric: bare)
            return
        }
        func given(_ i: Int) -> String? { record[i]?.string.flatMap { $0.isEmpty ? nil : $0 } }
        self.init(
            owner: owner,
            metric: Metric(
                bare.key, bare.value, at: bare.at, step: bare.step, modelID: owner, datasetName: given(3), datasetDigest: given(4)),
            runID: run)
    }

    /// Bytes that no other point of its owner has.
    public var identity: [UInt8] {
        runID.map { metric.identity([$0, metric.datasetName ?? "", metric.datasetDigest ?? ""]) } ?? metric.identity()
    }
}
