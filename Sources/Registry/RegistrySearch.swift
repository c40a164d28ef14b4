import Contracts
import Storage

/// What to look for among models or versions, in MLflow's filter language.
public struct RegistrySearch: Sendable {
    public var filter: String?
    public var orderBy: [String]
    public var pageSize: Int?
    public var pageToken: String?

    public init(filter: String? = nil, orderBy: [String] = [], pageSize: Int? = nil, pageToken: String? = nil) {
        self.filter = filter
        self.orderBy = orderBy
        self.pageSize = pageSize
        self.pageToken = pageToken
    }

    static let modelGrammar = SearchGrammar(
        attributes: ["name": .text], orderable: ["name", "timestamp", "creation_timestamp", "last_updated_timestamp"], listable: ["name"],
        nullTests: false)
    static let versionGrammar = SearchGrammar(
        attributes: ["name": .text, "version_number": .number, "run_id": .text, "source_path": .text],
        orderable: ["name", "version_number", "creation_timestamp", "last_updated_timestamp"], listable: ["name", "run_id"],
        nullTests: false)

    private static let modelColumns = [
        "name": "m.name", "timestamp": "m.updated_ms", "creation_timestamp": "m.created_ms", "last_updated_timestamp": "m.updated_ms",
    ]
    private static let versionColumns = [
        "name": "v.name", "version_number": "v.version", "run_id": "v.run_id", "source_path": "v.source",
        "creation_timestamp": "v.created_ms",
        "last_updated_timestamp": "v.updated_ms",
    ]

    func models(on db: some Querying) throws -> Page<RegisteredModel> {
        let grammar = RegistrySearch.modelGrammar
        let conditions = try grammar.parse(filter: filter ?? "").map {
            RegistrySearch.condition(
                $0, columns: RegistrySearch.modelColumns, own: "SELECT 1 FROM registry_model_tags t WHERE t.name = m.name")
        }
        var keys: [KeysetOrder.Key] = []
        var named = false
        var seen: Set<String> = []
        for text in orderBy {
            let key = try grammar.parse(order: text)
            guard key.entity == .attribute, let column = RegistrySearch.modelColumns[key.key] else {
                throw KeelError.invalid("Invalid order by key '\(key.key)' specified.")
            }
            guard seen.insert(column).inserted else { throw KeelError.invalid("`order_by` contains duplicate fields: \(orderBy)") }
            named = named || key.key == "name"
            keys.append(.init(column, ascending: key.ascending))
        }
        if !named { keys.append(.init("m.name", ascending: true)) }
        return try page(db, "registry_models m", "m.*", conditions, KeysetOrder(keys), default: 100, atMost: 1000) {
            try RegistryStore.withData(db, $0.map(RegistryStore.model))
        }
    }

    func versions(on db: some Querying) throws -> Page<ModelVersion> {
        let grammar = RegistrySearch.versionGrammar
        let conditions = try grammar.parse(filter: filter ?? "").map {
            RegistrySearch.condition(
                $0, columns: RegistrySearch.versionColumns,
                own: "SELECT 1 FROM registry_version_tags t WHERE t.name = v.name AND t.version = v.version")
        }
        var keys: [KeysetOrder.Key] = []
        var seen: Set<String> = []
        for text in orderBy {
            let key = try grammar.parse(order: text)
            guard key.entity == .attribute, let column = RegistrySearch.versionColumns[key.key] else {
                throw KeelError.invalid("Invalid order by key '\(key.key)' specified.")
            }
            guard seen.insert(key.key).inserted else { throw KeelError.invalid("`order_by` contains duplicate fields: \(orderBy)") }
            keys.append(.init(column, ascending: key.ascending))
        }
        if seen.isEmpty { keys.append(.init("v.updated_ms", ascending: false)) }
        if !seen.contains("name") { keys.append(.init("v.name", ascending: true)) }
        if !seen.contains("version_number") { keys.append(.init("v.version", ascending: false)) }
        return try page(db, "registry_versions v", "v.*", conditions, KeysetOrder(keys), default: 10_000, atMost: 200_000) {
            try RegistryStore.withData(db, $0.map(RegistryStore.version))
        }
    }

    private static func condition(_ clause: SearchClause, columns: [String: String], own: String) -> SQLFragment {
        guard clause.entity == .tag else { return clause.condition(on: columns[clause.key] ?? "name") }
        let value = clause.condition(on: "t.value")
        let matching = SQLFragment("EXISTS (\(own) AND t.key = ? AND \(value.sql))", [.string(clause.key)] + value.parameters)
        // Models know nothing of prompts: without this tag a thing is no prompt.
        let meansNoPrompt =
            (clause.comparator == .equal && clause.operand == .text("false"))
            || (clause.comparator == .notEqual && clause.operand == .text("true"))
        guard clause.key == "mlflow.prompt.is_prompt", meansNoPrompt else { return matching }
        return SQLFragment("(NOT EXISTS (\(own) AND t.key = ?) OR \(matching.sql))", [.string(clause.key)] + matching.parameters)
    }

    private func page<Item: Sendable>(
        _ db: some Querying, _ table: String, _ columns: String, _ filters: [SQLFragment], _ order: KeysetOrder, default standard: Int,
        atMost limit: Int,
        _ read: ([SQLRow]) throws -> [Item]
    ) throws -> Page<Item> {
        let size = pageSize ?? standard
        guard size >= 1 else { throw KeelError.invalid("Invalid value for max_results. It must be a positive integer, but got \(size)") }
        guard size <= limit else {
            throw KeelError.invalid("Invalid value for request parameter max_results. It must be at most \(limit), but got value \(size)")
        }
        let question = "\(table)|\(filter ?? "")|\(orderBy)"
        var conditions = filters
        if let pageToken, !pageToken.isEmpty { conditions.append(order.after(try order.values(of: pageToken, query: question))) }
        let rows = try db.rows(
            """
            SELECT \(columns), \(order.columns.sql) FROM \(table) WHERE \(conditions.isEmpty ? "1 = 1" : conditions.map(\.sql).joined(separator: " AND "))
            ORDER BY \(order.orderBy.sql) LIMIT ?
            """, conditions.flatMap(\.parameters) + [.int(Int64(size) + 1)])
        let page = Array(rows.prefix(size))
        return Page(items: try read(page), nextToken: rows.count > size ? page.last.map { order.token(after: $0, query: question) } : nil)
    }
}

/// One page of a list, and the opaque token of the next.
public struct Page<Item: Sendable>: Sendable {
    public let items: [Item]
    public let nextToken: String?
}
