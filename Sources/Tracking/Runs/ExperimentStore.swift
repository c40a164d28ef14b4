import Contracts
import Storage

/// SQL of experiments and their tags.
enum ExperimentStore {
    static func find(_ db: some Querying, id: String) throws -> Experiment {
        let number = try number(of: id)
        guard let row = try db.row("SELECT * FROM tracking_experiments WHERE id = ? AND workspace = ?", [.int(number), db.inWorkspace]) else {
            throw KeelError.notFound("No Experiment with id=\(id) exists")
        }
        return try withTags(db, [experiment(row)])[0]
    }

    static func find(_ db: some Querying, name: String) throws -> Experiment? {
        let sql = "SELECT * FROM tracking_experiments WHERE workspace = ? AND name = ?"
        guard let row = try db.row(sql, [db.inWorkspace, .string(name)]) else { return nil }
        return try withTags(db, [experiment(row)])[0]
    }

    static func insert(_ tx: Transaction, name: String, artifactLocation: String?, tags: [KeyValue]) throws -> String {
        if let other = try find(tx, name: name) {
            throw KeelError(
                .alreadyExists,
                other.lifecycle == .active
                    ? "Experiment(name=\(name)) already exists."
                    : "Experiment(name=\(name)) already exists in deleted state. Restore it, or choose another name.")
        }
        let id = try nextNumber(tx)
        let location = artifactLocation ?? ArtifactLocation.own(of: id, in: tx.workspace ?? .default)
        let now = tx.now.milliseconds
        try tx.execute(
            """
            INSERT INTO tracking_experiments (id, workspace, name, artifact_location, lifecycle, created_ms, updated_ms)
            VALUES (?, ?, ?, ?, 'active', ?, ?)
            """, [.int(id), tx.inWorkspace, .string(name), .string(location), .int(now), .int(now)])
        for tag in tags { try set(tx, tag, on: String(id)) }
        return String(id)
    }

    /// A number that no experiment has or had.
    static func nextNumber(_ db: some Querying) throws -> Int64 {
        let ids = "SELECT max(id) AS id FROM tracking_experiments UNION ALL SELECT max(id) FROM tracking_retired_experiments"
        return (try db.row("SELECT max(id) AS last FROM (\(ids)) ids")?.optionalInt("last") ?? 0) + 1
    }

    /// Those of these experiments that are in the workspace.
    static func numbers(_ db: some Querying, among numbers: [Int64]) throws -> [Int64] {
        guard !numbers.isEmpty else { return [] }
        let own = "SELECT id FROM tracking_experiments WHERE id IN (\(SQLFragment.marks(numbers.count))) AND workspace = ?"
        let found = Set(try db.rows(own, numbers.map(Value.int) + [db.inWorkspace]).map { $0.int("id") })
        return numbers.filter(found.contains)
    }

    /// Whether an experiment of any workspace has or had this number.
    static func isTaken(_ db: some Querying, _ number: Int64) throws -> Bool {
        let ids = "SELECT id FROM tracking_experiments WHERE id = ? UNION ALL SELECT id FROM tracking_retired_experiments WHERE id = ?"
        return try db.row(ids, [.int(number), .int(number)]) != nil
    }

    static func retire(_ tx: Transaction, _ number: Int64) throws {
        try tx.execute("INSERT INTO tracking_retired_experiments (id) VALUES (?) ON CONFLICT (id) DO NOTHING", [.int(number)])
    }

    static func update(_ tx: Transaction, id: String, name: String, lifecycle: Lifecycle) throws {
        try tx.execute(
            "UPDATE tracking_experiments SET name = ?, lifecycle = ?, updated_ms = ? WHERE id = ?",
            [.string(name), .string(lifecycle.rawValue), .int(tx.now.milliseconds), .int(try number(of: id))])
    }

    static func set(_ tx: Transaction, _ tag: KeyValue, on id: String) throws {
        try tx.execute(
            "INSERT INTO tracking_experiment_tags (experiment_id, key, value) VALUES (?, ?, ?) ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
            [.int(try number(of: id)), .string(tag.key), .string(tag.value)])
    }

    static func removeTag(_ tx: Transaction, key: String, from id: String) throws -> Bool {
        try tx.execute(
            "DELETE FROM tracking_experiment_tags WHERE experiment_id = ? AND key = ?", [.int(try number(of: id)), .string(key)]) > 0
    }

    static func number(of id: String) throws(KeelError) -> Int64 {
        guard let number = Int64(id) else {
            throw .invalid("Invalid experiment ID '\(id.prefix(100))'. Experiment ID must be a valid integer.")
        }
        return number
    }

    static func numbers(of ids: [String]) throws(KeelError) -> [Int64] {
        var numbers: [Int64] = []
        numbers.reserveCapacity(ids.count)
        for id in ids { numbers.append(try number(of: id)) }
        return numbers
    }

