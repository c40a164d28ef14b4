import Contracts

/// One condition of a search filter: `metrics.auc > 0.8`, typed and checked against a `SearchGrammar`.
public struct SearchClause: Sendable, Hashable {
    public enum Entity: String, Sendable, Hashable { case attribute, metric, parameter, tag, dataset }
    public enum Comparator: String, Sendable, Hashable, CaseIterable {
        case greater = ">"
        case greaterOrEqual = ">="
        case less = "<"
        case lessOrEqual = "<="
        case equal = "="
        case notEqual = "!="
        case like = "LIKE"
        case ilike = "ILIKE"
        case inList = "IN"
        case notInList = "NOT IN"
        case isNull = "IS NULL"
        case isNotNull = "IS NOT NULL"
    }
    public enum Operand: Sendable, Hashable {
        case none
        case number(Double)
        case integer(Int64)
        case text(String)
        case list([String])
    }

    public let entity: Entity
    public let key: String
    public let comparator: Comparator
    public let operand: Operand

    public init(_ entity: Entity, _ key: String, _ comparator: Comparator, _ operand: Operand) {
        (self.entity, self.key, self.comparator, self.operand) = (entity, key, comparator, operand)
    }
}

/// One key of an order: `metrics.auc DESC`.
public struct SearchOrder: Sendable, Hashable {
    public let entity: SearchClause.Entity
    public let key: String
    public let ascending: Bool
    public init(_ entity: SearchClause.Entity, _ key: String, ascending: Bool) {
        (self.entity, self.key, self.ascending) = (entity, key, ascending)
    }
}

/// What may be searched in one kind of thing. The language is MLflow's: clauses joined by AND, no OR, keys quoted by backticks or double quotes.
public struct SearchGrammar: Sendable {
    public enum Kind: Sendable { case text, number }
    /// Attributes that may be compared, and their type.
    public let attributes: [String: Kind]
    /// Attributes that may order.
    public let orderable: Set<String>
    /// Attributes that take `IN (…)`.
    public let listable: Set<String>
    /// Other spellings of an attribute.
    public let aliases: [String: String]
    public let entities: [String: SearchClause.Entity]
    /// Whether `IS NULL` and `IS NOT NULL` are known for tags and params.
    public let nullTests: Bool

    public init(
        attributes: [String: Kind], orderable: Set<String>, listable: Set<String> = [], aliases: [String: String] = [:],
        entities: Set<SearchClause.Entity> = [.attribute, .tag], nullTests: Bool = true
    ) {
        self.attributes = attributes
        self.orderable = orderable
        self.listable = listable
        self.aliases = aliases
        self.nullTests = nullTests
        let words: [(SearchClause.Entity, [String])] = [
            (.attribute, ["attribute", "attributes", "attr", "run"]), (.metric, ["metric", "metrics"]),
            (.parameter, ["parameter", "parameters", "param", "params"]), (.tag, ["tag", "tags"]), (.dataset, ["dataset", "datasets"]),
        ]
        var table: [String: SearchClause.Entity] = [:]
        for (entity, spellings) in words where entities.contains(entity) { for word in spellings { table[word] = entity } }
        self.entities = table
    }

    static let datasetKeys: Set<String> = ["name", "digest", "context"]
    private static let filterBytesMax = 65_536
    private static let clausesMax = 100

    /// Parses a filter; an empty one has no clauses.
    /// - Throws: `invalidArgument` in MLflow's words, naming the part that is wrong.
    public func parse(filter: String) throws(KeelError) -> [SearchClause] {
        guard filter.utf8.count <= SearchGrammar.filterBytesMax else {
            throw .invalid("Invalid filter: it is longer than \(SearchGrammar.filterBytesMax) bytes")
        }
        var tokens = try SearchLexer.tokens(of: filter)[...]
        var clauses: [SearchClause] = []
        while !tokens.isEmpty {
            if !clauses.isEmpty {
                guard tokens.first?.isWord("AND") == true else {
                    throw .invalid("Invalid clause(s) in filter string: \(quoted(tokens))", hint: "join clauses with AND; there is no OR")
                }
                tokens.removeFirst()
            }
            clauses.append(try clause(&tokens))
            guard clauses.count <= SearchGrammar.clausesMax else {
                throw .invalid("Invalid filter: it has more than \(SearchGrammar.clausesMax) clauses")
            }
        }
        return clauses
    }

