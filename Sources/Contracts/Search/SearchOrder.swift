/// One key that a search's results are ordered by: the metric `auc`, the greatest first.
public struct SearchOrder: Sendable, Hashable {
    public let entity: SearchClause.Entity
    public let key: String
    public let ascending: Bool

    public init(_ entity: SearchClause.Entity, _ key: String, ascending: Bool) {
        self.entity = entity
        self.key = key
        self.ascending = ascending
    }
}

extension SearchOrder: CustomStringConvertible {
    /// Different keys have different texts: the token of a page is bound to it.
    public var description: String { "\(entity.rawValue).\(key.debugDescription) \(ascending ? "ASC" : "DESC")" }
}
