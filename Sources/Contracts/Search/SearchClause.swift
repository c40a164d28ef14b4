/// One condition of a search: the metric `auc` is greater than 0.8. A search finds what all its clauses hold for.
///
/// Services take clauses, never text: whoever reads a filter's text (`SearchLanguage`) has checked that the comparator and the operand go with the key.
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
        self.entity = entity
        self.key = key
        self.comparator = comparator
        self.operand = operand
    }
}

extension SearchClause: CustomStringConvertible {
    /// Different clauses have different texts: the token of a page is bound to it.
    public var description: String {
        let value =
            switch operand {
            case .none: ""
            case .number(let number): "\(number)"
            case .integer(let number): "\(number)"
            case .text(let text): text.debugDescription
            case .list(let items): "(" + items.map(\.debugDescription).joined(separator: ", ") + ")"
            }
        return "\(entity.rawValue).\(key.debugDescription) \(comparator.rawValue) \(value)"
    }
}