    /// Parses one order key such as `metrics.auc DESC`; ascending when no direction is given.
    public func parse(order: String) throws(KeelError) -> SearchOrder {
        var tokens = try SearchLexer.tokens(of: order)[...]
        guard case .name(let parts)? = tokens.popFirst() else { throw .invalid("Invalid order_by clause '\(order)'. Could not be parsed.") }
        var ascending = true
        if let direction = tokens.popFirst() {
            guard direction.isWord("ASC") || direction.isWord("DESC") else {
                throw .invalid("Invalid ordering key in order_by clause '\(order)'.")
            }
            ascending = direction.isWord("ASC")
        }
        guard tokens.isEmpty else { throw .invalid("Invalid order_by clause '\(order)'. Could not be parsed.") }
        let (entity, key) = try identifier(parts, attributes: orderable)
        guard entity != .dataset else { throw .invalid("Invalid identifier type 'dataset'") }
        return SearchOrder(entity, key, ascending: ascending)
    }

    private func quoted(_ tokens: ArraySlice<SearchLexer.Token>) -> String {
        "'" + tokens.map(\.text).joined(separator: " ").prefix(200) + "'"
    }

    private func clause(_ tokens: inout ArraySlice<SearchLexer.Token>) throws(KeelError) -> SearchClause {
        let start = tokens
        guard case .name(let parts)? = tokens.popFirst() else { throw .invalid("Invalid clause(s) in filter string: \(quoted(start))") }
        guard let comparator = comparator(&tokens) else {
            throw .invalid("Invalid clause(s) in filter string: \(quoted(start))", hint: "a clause is: key comparator value")
        }
        let (entity, key) = try identifier(parts, attributes: Set(attributes.keys))
        let isNumeric = entity == .metric || (entity == .attribute && attributes[key] == .number)
        try check(comparator, entity, key, isNumeric: isNumeric)
        if comparator == .isNull || comparator == .isNotNull { return SearchClause(entity, key, comparator, .none) }
        if comparator == .inList || comparator == .notInList { return SearchClause(entity, key, comparator, .list(try list(&tokens))) }
        guard let value = tokens.popFirst() else {
            throw .invalid("Invalid clause(s) in filter string: \(quoted(start))", hint: "the value is missing")
        }
        return SearchClause(entity, key, comparator, try operand(value, entity, key, isNumeric: isNumeric))
    }

    private func comparator(_ tokens: inout ArraySlice<SearchLexer.Token>) -> SearchClause.Comparator? {
        guard let first = tokens.popFirst() else { return nil }
        if case .symbol(let text) = first { return SearchClause.Comparator(rawValue: text) }
        func follows(_ word: String) -> Bool {
            guard tokens.first?.isWord(word) == true else { return false }
            tokens.removeFirst()
            return true
        }
        if first.isWord("LIKE") { return .like }
        if first.isWord("ILIKE") { return .ilike }
        if first.isWord("IN") { return .inList }
        if first.isWord("NOT") { return follows("IN") ? .notInList : nil }
        guard first.isWord("IS") else { return nil }
        let negated = follows("NOT")
        return follows("NULL") ? (negated ? .isNotNull : .isNull) : nil
    }

    private func identifier(_ parts: SearchLexer.Name, attributes valid: Set<String>) throws(KeelError) -> (SearchClause.Entity, String) {
        var (entity, key) = (SearchClause.Entity.attribute, parts.key)
        if let prefix = parts.entity {
            guard let known = entities[prefix] else {
                throw .invalid(
                    "Invalid entity type '\(prefix)'. Valid values are \(Set(entities.values).map(\.rawValue).sorted())",
                    hint: nearest(prefix, in: entities.keys).map { "did you mean '\($0)'?" })
            }
            entity = known
        }
        if entity == .attribute {
            key = aliases[key] ?? key
            guard valid.contains(key) else {
                throw .invalid(
                    "Invalid attribute key '\(key.prefix(100))' specified. Valid keys are '\(valid.sorted())'",
                    hint: nearest(key, in: valid).map { "did you mean '\($0)'?" })
            }
        } else if entity == .dataset, !SearchGrammar.datasetKeys.contains(key) {
            throw .invalid("Invalid dataset key '\(key.prefix(100))' specified. Valid keys are '\(SearchGrammar.datasetKeys.sorted())'")
        }
        return (entity, key)
    }

