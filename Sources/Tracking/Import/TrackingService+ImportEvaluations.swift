import Contracts
import Importing
import Storage

/// Bringing the evaluation datasets of another store.
extension TrackingService {
    /// Brings evaluation datasets, but for their records; one that is there is replaced.
    public func importEvaluationDatasets(_ datasets: [EvaluationDataset], from source: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: datasets.count)
        try await database.write(in: grant.workspace) { tx in
            for dataset in datasets {
                try EvaluationDatasetStore.replace(tx, dataset)
                try ImportStore.note(tx, source, .evaluationDatasets, dataset.importID, as: dataset.id, dataset.digest)
            }
            try recordImport(tx, source, .evaluationDatasets, datasets, grant)
        }
    }

    /// Brings records of evaluation datasets that are there; one that is there itself is replaced.
    public func importEvaluationRecords(_ records: [EvaluationRecord], from source: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: records.count)
        try await database.write(in: grant.workspace) { tx in
            let datasets = Set(records.map(\.datasetID))
            for id in datasets { _ = try EvaluationDatasetStore.find(tx, id: id) }
            for record in records {
                try EvaluationRecordStore.replace(tx, record)
                try ImportStore.note(tx, source, .evaluationRecords, record.importID, as: record.importID, record.digest)
            }
            for id in datasets { try EvaluationDatasetStore.count(tx, recordsOf: id) }
            try recordImport(tx, source, .evaluationRecords, records, grant)
        }
    }
}

extension ImportStore {
    static func evaluationDatasets(_ db: some Querying, _ ids: [String]) throws -> [String: Digest] {
        var out: [String: Digest] = [:]
        try inParts(ids) { part in
            for dataset in try EvaluationDatasetStore.datasets(db, ids: part) {
                out[dataset.importID] = (dataset as any ImportRecord).digest
            }
        }
        return out
    }

    /// - Parameter ids: `DATASET/RECORD`.
    static func evaluationRecords(_ db: some Querying, _ ids: [String]) throws -> [String: Digest] {
        var out: [String: Digest] = [:]
        let datasets = Set(ids.compactMap { $0.split(separator: "/", maxSplits: 1).first.map(String.init) })
        var known: Set<String> = []
        try inParts(Array(datasets)) { part in known.formUnion(try EvaluationDatasetStore.datasets(db, ids: part).map(\.id)) }
        for id in ids {
            let halves = id.split(separator: "/", maxSplits: 1).map(String.init)
            guard halves.count == 2, known.contains(halves[0]), let record = try EvaluationRecordStore.find(db, dataset: halves[0], id: halves[1]) else { continue }
            out[id] = record.digest
        }
        return out
    }
}
