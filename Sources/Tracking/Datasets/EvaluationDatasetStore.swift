import Contracts
import Storage

/// SQL of evaluation datasets, their tags and the experiments they belong to.
enum EvaluationDatasetStore {
    static func find(_ db: some Querying, id: String) throws -> EvaluationDataset {
        guard let dataset = try datasets(db, ids: [id]).first else {
            throw KeelError.notFound("Evaluation dataset with id '\(id.prefix(100))' not found")
        }
        return dataset
    }

    /// Those of these ids that there are.
    static func datasets(_ db: some Querying, ids: [String]) throws -> [EvaluationDataset] {
        let rows = try db.rows(
            "SELECT * FROM tracking_evaluation_datasets WHERE id IN (\(SQLFragment.marks(ids.count))) AND workspace = ?",
            ids.map(Value.string) + [db.inWorkspace])
        return try withData(db, try rows.map(dataset))
    }

    static func insert(_ tx: Transaction, _ dataset: EvaluationDataset) throws {
        try tx.execute(
            """
            INSERT INTO tracking_evaluation_datasets (id, workspace, name, digest, schema, records, created_ms, updated_ms, created_by, updated_by)
            VALUES (?, ?, ?, ?, NULL, 0, ?, ?, ?, ?)
            """,
            [
                .string(dataset.id), try tx.inWorkspace, .string(dataset.name), .string(dataset.digest), .int(dataset.createdAt.milliseconds),
                .int(dataset.updatedAt.milliseconds), dataset.createdBy.map(Value.string) ?? .null,
                dataset.updatedBy.map(Value.string) ?? .null,
            ])
    }

    /// Notes that the records have changed.
    static func update(_ tx: Transaction, id: String, digest: String, schema: JSON?, recordCount: Int64, by user: String?) throws {
        try tx.execute(
            "UPDATE tracking_evaluation_datasets SET digest = ?, schema = ?, records = ?, updated_ms = ?, updated_by = ? WHERE id = ?",
            [
                .string(digest), schema.map { .string($0.text) } ?? .null, .int(recordCount), .int(tx.now.milliseconds),
                user.map(Value.string) ?? .null, .string(id),
            ])
    }

    /// Puts the dataset in the place of what is there, but for its records.
    static func replace(_ tx: Transaction, _ dataset: EvaluationDataset) throws {
        let isThere = try ImportStore.isThere(tx, "tracking_evaluation_datasets", dataset.id)
        for table in ["dataset_tags", "dataset_experiments"] {
            try tx.execute("DELETE FROM tracking_evaluation_\(table) WHERE dataset_id = ?", [.string(dataset.id)])
        }
        if !isThere { try insert(tx, dataset) }
        try tx.execute(
            """
            UPDATE tracking_evaluation_datasets SET name = ?, digest = ?, schema = ?, created_ms = ?, updated_ms = ?, created_by = ?, updated_by = ?
            WHERE id = ?
            """,
            [
                .string(dataset.name), .string(dataset.digest), dataset.schema.map { .string($0.text) } ?? .null,
                .int(dataset.createdAt.milliseconds),
                .int(dataset.updatedAt.milliseconds), dataset.createdBy.map(Value.string) ?? .null,
                dataset.updatedBy.map(Value.string) ?? .null,
                .string(dataset.id),
            ])
        for tag in dataset.tags { try set(tx, tag, on: dataset.id) }
        for experiment in dataset.experimentIDs { try add(tx, experiment: experiment, to: dataset.id) }
    }

    /// Brings the count of its records up to date.
    static func count(_ tx: Transaction, recordsOf id: String) throws {
        try tx.execute(
            "UPDATE tracking_evaluation_datasets SET records = ? WHERE id = ?",
            [.int(try EvaluationRecordStore.count(tx, dataset: id)), .string(id)])
    }

    static func touch(_ tx: Transaction, id: String) throws {
        try tx.execute("UPDATE tracking_evaluation_datasets SET updated_ms = ? WHERE id = ?", [.int(tx.now.milliseconds), .string(id)])
    }

    static func delete(_ tx: Transaction, id: String) throws {
        for table in ["records", "dataset_tags", "dataset_experiments"] {
            try tx.execute("DELETE FROM tracking_evaluation_\(table) WHERE dataset_id = ?", [.string(id)])
        }
        try tx.execute("DELETE FROM tracking_evaluation_datasets WHERE id = ?", [.string(id)])
    }

    static func set(_ tx: Transaction, _ tag: KeyValue, on id: String) throws {
        try tx.execute(
            """
            INSERT INTO tracking_evaluation_dataset_tags (dataset_id, key, value) VALUES (?, ?, ?)
            ON CONFLICT (dataset_id, key) DO UPDATE SET value = excluded.value
            """, [.string(id), .string(tag.key), .string(tag.value)])
    }