    private func check(_ comparator: SearchClause.Comparator, _ entity: SearchClause.Entity, _ key: String, isNumeric: Bool)
        throws(KeelError)
    {
        let numeric: [SearchClause.Comparator] = [.greater, .greaterOrEqual, .notEqual, .equal, .less, .lessOrEqual]
        let text: [SearchClause.Comparator] = [.notEqual, .equal, .like, .ilike]
        let allowed: [SearchClause.Comparator] =
            switch entity {
            case .metric: numeric
            case .attribute where isNumeric: numeric
            case .attribute, .dataset: text + [.inList, .notInList]
            case .parameter, .tag: text + (nullTests ? [.isNull, .isNotNull] : [])
            }
        guard allowed.contains(comparator) else {
            if comparator == .isNull || comparator == .isNotNull {
                throw .invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '\(entity.rawValue)' '\(key)'")
            }
            throw .invalid("Invalid comparator '\(comparator.rawValue)' not one of '\(allowed.map(\.rawValue))'")
        }
        if comparator == .inList || comparator == .notInList, entity == .attribute, !listable.contains(key) {
            throw .invalid("Only \(listable.sorted()) attributes support comparison with a list of quoted string values.")
        }
    }

    private func operand(
        _ token: SearchLexer.Token, _ entity: SearchClause.Entity, _ key: String, isNumeric: Bool
    ) throws(KeelError) -> SearchClause.Operand {
        if isNumeric {
            guard case .number(let text) = token, let number = Double(text), number.isFinite else {
                throw .invalid(
                    entity == .metric
                        ? "Expected numeric value type for metric. Found \(token.text.prefix(100))"
                        : "Expected numeric value type for numeric attribute: \(key). Found \(token.text.prefix(100))")
            }
            if entity == .attribute, let integer = Int64(text) { return .integer(integer) }
            return .number(number)
        }
        guard case .string(let text) = token else {
            if case .name = token {
                throw .invalid(
                    "Parameter value is either not quoted or unidentified quote types used for string value \(token.text.prefix(100)). Use either single or double quotes."
                )
            }
            throw .invalid(
                entity == .attribute
                    ? "Expected a quoted string value for attributes. Got value \(token.text.prefix(100))"
                    : "Expected a quoted string value for \(entity.rawValue) (e.g. 'my-value'). Got value \(token.text.prefix(100))")
        }
        return .text(text)
    }

    private func list(_ tokens: inout ArraySlice<SearchLexer.Token>) throws(KeelError) -> [String] {
        let wrong = KeelError.invalid(
            "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.")
        guard case .symbol("(")? = tokens.popFirst() else { throw wrong }
        var items: [String] = []
        while true {
            guard case .string(let text)? = tokens.popFirst(), case .symbol(let next)? = tokens.popFirst() else { throw wrong }
            items.append(text)
            if next == ")" { return items }
            guard next == "," else { throw wrong }
            if case .symbol(")")? = tokens.first {
                tokens.removeFirst()
                return items
            }
        }
    }
}

/// Splits a filter into names, values and symbols.
enum SearchLexer {
    /// `metrics.auc`: the part before the first dot outside quotes, and the rest without its quotes.
    struct Name: Hashable {
        let entity: String?
        let key: String
    }

    enum Token: Hashable {
        case name(Name)
        case string(String)
        case number(String)
        case symbol(String)

        var text: String {
            switch self {
            case .name(let name): (name.entity.map { $0 + "." } ?? "") + name.key
            case .string(let text): "'\(text)'"
            case .number(let text), .symbol(let text): text
            }
        }

        /// A bare word, in any case.
        func isWord(_ word: String) -> Bool {
            guard case .name(let name) = self, name.entity == nil else { return false }
            return name.key.uppercased() == word
        }
    }

