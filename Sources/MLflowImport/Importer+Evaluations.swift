import Contracts
import Storage
import Tracking

extension Importer {
    func evaluationDatasets() async throws {
        guard source.has("evaluation_datasets") else { return }
        let total = try await read { try $0.count("evaluation_datasets") }
        var last = ""
        while true {
            let (after, map) = (last, map)
            let batch = try await read { try $0.evaluationDatasetRecords(after: after, limit: Importer.batch, map) }
            guard let end = batch.last?.id else { break }
            last = end
            let open = try await bring(batch, "tracking/evaluation-datasets", "evaluation datasets") {
                "evaluation dataset \($0.id) ('\($0.name)')"
            }
            for dataset in open { try await evaluationRecords(of: dataset.id) }
            progress("evaluation datasets", total)
        }
    }

    private func evaluationRecords(of dataset: String) async throws {
        var last = ""
        while true {
            let after = last
            let batch = try await read { try $0.evaluationRecordRecords(of: dataset, after: after, limit: Importer.batch) }
            guard let end = batch.last?.id else { break }
            last = end
            _ = try await bring(batch, "tracking/evaluation-records", "evaluation records") {
                "record \($0.id) of evaluation dataset \($0.datasetID)"
            }
            progress("evaluation records", nil)
        }
    }
}

extension MLflowSource {
    func evaluationDatasetRecords(after id: String, limit: Int, _ map: ExperimentMap) throws -> [EvaluationDataset] {
        let rows = try evaluationDatasets(after: id, limit: limit)
        let ids = rows.map { $0.text("dataset_id") }
        let tags = try self.rows("evaluation_dataset_tags", "dataset_id", ids)
        let links = try self.rows(
            "entity_associations", "source_id", ids, " AND source_type = 'evaluation_dataset' AND destination_type = 'experiment'")
        return try rows.map { row in
            let id = row.text("dataset_id")
            return EvaluationDataset(
                id: id, name: row.text("name"), digest: row.text("digest"), schema: try json(row, "schema"),
                createdAt: time(row, "created_time"),
                updatedAt: time(row, "last_update_time"), createdBy: row.optionalText("created_by"),
                updatedBy: row.optionalText("last_updated_by"),
                tags: pairs(tags[id], "key", "value"), experimentIDs: (links[id] ?? []).compactMap { map[$0.text("destination_id")] })
        }
    }

    func evaluationRecordRecords(of dataset: String, after id: String, limit: Int) throws -> [EvaluationRecord] {
        try evaluationRecords(of: dataset, after: id, limit: limit).map { row in
            let id = row.text("dataset_record_id")
            var content: JSON = ["inputs": try json(row, "inputs") ?? .object([])]
            for name in ["expectations", "tags", "source"] { content[name] = try json(row, name) ?? .null }
            let outputs = try json(row, "outputs")
            // MLflow puts every output into an object of its own.
            content["outputs"] = outputs?["mlflow_wrapped"] ?? outputs ?? .null
            return EvaluationRecord(
                id: id, of: dataset, try EvaluationRecordContent(json: content, path: "record \(id)"), createdAt: time(row, "created_time"),
                updatedAt: time(row, "last_update_time"), createdBy: row.optionalText("created_by"),
                updatedBy: row.optionalText("last_updated_by"))
        }
    }

    /// A column that holds JSON; nil for `null`.
    private func json(_ row: ForeignRow, _ column: String) throws -> JSON? {
        guard let text = row.optionalText(column), !text.isEmpty else { return nil }
        let json = try JSON.parse(text)
        return json.isNull ? nil : json
    }
}
