import Contracts
import Storage

/// Evaluation datasets: what `mlflow.genai.datasets` makes and reads.
extension TrackingService {
    /// - Throws: `notFound` for an experiment that does not exist.
    public func createEvaluationDataset(
        name: String, experimentIDs: [String] = [], tags: [KeyValue] = [], _ grant: Grant
    ) async throws -> EvaluationDataset {
        try grant.require(.trackingWrite)
        try EntityName.check(length: name, of: "name", atMost: TrackingLimits.evaluationNameCharactersMax)
        try check(evaluationTags: tags)
        return try await database.write(in: grant.workspace) { tx in
            let id = "d-" + Identifier.ordered32()
            let user = tags.first { $0.key == "mlflow.user" }?.value
            try EvaluationDatasetStore.insert(
                tx,
                EvaluationDataset(
                    id: id, name: name, digest: evaluationDigest(name, tx.now), schema: nil, recordCount: 0, createdAt: tx.now,
                    updatedAt: tx.now,
                    createdBy: user, updatedBy: user))
            for tag in tags { try EvaluationDatasetStore.set(tx, tag, on: id) }
            for experiment in experimentIDs { try EvaluationDatasetStore.add(tx, experiment: experiment, to: id) }
            try tx.record(
                "evaluation_dataset.created", on: "EvaluationDataset/\(id)",
                ["name": .string(name), "experiments": .array(experimentIDs.map(JSON.string))], by: grant)
            return try EvaluationDatasetStore.find(tx, id: id)
        }
    }

    public func evaluationDataset(id: String, _ grant: Grant) async throws -> EvaluationDataset {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try EvaluationDatasetStore.find($0, id: id) }
    }

    public func searchEvaluationDatasets(_ search: EvaluationDatasetSearch, _ grant: Grant) async throws -> Page<EvaluationDataset> {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try EvaluationDatasetStore.search($0, search) }
    }

    /// Deletes the dataset with its records; one that is not there is deleted already.
    public func deleteEvaluationDataset(id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            guard let dataset = try optional({ try EvaluationDatasetStore.find(tx, id: id) }) else { return }
            try EvaluationDatasetStore.delete(tx, id: id)
            try tx.record(
                "evaluation_dataset.deleted", on: "EvaluationDataset/\(id)",
                ["name": .string(dataset.name), "records": .int(dataset.recordCount)], by: grant)
        }
    }

    public func setEvaluationDatasetTags(id: String, _ tags: [KeyValue], _ grant: Grant) async throws {
        try check(evaluationTags: tags)
        _ = try await change(evaluationDataset: id, "evaluation_dataset.tagged", grant) { tx, _ in
            for tag in tags { try EvaluationDatasetStore.set(tx, tag, on: id) }
            return .object(tags.map { JSON.Member($0.key, .string($0.value)) })
        }
    }

    /// A tag that is not there, or whose dataset is not, is deleted already.
    public func deleteEvaluationDatasetTag(id: String, key: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            guard try optional({ try EvaluationDatasetStore.find(tx, id: id) }) != nil,
                try EvaluationDatasetStore.removeTag(tx, key: key, from: id)
            else { return }
            try tx.record("evaluation_dataset.untagged", on: "EvaluationDataset/\(id)", ["key": .string(key)], by: grant)
        }
    }

    /// - Throws: `notFound` for an experiment that does not exist; then none is added.
    public func addEvaluationDataset(id: String, toExperiments experiments: [String], _ grant: Grant) async throws -> EvaluationDataset {
        try await change(evaluationDataset: id, "evaluation_dataset.experiments_added", grant) { tx, _ in
            for experiment in experiments { try EvaluationDatasetStore.add(tx, experiment: experiment, to: id) }
            try EvaluationDatasetStore.touch(tx, id: id)
            return ["experiments": .array(experiments.map(JSON.string))]
        }
    }

    /// An experiment that the dataset does not belong to is passed over.
    public func removeEvaluationDataset(id: String, fromExperiments experiments: [String], _ grant: Grant) async throws -> EvaluationDataset
    {
        try await change(evaluationDataset: id, "evaluation_dataset.experiments_removed", grant) { tx, _ in
            var removed: [String] = []
            for experiment in experiments where try EvaluationDatasetStore.remove(tx, experiment: experiment, from: id) {
                removed.append(experiment)
            }
            if !removed.isEmpty { try EvaluationDatasetStore.touch(tx, id: id) }
            return ["experiments": .array(removed.map(JSON.string))]
        }
    }

    // MARK: Records

    /// Adds records, or changes those that have the same inputs: all or none.
    /// - Returns: how many were new and how many were changed.
    public func upsertEvaluationRecords(
        datasetID: String, _ records: [EvaluationRecordContent], _ grant: Grant
    ) async throws -> (inserted: Int, updated: Int) {
        try grant.require(.trackingWrite)
        return try await database.write(in: grant.workspace) { tx in
            let dataset = try EvaluationDatasetStore.find(tx, id: datasetID)
            var counts = (inserted: 0, updated: 0)
            var schema = EvaluationSchema(dataset.schema)
            for record in records {
                let digest = Digest(of: record.inputs.canonical).hex
                if let old = try EvaluationRecordStore.find(tx, dataset: datasetID, inputsDigest: digest) {
                    try EvaluationRecordStore.update(tx, old.id, of: datasetID, old.content.merging(record), by: record.user)
                    counts.updated += 1
                } else {
                    try EvaluationRecordStore.insert(tx, record, inputsDigest: digest, into: datasetID)
                    counts.inserted += 1
                }
                schema.add(record)
            }
            let total = dataset.recordCount + Int64(counts.inserted)
            guard total <= TrackingLimits.evaluationRecordsMax else {
                throw KeelError.invalid(
                    "An evaluation dataset can hold at most \(TrackingLimits.evaluationRecordsMax) records. Got \(total).")
            }
            try EvaluationDatasetStore.update(
                tx, id: datasetID, digest: evaluationDigest(dataset.name, tx.now), schema: schema.json, recordCount: total,
                by: records.compactMap(\.user).last)
            try tx.record(
                "evaluation_dataset.records_upserted", on: "EvaluationDataset/\(datasetID)",
                ["inserted": .int(Int64(counts.inserted)), "updated": .int(Int64(counts.updated))], by: grant)
            return counts
        }
    }

    /// - Returns: how many were there to delete.
    public func deleteEvaluationRecords(datasetID: String, ids: [String], _ grant: Grant) async throws -> Int {
        try grant.require(.trackingWrite)
        return try await database.write(in: grant.workspace) { tx in
            let dataset = try EvaluationDatasetStore.find(tx, id: datasetID)
            let deleted = try EvaluationRecordStore.delete(tx, ids: ids, of: datasetID)
            guard deleted > 0 else { return 0 }
            try EvaluationDatasetStore.update(
                tx, id: datasetID, digest: evaluationDigest(dataset.name, tx.now), schema: dataset.schema,
                recordCount: dataset.recordCount - Int64(deleted), by: dataset.updatedBy)
            try tx.record(
                "evaluation_dataset.records_deleted", on: "EvaluationDataset/\(datasetID)", ["deleted": .int(Int64(deleted))], by: grant)
            return deleted
        }
    }

    /// Oldest first.
    public func evaluationRecords(
        datasetID: String, pageSize: Int? = nil, pageToken: String? = nil, _ grant: Grant
    ) async throws -> Page<EvaluationRecord> {
        try grant.require(.trackingRead)
        let limit = try TrackingLimits.page(pageSize, default: 1000, atMost: TrackingLimits.runsPerPageMax)
        return try await database.read(in: grant.workspace) { db in
            _ = try EvaluationDatasetStore.find(db, id: datasetID)
            return try EvaluationRecordStore.page(db, dataset: datasetID, limit: limit, after: pageToken)
        }
    }

    private func change(
        evaluationDataset id: String, _ kind: String, _ grant: Grant,
        _ body: @escaping @Sendable (Transaction, EvaluationDataset) throws -> JSON
    ) async throws -> EvaluationDataset {
        try grant.require(.trackingWrite)
        return try await database.write(in: grant.workspace) { tx in
            let details = try body(tx, try EvaluationDatasetStore.find(tx, id: id))
            try tx.record(kind, on: "EvaluationDataset/\(id)", details, by: grant)
            return try EvaluationDatasetStore.find(tx, id: id)
        }
    }

    private func check(evaluationTags tags: [KeyValue]) throws {
        try TrackingLimits.check(count: tags.count, of: "tags", atMost: TrackingLimits.tagsPerBatchMax)
        for tag in tags {
            try EntityName.check(length: tag.key, of: "key", atMost: TrackingLimits.evaluationNameCharactersMax)
            try EntityName.check(length: tag.value, of: "value", atMost: TrackingLimits.evaluationTagCharactersMax)
        }
    }
}

