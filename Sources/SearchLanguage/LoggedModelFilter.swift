import Contracts
import Tracking

/// The filters of logged models, which MLflow reads with rules and words of their own: `metrics.auc > 0.8 AND tags.team = 'risk'`.
package enum LoggedModelFilter {
    /// The attributes' names in clauses; MLflow's other spellings lead to them.
    private static let spellings = [
        "creation_time": "creation_timestamp_ms", "creation_timestamp": "creation_timestamp_ms",
        "last_updated_timestamp": "last_updated_timestamp_ms",
    ]
    private static let numericAttributes: Set<String> = ["creation_timestamp_ms", "last_updated_timestamp_ms"]

    /// - Throws: `invalidArgument` in MLflow's words.
    package static func parse(_ filter: String) throws(KeelError) -> [SearchClause] {
        guard !filter.isEmpty else { return [] }
        try SearchLimits.check(filter: filter)
        let statements = SearchText.statements(of: filter)
        guard statements.count == 1 else {
            throw .invalid("Invalid filter string: \(Python.text(filter)). Expected a single SQL expression.")
        }
        var clauses: [SearchClause] = []
        for part in SearchText.comparisons(in: statements[0]) where !part.isWord("AND") {
            guard part.kind == .comparison else {
                throw .invalid(
                    "Invalid filter string: \(Python.text(filter)). Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
                )
            }
            clauses.append(try clause(part).withinLimits())
            try SearchLimits.check(clauses: clauses.count)
        }
        for clause in clauses where clause.entity == .attribute && !LoggedModelSearch.attributes.contains(clause.key) {
            throw .invalid("Invalid attribute key '\(clause.key.prefix(100))' specified.")
        }
        return clauses
    }

    /// One key of an order, as it is written.
    package static func parse(order written: LoggedModelOrderText) throws(KeelError) -> LoggedModelSearch.Order {
        let field = written.field
        guard let dot = field.firstIndex(of: ".") else {
            let key = spellings[field] ?? field
            guard LoggedModelSearch.attributes.contains(key) else { throw .invalid("Invalid order by field name: \(field.prefix(200))") }
            return LoggedModelSearch.Order(SearchOrder(.attribute, key, ascending: written.ascending), dataset: written.dataset)
        }
        guard field[..<dot] == "metrics" else {
            throw .invalid("Invalid order by field name: \(field.prefix(200)). Only metrics are supported.")
        }
        let key = String(field[field.index(after: dot)...])
        return LoggedModelSearch.Order(SearchOrder(.metric, key, ascending: written.ascending), dataset: written.dataset)
    }

    private static func clause(_ part: SearchText.Part) throws(KeelError) -> SearchClause {
        guard part.parts.count == 3 else {
            throw .invalid("Invalid comparison: \(part.text). Expected a comparison with 3 tokens.")
        }
        let (entity, key, shown) = try identifier(part.parts[0].text)
        let (given, value) = (part.parts[1].text.uppercased(), part.parts[2].text)
        let isNumeric = entity == .metric || (entity == .attribute && numericAttributes.contains(key))
        let allowed: [SearchClause.Comparator] =
            isNumeric
            ? [.less, .lessOrEqual, .greater, .greaterOrEqual, .equal, .notEqual] : [.equal, .notEqual, .like, .ilike, .inList, .notInList]
        guard let comparator = SearchClause.Comparator(rawValue: given), allowed.contains(comparator) else {
            let names = allowed.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw .invalid("Invalid comparison operator for \(shown): '\(given)'. Expected one of (\(names)).")
        }
        if isNumeric {
            guard let number = Double(value) else { throw .invalid("could not convert string to float: \(Python.text(value))") }
            return SearchClause(entity, key, comparator, .number(number))
        }
        if comparator == .inList || comparator == .notInList {
            return SearchClause(entity, key, comparator, .list(try Python.tuple(value)))
        }
        var text = value[...]
        while text.first == "'" { text.removeFirst() }
        while text.last == "'" { text.removeLast() }
        return SearchClause(entity, key, comparator, .text(String(text)))
    }

    /// What the key is of, its name, and the two as MLflow prints them.
    private static func identifier(_ text: String) throws(KeelError) -> (SearchClause.Entity, String, String) {
        func plain(_ key: some StringProtocol) -> String {
            var key = Substring(key)
            while key.first == "`" { key.removeFirst() }
            while key.last == "`" { key.removeLast() }
            return String(key)
        }
        let halves = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2, !halves[0].isEmpty, !halves[1].isEmpty, halves[0].utf8.allSatisfy({ (97...122).contains($0) }) else {
            let key = spellings[plain(text)] ?? plain(text)
            return (.attribute, key, "attributes.\(key)")
        }
        let entity: SearchClause.Entity
        switch halves[0] {
        case "attributes": entity = .attribute
        case "metrics": entity = .metric
        case "params": entity = .parameter
        case "tags": entity = .tag
        default:
            throw .invalid(
                "Invalid entity type: \(Python.text(String(halves[0]))). Expected one of ['attributes', 'metrics', 'params', 'tags'].")
        }
        let key = plain(halves[1])
        return (entity, entity == .attribute ? spellings[key] ?? key : key, "\(halves[0]).\(key)")
    }
}