    static func tokens(of text: String) throws(KeelError) -> [Token] {
        let bytes = Array(text.utf8)
        var (tokens, i): ([Token], Int) = ([], 0)
        while i < bytes.count {
            let byte = bytes[i]
            switch byte {
            case 32, 9, 10, 13: i += 1
            case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","):
                tokens.append(.symbol(String(UnicodeScalar(byte))))
                i += 1
            case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "="), UInt8(ascii: "!"):
                let start = i
                while i < bytes.count, [60, 61, 62, 33].contains(bytes[i]) { i += 1 }
                tokens.append(.symbol(String(decoding: bytes[start..<i], as: UTF8.self)))
            case UInt8(ascii: "'"): tokens.append(.string(try string(bytes, &i)))
            case UInt8(ascii: "-"), UInt8(ascii: "+"), 48...57: tokens.append(.number(try number(bytes, &i)))
            default:
                let before = tokens.last
                let token = try name(bytes, &i)
                // After a comparator a text in double quotes is a value; elsewhere it is a key.
                if byte == UInt8(ascii: "\""), case .name(let name) = token, name.entity == nil, isValuePlace(before) {
                    tokens.append(.string(name.key))
                } else {
                    tokens.append(token)
                }
            }
        }
        return tokens
    }

    private static func isValuePlace(_ before: Token?) -> Bool {
        guard let before else { return false }
        if case .symbol(let text) = before { return text != ")" }
        return before.isWord("LIKE") || before.isWord("ILIKE")
    }

    private static func number(_ bytes: [UInt8], _ i: inout Int) throws(KeelError) -> String {
        let start = i
        while i < bytes.count {
            let byte = bytes[i]
            let isSign = byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
            if isSign, i > start, bytes[i - 1] | 32 != UInt8(ascii: "e") { break }
            guard isSign || (byte >= 48 && byte <= 57) || byte == UInt8(ascii: ".") || byte | 32 == UInt8(ascii: "e") else { break }
            i += 1
        }
        let text = String(decoding: bytes[start..<i], as: UTF8.self)
        guard Double(text) != nil else { throw .invalid("Invalid clause(s) in filter string: '\(text.prefix(100))'") }
        return text
    }

    /// A text in single quotes; a doubled or escaped quote stays as it is written, as in MLflow.
    private static func string(_ bytes: [UInt8], _ i: inout Int) throws(KeelError) -> String {
        let start = i + 1
        i = start
        while i < bytes.count {
            if bytes[i] == UInt8(ascii: "\\"), i + 1 < bytes.count, bytes[i + 1] == UInt8(ascii: "'") {
                i += 2
            } else if bytes[i] == UInt8(ascii: "'") {
                if i + 1 < bytes.count, bytes[i + 1] == UInt8(ascii: "'") {
                    i += 2
                    continue
                }
                i += 1
                return String(decoding: bytes[start..<i - 1], as: UTF8.self)
            } else {
                i += 1
            }
        }
        throw .invalid("Invalid clause(s) in filter string: a quote is not closed")
    }

    private static func name(_ bytes: [UInt8], _ i: inout Int) throws(KeelError) -> Token {
        var parts: [String] = []
        var current: [UInt8] = []
        let start = i
        scan: while i < bytes.count {
            let byte = bytes[i]
            switch byte {
            case UInt8(ascii: "`"), UInt8(ascii: "\""):
                guard let end = bytes[(i + 1)...].firstIndex(of: byte) else {
                    throw .invalid("Invalid clause(s) in filter string: a quote is not closed")
                }
                current.append(contentsOf: bytes[i + 1..<end])
                i = end + 1
            case UInt8(ascii: ".") where parts.isEmpty:
                parts.append(String(decoding: current, as: UTF8.self))
                current = []
                i += 1
            case UInt8(ascii: "."), UInt8(ascii: "_"), 48...57, 65...90, 97...122, 128...255:
                current.append(byte)
                i += 1
            default: break scan
            }
        }
        guard i > start else {
            throw .invalid(
                "Invalid clause(s) in filter string: '\(String(decoding: bytes[start...].prefix(40), as: UTF8.self))'",
                hint: "put keys with other characters in backticks")
        }
        let key = String(decoding: current, as: UTF8.self)
        return .name(Name(entity: parts.first, key: key))
    }
}
