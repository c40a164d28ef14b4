import Contracts
import Storage

/// SQL of the records of evaluation datasets.
enum EvaluationRecordStore {
    /// The record of a dataset with these inputs.
    static func find(_ db: some Querying, dataset: String, inputsDigest: String) throws -> EvaluationRecord? {
        try db.row(
            "SELECT * FROM tracking_evaluation_records WHERE dataset_id = ? AND inputs_digest = ?",
            [.string(dataset), .string(inputsDigest)]
        ).map(record)
    }

    static func find(_ db: some Querying, dataset: String, id: String) throws -> EvaluationRecord? {
        try db.row("SELECT * FROM tracking_evaluation_records WHERE dataset_id = ? AND id = ?", [.string(dataset), .string(id)]).map(record)
    }

    /// Puts the record in the place of what is there; beside another with the same inputs it is left out.
    static func replace(_ tx: Transaction, _ record: EvaluationRecord) throws {
        _ = try delete(tx, ids: [record.id], of: record.datasetID)
        let content = record.content
        try tx.execute(
            """
            INSERT INTO tracking_evaluation_records
            (dataset_id, id, inputs_digest, inputs, outputs, expectations, tags, source, created_ms, updated_ms, created_by, updated_by)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
            """,
            [
                .string(record.datasetID), .string(record.id), .string(Digest(of: content.inputs.canonical).hex),
                .string(content.inputs.text),
                text(content.outputs), text(content.expectations), text(content.tags), text(content.source?.json),
                .int(record.createdAt.milliseconds),
                .int(record.updatedAt.milliseconds), record.createdBy.map(Value.string) ?? .null,
                record.updatedBy.map(Value.string) ?? .null,
            ])
    }

    /// Outputs that are not given are an empty object, as MLflow keeps them.
    static func insert(_ tx: Transaction, _ content: EvaluationRecordContent, inputsDigest: String, into dataset: String) throws {
        let (now, user) = (Value.int(tx.now.milliseconds), content.user.map(Value.string) ?? .null)
        try tx.execute(
            """
            INSERT INTO tracking_evaluation_records
            (dataset_id, id, inputs_digest, inputs, outputs, expectations, tags, source, created_ms, updated_ms, created_by, updated_by)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(dataset), .string("dr-" + Identifier.ordered32()), .string(inputsDigest), .string(content.inputs.text),
                text(content.outputs ?? .object([])),
                text(content.expectations), text(content.tags), text(content.source?.json), now, now, user, user,
            ])
    }

    static func update(_ tx: Transaction, _ id: String, of dataset: String, _ content: EvaluationRecordContent, by user: String?) throws {
        try tx.execute(
            """
            UPDATE tracking_evaluation_records SET outputs = ?, expectations = ?, tags = ?, updated_ms = ?, updated_by = coalesce(?, updated_by)
            WHERE dataset_id = ? AND id = ?
            """,
            [
                text(content.outputs), text(content.expectations), text(content.tags), .int(tx.now.milliseconds),
                user.map(Value.string) ?? .null, .string(dataset), .string(id),
            ])
    }

    static func delete(_ tx: Transaction, ids: [String], of dataset: String) throws -> Int {
        var deleted = 0
        for part in stride(from: 0, to: ids.count, by: 500).map({ ids[$0..<min($0 + 500, ids.count)] }) {
            deleted += try tx.execute(
                "DELETE FROM tracking_evaluation_records WHERE dataset_id = ? AND id IN (\(SQLFragment.marks(part.count)))",
                [.string(dataset)] + part.map(Value.string))
        }
        return deleted
    }

    static func count(_ db: some Querying, dataset: String) throws -> Int64 {
        try db.row("SELECT count(*) AS n FROM tracking_evaluation_records WHERE dataset_id = ?", [.string(dataset)])?.int("n") ?? 0
    }

    /// Oldest first.
    static func page(_ db: some Querying, dataset: String, limit: Int, after token: String?) throws -> Page<EvaluationRecord> {
        let order = KeysetOrder([.init("created_ms", ascending: true), .init("id", ascending: true)])
        let question = "evaluation-records|\(dataset)"
        var condition = SQLFragment("dataset_id = ?", [.string(dataset)])
        if let token, !token.isEmpty {
            let after = order.after(try order.values(of: token, query: question))
            condition = SQLFragment("\(condition.sql) AND \(after.sql)", condition.parameters + after.parameters)
        }
        let rows = try db.rows(
            """
            SELECT *, \(order.columns.sql) FROM tracking_evaluation_records WHERE \(condition.sql) ORDER BY \(order.orderBy.sql) LIMIT ?
            """, condition.parameters + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        return Page(
            items: try page.map(record), nextToken: rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil)
    }

    private static func text(_ json: JSON?) -> Value { json.map { $0.isNull ? .null : .string($0.text) } ?? .null }

    private static func record(_ row: SQLRow) throws -> EvaluationRecord {
        func json(_ column: String) throws -> JSON? { try row.optionalText(column).map { try JSON.parse($0) } }
        return EvaluationRecord(
            id: row.text("id"), datasetID: row.text("dataset_id"),
            content: EvaluationRecordContent(
                inputs: try row.json("inputs"), outputs: try json("outputs"), expectations: try json("expectations"),
                tags: try json("tags"),
                source: try json("source").map { try EvaluationRecordSource(json: $0, path: "source") }),
            createdAt: Timestamp(milliseconds: row.int("created_ms")), updatedAt: Timestamp(milliseconds: row.int("updated_ms")),
            createdBy: row.optionalText("created_by"), updatedBy: row.optionalText("updated_by"))
    }
}
