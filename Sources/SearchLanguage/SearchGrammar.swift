import Contracts

/// What may be searched in one kind of thing, and how its errors are worded: the language is MLflow's, and so are the words.
///
/// A filter is comparisons joined by AND (there is no OR); keys with other characters are quoted by backticks or double quotes.
public struct SearchGrammar: Sendable {
    public enum Kind: Sendable { case text, number }
    /// MLflow words the errors of each kind of thing in its own way.
    public enum Dialect: Sendable { case runs, experiments, models, versions }

    let dialect: Dialect
    /// Attributes that may be compared, and their type; other spellings stand beside the names.
    let attributes: [String: Kind]
    /// Attributes that may order.
    let orderable: Set<String>
    /// Attributes that take `IN (…)`.
    let listable: Set<String>
    /// Other spellings of an attribute.
    let aliases: [String: String]

    public init(
        _ dialect: Dialect, attributes: [String: Kind], orderable: Set<String>, listable: Set<String>, aliases: [String: String] = [:]
    ) {
        self.dialect = dialect
        self.attributes = attributes
        self.orderable = orderable
        self.listable = listable
        self.aliases = aliases
    }

    static let datasetKeys: Set<String> = ["name", "digest", "context"]

    /// Parses a filter; an empty one has no clauses.
    /// - Throws: `invalidArgument` in MLflow's words, naming the part that is wrong.
    public func parse(filter: String) throws(KeelError) -> [SearchClause] {
        guard !filter.isEmpty else { return [] }
        try SearchLimits.check(filter: filter)
        let statements = SearchText.statements(of: filter)
        guard let statement = statements.first else { throw .invalid("Invalid filter '\(filter)'. Could not be parsed.") }
        guard statements.count == 1 else {
            throw .invalid("Search filter contained multiple expression \(Python.text(filter)). Provide AND-ed expression list.")
        }
        let parts = SearchText.comparisons(in: statement)
        let wrong = parts.filter { $0.kind != .comparison && !$0.isWord("AND") }.map { dialect == .runs ? "'\($0.text)'" : $0.text }
        guard wrong.isEmpty else { throw .invalid("Invalid clause(s) in filter string: \(wrong.joined(separator: ", "))") }
        let comparisons = parts.filter { $0.kind == .comparison }
        try SearchLimits.check(clauses: comparisons.count)
        var found: [Comparison] = []
        for part in comparisons { found.append(try comparison(part)) }
        var clauses: [SearchClause] = []
        for comparison in found { clauses.append(try checked(comparison).withinLimits()) }
        return clauses
    }

    /// A comparison whose comparator has not been looked at.
    struct Comparison {
        let entity: SearchClause.Entity
        let key: String
        let comparator: String
        let operand: SearchClause.Operand
    }

    private func comparison(_ part: SearchText.Part) throws(KeelError) -> Comparison {
        let sides = part.parts
        guard let left = sides.first, left.kind == .identifier, sides.count > 1 else {
            throw .invalid("Invalid comparison clause. Expected 'Identifier' found '\(sides.first?.text ?? "")'")
        }
        let (entity, key) = try identifier(left.text, valid: Set(attributes.keys))
        let comparator = sides[1].text.uppercased()
        guard sides.count == 3 else {
            try checkNullTest(entity, key)
            return Comparison(entity: entity, key: key, comparator: comparator, operand: .none)
        }
        return Comparison(entity: entity, key: aliases[key] ?? key, comparator: comparator, operand: try operand(sides[2], entity, key))
    }

    // MARK: Keys

    /// `tags.team`, `team`, ``tags.`a key` ``: the part before the first period says of what.
    func identifier(_ text: String, valid: Set<String>, isOrder: Bool = false) throws(KeelError) -> (SearchClause.Entity, String) {
        let halves = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let entity = halves.count == 2 ? try self.entity(halves[0]) : .attribute
        let raw = halves.last ?? ""
        let key = Quotes.trimmed(Quotes.stripped(raw), "`")
        // The registry's attributes are compared as they are written, but in orders.
        let attribute = !isOrder && (dialect == .models || dialect == .versions) ? raw : key
        if entity == .attribute, !valid.contains(attribute) {
            throw .invalid("Invalid attribute key '\(attribute)' specified. Valid keys are '\(Python.set(valid))'")
        }
        if entity == .dataset, !SearchGrammar.datasetKeys.contains(key) {
            throw .invalid("Invalid dataset key '\(key)' specified. Valid keys are '\(Python.set(SearchGrammar.datasetKeys))'")
        }
        return (entity, key)
    }

    private func entity(_ word: String) throws(KeelError) -> SearchClause.Entity {
        guard dialect == .runs else {
            switch word {
            case "attribute": return .attribute
            case "tag", "tags": return .tag
            default: throw .invalid("Invalid entity type '\(word)'. Valid entity types are ('attribute', 'tag', 'tags')")
            }
        }
        let name = Quotes.trimmed(word, "`")
        switch name {
        case "metric", "metrics": return .metric
        case "parameter", "parameters", "param", "params": return .parameter
        case "tag", "tags": return .tag
        case "attribute", "attributes", "attr", "run": return .attribute
        case "dataset", "datasets": return .dataset
        default:
            throw .invalid("Invalid entity type '\(name)'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']")
        }
    }

    // MARK: Values

    private func operand(_ part: SearchText.Part, _ entity: SearchClause.Entity, _ key: String) throws(KeelError) -> SearchClause.Operand {
        let isNumber = part.kind == .integer || part.kind == .float
        let isText = part.kind == .text || part.kind == .identifier
        switch entity {
        case .metric:
            guard isNumber else { throw .invalid("Expected numeric value type for metric. Found \(part.text)") }
            return .number(Double(part.text) ?? .infinity)
        case .parameter, .tag:
            guard isText else {
                throw .invalid("Expected a quoted string value for \(entity.rawValue) (e.g. 'my-value'). Got value \(part.text)")
            }
            return .text(try Quotes.required(part.text))
        case .dataset:
            if isText { return .text(try Quotes.required(part.text)) }
            guard part.kind == .parenthesis else {
                throw .invalid("Expected a quoted string value for dataset attributes. Got value \(part.text)")
            }
            return .list(try Python.tuple(part.text))
        case .attribute: return try attributeOperand(part, key, isNumber: isNumber, isText: isText)
        }
    }

    private func attributeOperand(_ part: SearchText.Part, _ key: String, isNumber: Bool, isText: Bool) throws(KeelError)
        -> SearchClause.Operand
    {
        let isNumeric = attributes[key] == .number
        let number = Int64(part.text).map(SearchClause.Operand.integer) ?? .number(Double(part.text) ?? .infinity)
        if isNumeric, dialect == .runs || dialect == .experiments {
            guard isNumber else { throw .invalid("Expected numeric value type for numeric attribute: \(key). Found \(part.text)") }
            return number
        }
        if isText { return .text(try Quotes.required(part.text)) }
        if part.kind == .parenthesis {
            guard listable.contains(key) else {
                throw .invalid("Only \(Python.list(listable.sorted())) attributes support comparison with a list of quoted string values.")
            }
            return .list(try Python.tuple(part.text))
        }
        if dialect == .versions, isNumber {
            guard isNumeric else {
                throw .invalid(
                    "Only the '{'creation_timestamp', 'last_updated_timestamp', 'version_number'}' attributes support comparison with numeric values."
                )
            }
            return number
        }
        let lists = dialect == .models || dialect == .versions ? " or a list of quoted string values" : ""
        throw .invalid("Expected a quoted string value\(lists) for attributes. Got value \(part.text)")
    }
}
