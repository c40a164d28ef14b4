import Contracts
import Tracking

/// Evaluation datasets in MLflow's JSON, which carries free objects as JSON inside texts.
enum EvaluationWire {
    static func dataset(_ dataset: EvaluationDataset, withExperiments: Bool = false) -> JSON {
        object([
            ("dataset_id", .string(dataset.id)), ("name", .string(dataset.name)),
            ("tags", .string(JSON.object(dataset.tags.map { JSON.Member($0.key, .string($0.value)) }).text)),
            ("schema", dataset.schema.map { .string($0.text) }),
            ("profile", dataset.recordCount == 0 ? JSON?.none : .string(JSON.of(["num_records": .int(dataset.recordCount)]).text)),
            ("digest", .string(dataset.digest)), ("created_time", .int(dataset.createdAt.milliseconds)),
            ("last_update_time", .int(dataset.updatedAt.milliseconds)), ("created_by", dataset.createdBy.map(JSON.string)),
            ("last_updated_by", dataset.updatedBy.map(JSON.string)),
            ("experiment_ids", withExperiments ? list(dataset.experimentIDs.map(JSON.string)) : JSON?.none),
        ])
    }

    static func record(_ record: EvaluationRecord) -> JSON {
        let source = record.content.source
        return object([
            ("dataset_record_id", .string(record.id)), ("dataset_id", .string(record.datasetID)), ("inputs", record.content.inputs),
            ("expectations", record.content.expectations), ("tags", record.content.tags ?? .object([])), ("source", source?.json),
            ("source_id", source?.id.map(JSON.string)), ("source_type", source.map { .string($0.kind.rawValue) }),
            ("created_time", .int(record.createdAt.milliseconds)), ("last_update_time", .int(record.updatedAt.milliseconds)),
            ("created_by", record.createdBy.map(JSON.string)), ("last_updated_by", record.updatedBy.map(JSON.string)),
            ("outputs", record.content.outputs),
        ])
    }

    // MARK: From the wire

    static func tags(_ request: MLflowRequest, isRequired: Bool) throws -> [KeyValue] {
        guard let text = isRequired ? try request.text("tags") : try request.optionalText("tags"), !text.isEmpty else { return [] }
        guard let members = try parse(text, "tags").members else {
            throw KeelError.invalid("must be a JSON object inside a text", path: "tags")
        }
        return members.compactMap { $0.value.isNull ? nil : KeyValue($0.key, $0.value.string ?? $0.value.text) }
    }

    static func records(_ request: MLflowRequest) throws -> [EvaluationRecordContent] {
        guard let items = try parse(try request.text("records"), "records").array else {
            throw KeelError.invalid("must be a JSON list inside a text", path: "records")
        }
        return try items.enumerated().map { i, item in try EvaluationRecordContent(json: item, path: "records[\(i)]") }
    }

    /// Nil for 0, which is how protobuf says that nothing is given.
    static func pageSize(_ request: MLflowRequest) throws -> Int? {
        try request.optionalCount("max_results").flatMap { $0 == 0 ? nil : $0 }
    }

    private static func parse(_ text: String, _ field: String) throws -> JSON {
        do { return try JSON.parse(text) } catch { throw KeelError.invalid("is not JSON: \(error.message)", path: field) }
    }
}