    static func removeTag(_ tx: Transaction, key: String, from id: String) throws -> Bool {
        try tx.execute("DELETE FROM tracking_evaluation_dataset_tags WHERE dataset_id = ? AND key = ?", [.string(id), .string(key)]) > 0
    }

    /// - Throws: `notFound` without such an experiment.
    static func add(_ tx: Transaction, experiment: String, to id: String) throws {
        let number = try ExperimentStore.number(of: experiment)
        guard try ExperimentStore.numbers(tx, among: [number]) == [number] else {
            throw KeelError.notFound("No Experiment with id=\(experiment)")
        }
        try tx.execute(
            "INSERT INTO tracking_evaluation_dataset_experiments (dataset_id, experiment_id) VALUES (?, ?) ON CONFLICT (dataset_id, experiment_id) DO NOTHING",
            [.string(id), .int(number)])
    }

    static func remove(_ tx: Transaction, experiment: String, from id: String) throws -> Bool {
        try tx.execute(
            "DELETE FROM tracking_evaluation_dataset_experiments WHERE dataset_id = ? AND experiment_id = ?",
            [.string(id), .int(try ExperimentStore.number(of: experiment))]) > 0
    }

    // MARK: Search

    private static let columns = [
        "name": "d.name", "created_time": "d.created_ms", "last_update_time": "d.updated_ms", "created_by": "d.created_by",
        "last_updated_by": "d.updated_by",
    ]

    static func search(_ db: some Querying, _ search: EvaluationDatasetSearch) throws -> Page<EvaluationDataset> {
        let limit = search.limit
        var conditions = [SQLFragment("d.workspace = ?", [try db.inWorkspace])]
        if !search.experiments.isEmpty {
            conditions.append(
                SQLFragment(
                    """
                    EXISTS (SELECT 1 FROM tracking_evaluation_dataset_experiments x WHERE x.dataset_id = d.id
                    AND x.experiment_id IN (\(SQLFragment.marks(search.experiments.count))))
                    """, search.experiments.map(Value.int)))
        }
        conditions += search.clauses.map(condition)
        var keys = search.orders.map { KeysetOrder.Key(columns[$0.key] ?? "d.id", ascending: $0.ascending) }
        if keys.isEmpty { keys.append(.init("d.created_ms", ascending: false)) }
        let order = KeysetOrder(keys + [.init("d.id", ascending: false)])
        let question = "evaluation-datasets|\(search.experiments)|\(search.clauses)|\(search.orders)"
        if let token = search.pageToken, !token.isEmpty { conditions.append(order.after(try order.values(of: token, query: question))) }
        let rows = try db.rows(
            """
            SELECT d.*, \(order.columns.sql) FROM tracking_evaluation_datasets d
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """, conditions.flatMap(\.parameters) + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        let next = rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil
        return Page(items: try withData(db, try page.map(dataset)), nextToken: next)
    }

    private static func condition(_ clause: SearchClause) -> SQLFragment {
        guard clause.entity == .tag else { return clause.condition(on: columns[clause.key] ?? "d.name") }
        let own = "EXISTS (SELECT 1 FROM tracking_evaluation_dataset_tags t WHERE t.dataset_id = d.id AND t.key = ?"
        switch clause.comparator {
        case .isNull: return SQLFragment("NOT \(own))", [.string(clause.key)])
        case .isNotNull: return SQLFragment("\(own))", [.string(clause.key)])
        default:
            let value = clause.condition(on: "t.value")
            return SQLFragment("\(own) AND \(value.sql))", [.string(clause.key)] + value.parameters)
        }
    }

    private static func dataset(_ row: SQLRow) throws -> EvaluationDataset {
        EvaluationDataset(
            id: row.text("id"), name: row.text("name"), digest: row.text("digest"),
            schema: try row.optionalText("schema").map { try JSON.parse($0) },
            recordCount: row.int("records"), createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")), createdBy: row.optionalText("created_by"),
            updatedBy: row.optionalText("updated_by"))
    }

    private static func withData(_ db: some Querying, _ datasets: [EvaluationDataset]) throws -> [EvaluationDataset] {
        var out = datasets
        var places: [String: Int] = [:]
        for (i, dataset) in out.enumerated() { places[dataset.id] = i }
        for part in stride(from: 0, to: out.count, by: 500).map({ out[$0..<min($0 + 500, out.count)] }) {
            let ids = part.map { Value.string($0.id) }
            let own = "WHERE dataset_id IN (\(SQLFragment.marks(ids.count))) ORDER BY dataset_id"
            try db.forEach("SELECT * FROM tracking_evaluation_dataset_tags \(own), key", ids) { row in
                if let place = places[row.text("dataset_id")] { out[place].tags.append(KeyValue(row.text("key"), row.text("value"))) }
            }
            try db.forEach("SELECT * FROM tracking_evaluation_dataset_experiments \(own), experiment_id", ids) { row in
                if let place = places[row.text("dataset_id")] { out[place].experimentIDs.append(String(row.int("experiment_id"))) }
            }
        }
        return out
    }
}
