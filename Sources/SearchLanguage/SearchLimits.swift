import Contracts

/// How large a filter or an order may be.
enum SearchLimits {
    static let filterBytesMax = 65_536
    static let clausesMax = 100
    /// A pattern of LIKE may cost its own length for each byte of a value.
    static let patternBytesMax = 1000

    static func check(filter: String) throws(KeelError) {
        guard filter.utf8.count <= filterBytesMax else { throw .invalid("Invalid filter: it is longer than \(filterBytesMax) bytes") }
    }

    static func check(clauses count: Int) throws(KeelError) {
        guard count <= clausesMax else { throw .invalid("Invalid filter: it has more than \(clausesMax) clauses") }
    }
}

extension SearchClause {
    func withinLimits() throws(KeelError) -> SearchClause {
        if comparator == .like || comparator == .ilike, case .text(let text) = operand, text.utf8.count > SearchLimits.patternBytesMax {
            throw .invalid("Invalid filter: a pattern of \(comparator.rawValue) is longer than \(SearchLimits.patternBytesMax) bytes")
        }
        return self
    }
}
