import Contracts
import Storage

/// What to look for among models or versions.
public struct RegistrySearch: Sendable {
    /// A model or version is found when all of them hold.
    public var clauses: [SearchClause]
    /// By name when empty; versions by their last change.
    public var orders: [SearchOrder]
    public var pageSize: Int?
    public var pageToken: String?

    public init(clauses: [SearchClause] = [], orders: [SearchOrder] = [], pageSize: Int? = nil, pageToken: String? = nil) {
        self.clauses = clauses
        self.orders = orders
        self.pageSize = pageSize
        self.pageToken = pageToken
    }

    private static let modelColumns = ["name": "m.name", "last_updated_timestamp": "m.updated_ms"]
    private static let versionColumns = [
        "name": "v.name", "version_number": "v.version", "run_id": "coalesce(v.run_id, '')", "source_path": "v.source",
        "creation_timestamp": "v.created_ms", "last_updated_timestamp": "v.updated_ms",
    ]

    private static let newestVersionFirst = [
        SearchOrder(.attribute, "last_updated_timestamp", ascending: false), SearchOrder(.attribute, "name", ascending: true),
        SearchOrder(.attribute, "version_number", ascending: false),
    ]

    func models(on db: some Querying) throws -> Page<RegisteredModel> {
        let conditions = RegistrySearch.conditions(
            clauses, columns: RegistrySearch.modelColumns,
            own: "SELECT 1 FROM registry_model_tags t WHERE t.workspace = m.workspace AND t.name = m.name",
            named: "SELECT 1 FROM registry_model_tags t WHERE t.workspace = m.workspace AND t.name = m.name")
        var keys = orders.map { KeysetOrder.Key(RegistrySearch.modelColumns[$0.key] ?? "m.name", ascending: $0.ascending) }
        if !orders.contains(where: { $0.key == "name" }) { keys.append(.init("m.name", ascending: true)) }
        return try page(db, "registry_models m", "m.*", conditions, KeysetOrder(keys), default: 100, atMost: 1000) {
            try RegistryStore.withData(db, $0.map(RegistryStore.model))
        }
    }

    func versions(on db: some Querying) throws -> Page<ModelVersion> {
        let conditions = RegistrySearch.conditions(
            clauses, columns: RegistrySearch.versionColumns,
            own: "SELECT 1 FROM registry_version_tags t WHERE t.workspace = v.workspace AND t.name = v.name AND t.version = v.version",
            named: "SELECT 1 FROM registry_version_tags t WHERE t.workspace = v.workspace AND t.name = v.name")
        let orders = orders.isEmpty ? RegistrySearch.newestVersionFirst : orders
        var keys = orders.map { KeysetOrder.Key(RegistrySearch.versionColumns[$0.key] ?? "v.name", ascending: $0.ascending) }
        if !orders.contains(where: { $0.key == "name" }) { keys.append(.init("v.name", ascending: true)) }
        if !orders.contains(where: { $0.key == "version_number" }) { keys.append(.init("v.version", ascending: false)) }
        return try page(db, "registry_versions v", "v.*", conditions, KeysetOrder(keys), default: 10_000, atMost: 200_000) {
            try RegistryStore.withData(db, $0.map(RegistryStore.version))
        }
    }

    /// Prompts are models with a tag. A search shows them only when it asks for them; then its other clauses on the tag mean nothing.
    private static func conditions(_ clauses: [SearchClause], columns: [String: String], own: String, named: String) -> [SQLFragment] {
        let first = clauses.first { $0.entity == .tag && $0.key == ModelTag.isPrompt }
        let wantsPrompts =
            switch (first?.comparator, first?.operand) {
            case (.equal, .text(let text)): text.lowercased() == "true"
            case (.notEqual, .text(let text)): text.lowercased() == "false"
            default: false
            }
        let kept = wantsPrompts ? clauses : clauses.filter { $0.entity != .tag || $0.key != ModelTag.isPrompt }
        let conditions = kept.map { condition($0, columns: columns, own: own) }
        let noPrompt = SQLFragment("NOT EXISTS (\(named) AND t.key = ? AND t.value = 'true')", [.string(ModelTag.isPrompt)])
        return wantsPrompts ? conditions : conditions + [noPrompt]
    }

    private static func condition(_ clause: SearchClause, columns: [String: String], own: String) -> SQLFragment {
        guard clause.entity == .tag else {
            let column = columns[clause.key] ?? "name"
            // A version without a run has the empty text for one, but only its absence can lead to it by an index.
            let isNegative = clause.comparator == .notEqual || clause.comparator == .notInList
            return clause.condition(on: clause.key == "run_id" && isNegative ? "coalesce(\(column), '')" : column)
        }
        let value = clause.condition(on: "t.value")
        return SQLFragment("EXISTS (\(own) AND t.key = ? AND \(value.sql))", [.string(clause.key)] + value.parameters)
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
        let question = "\(table)|\(clauses)|\(orders)"
        var conditions = [SQLFragment("\(columns.prefix(1)).workspace = ?", [try db.inWorkspace])] + filters
        if let pageToken, !pageToken.isEmpty { conditions.append(order.after(try order.values(of: pageToken, query: question))) }
        let rows = try db.rows(
            """
            SELECT \(columns), \(order.columns.sql) FROM \(table) WHERE \(conditions.map(\.sql).joined(separator: " AND "))
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
