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

    /// A pattern of LIKE may cost its own length for each byte of a value, so it is limited.
    static let patternBytesMax = 1000

    func withinLimits() throws(KeelError) -> SearchClause {
        if comparator == .like || comparator == .ilike, case .text(let text) = operand, text.utf8.count > SearchClause.patternBytesMax {
            throw .invalid("Invalid filter: a pattern of \(comparator.rawValue) is longer than \(SearchClause.patternBytesMax) bytes")
        }
        return self
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