    static func search(_ db: some Querying, _ search: ExperimentSearch) throws -> Page<Experiment> {
        let limit = search.limit
        var conditions = [
            SQLFragment("e.workspace = ?", [try db.inWorkspace]),
            SQLFragment(
                "e.lifecycle IN (\(SQLFragment.marks(search.view.lifecycles.count)))", search.view.lifecycles.map { .string($0.rawValue) }),
        ]
        for clause in search.clauses { conditions.append(try condition(clause)) }
        let order = keyset(search.orders)
        let question = "experiments|\(search.view)|\(search.clauses)|\(search.orders)"
        if let token = search.pageToken, !token.isEmpty { conditions.append(order.after(try order.values(of: token, query: question))) }
        let rows = try db.rows(
            """
            SELECT e.*, \(order.columns.sql) FROM tracking_experiments e
            WHERE \(conditions.map(\.sql).joined(separator: " AND ")) ORDER BY \(order.orderBy.sql) LIMIT ?
            """, order.columns.parameters + conditions.flatMap(\.parameters) + order.orderBy.parameters + [.int(Int64(limit) + 1)])
        let page = Array(rows.prefix(limit))
        let next = rows.count > limit ? page.last.map { order.token(after: $0, query: question) } : nil
        return Page(items: try withTags(db, page.map(experiment)), nextToken: next)
    }

    private static let columns = [
        "name": "e.name", "experiment_id": "e.id", "creation_time": "e.created_ms", "last_update_time": "e.updated_ms",
    ]

    private static func condition(_ clause: SearchClause) throws -> SQLFragment {
        if clause.entity == .attribute {
            guard clause.key == "experiment_id" else { return clause.condition(on: columns[clause.key] ?? "e.name") }
            switch (clause.comparator, clause.operand) {
            case (.equal, .text(let id)), (.notEqual, .text(let id)):
                return SQLFragment("e.id \(clause.comparator.rawValue) ?", [.int(try number(of: id))])
            case (.inList, .list(let ids)), (.notInList, .list(let ids)):
                return SQLFragment(
                    "e.id \(clause.comparator.rawValue) (\(SQLFragment.marks(ids.count)))", try ids.map { .int(try number(of: $0)) })
            default: return SQLFragment("1 = 0")
            }
        }
        let own = "SELECT 1 FROM tracking_experiment_tags t WHERE t.experiment_id = e.id AND t.key = ?"
        switch clause.comparator {
        case .isNull: return SQLFragment("NOT EXISTS (\(own))", [.string(clause.key)])
        case .isNotNull: return SQLFragment("EXISTS (\(own))", [.string(clause.key)])
        default:
            let value = clause.condition(on: "t.value")
            return SQLFragment("EXISTS (\(own) AND \(value.sql))", [.string(clause.key)] + value.parameters)
        }
    }

    private static let newestFirst = [
        SearchOrder(.attribute, "creation_time", ascending: false), SearchOrder(.attribute, "experiment_id", ascending: true),
    ]

    private static func keyset(_ asked: [SearchOrder]) -> KeysetOrder {
        let orders = asked.isEmpty ? newestFirst : asked
        var keys: [KeysetOrder.Key] = []
        for order in orders { keys.append(.init(columns[order.key] ?? "e.id", ascending: order.ascending)) }
        if !orders.contains(where: { $0.key == "experiment_id" }) { keys.append(.init("e.id", ascending: false)) }
        return KeysetOrder(keys)
    }

    private static func experiment(_ row: SQLRow) -> Experiment {
        Experiment(
            id: String(row.int("id")), name: row.text("name"), artifactLocation: row.text("artifact_location"),
            lifecycle: Lifecycle(rawValue: row.text("lifecycle")) ?? .active, createdAt: Timestamp(milliseconds: row.int("created_ms")),
            updatedAt: Timestamp(milliseconds: row.int("updated_ms")), tags: [])
    }

    private static func withTags(_ db: some Querying, _ experiments: [Experiment]) throws -> [Experiment] {
        var out = experiments
        var places: [String: Int] = [:]
        for (i, experiment) in out.enumerated() { places[experiment.id] = i }
        for part in stride(from: 0, to: out.count, by: 500).map({ out[$0..<min($0 + 500, out.count)] }) {
            try db.forEach(
                "SELECT * FROM tracking_experiment_tags WHERE experiment_id IN (\(SQLFragment.marks(part.count))) ORDER BY experiment_id, key",
                try part.map { .int(try number(of: $0.id)) }
            ) { row in
                if let place = places[String(row.int("experiment_id"))] {
                    out[place].tags.append(KeyValue(row.text("key"), row.text("value")))
                }
            }
        }
        return out
    }
}