/// The value, or nil when it is not found.
private func optional<T>(_ body: () throws -> T) throws -> T? {
    do { return try body() } catch let error as KeelError where error.code == .notFound { return nil }
}

private func evaluationDigest(_ name: String, _ time: Timestamp) -> String {
    String(Digest(of: "\(name):\(time.milliseconds)").hex.prefix(8))
}

/// The fields that the records of a dataset have, with the type that each had first.
private struct EvaluationSchema {
    private var parts: [String: JSON]
    private var isEmpty: Bool
    private static let names = ["inputs", "outputs", "expectations"]

    init(_ json: JSON?) {
        isEmpty = json == nil
        parts = Dictionary(uniqueKeysWithValues: EvaluationSchema.names.map { ($0, json?[$0] ?? .object([])) })
    }

    mutating func add(_ record: EvaluationRecordContent) {
        isEmpty = false
        add(record.inputs, to: "inputs")
        if let expectations = record.expectations { add(expectations, to: "expectations") }
        switch record.outputs {
        case .object?: add(record.outputs ?? .null, to: "outputs")
        case nil, .null?: break
        case let single?: if parts["outputs"] == .object([]) { parts["outputs"] = .string(EvaluationSchema.type(single)) }
        }
    }

    private mutating func add(_ object: JSON, to part: String) {
        for member in object.members ?? [] where parts[part]?[member.key] == nil {
            parts[part]?[member.key] = .string(EvaluationSchema.type(member.value))
        }
    }

    var json: JSON? {
        isEmpty ? nil : .object(EvaluationSchema.names.map { JSON.Member($0, parts[$0] ?? .object([])) } + [JSON.Member("version", "1.0")])
    }

    private static func type(_ value: JSON) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .int: "integer"
        case .double: "float"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
