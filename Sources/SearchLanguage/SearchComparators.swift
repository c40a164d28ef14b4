import Contracts

/// Which comparators go with which keys, and the words for those that do not.
extension SearchGrammar {
    private typealias Comparator = SearchClause.Comparator
    private static let numeric: [SearchClause.Comparator] = [.greater, .greaterOrEqual, .notEqual, .equal, .less, .lessOrEqual]
    private static let text: [SearchClause.Comparator] = [.notEqual, .equal, .like, .ilike]
    private static let listed = text + [.inList, .notInList]
    private static let nullable = text + [.isNull, .isNotNull]

    func checkNullTest(_ entity: SearchClause.Entity, _ key: String) throws(KeelError) {
        switch dialect {
        case .runs:
            guard entity == .tag || entity == .parameter else {
                throw .invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '\(entity.rawValue)' '\(key)'")
            }
        case .experiments:
            guard entity == .tag else { throw .invalid("IS NULL / IS NOT NULL is only supported for tags, not for attribute '\(key)'") }
        case .models, .versions: throw .invalid("IS NULL / IS NOT NULL is not supported for '\(entity.rawValue)' '\(key)'")
        }
    }

    /// The clause, when its comparator goes with its key.
    func checked(_ comparison: Comparison) throws(KeelError) -> SearchClause {
        let (entity, key) = (comparison.entity, comparison.key)
        let isNumeric = entity == .metric || (entity == .attribute && attributes[key] == .number)
        let (allowed, words) = allowed(entity, key, isNumeric: isNumeric, comparison.comparator)
        guard let known = Comparator(rawValue: comparison.comparator), allowed.contains(known) else { throw .invalid(words()) }
        return SearchClause(entity, key, known, try value(comparison, isNumeric: isNumeric))
    }

    /// The comparators, and what is said of another one.
    private func allowed(
        _ entity: SearchClause.Entity, _ key: String, isNumeric: Bool, _ given: String
    ) -> (comparators: [Comparator], words: () -> String) {
        func among(_ comparators: [Comparator], naming named: [Comparator]? = nil, closed: Bool) -> ([Comparator], () -> String) {
            (
                comparators,
                {
                    let names = Python.set(Set((named ?? comparators).map(\.rawValue)))
                    return "Invalid comparator '\(given)' not one of '\(names)\(closed ? "'" : "")"
                }
            )
        }
        switch (dialect, entity) {
        case (.runs, .metric): return among(SearchGrammar.numeric, closed: false)
        case (.runs, .parameter): return among(SearchGrammar.nullable, closed: true)
        case (.runs, .tag): return among(SearchGrammar.nullable, closed: false)
        case (.runs, .dataset): return among(SearchGrammar.listed, closed: false)
        case (.experiments, .attribute) where key == "experiment_id":
            return ([.equal, .notEqual, .inList, .notInList], { "Invalid comparator for experiment_id: \(given)" })
        case (.runs, .attribute), (.experiments, .attribute):
            return isNumeric
                ? among(SearchGrammar.numeric, naming: SearchGrammar.listed, closed: false) : among(SearchGrammar.listed, closed: true)
        case (.experiments, _): return (SearchGrammar.nullable, { "Invalid comparator for tag: \(given)" })
        case (.models, .attribute), (.versions, .attribute):
            return isNumeric
                ? (SearchGrammar.numeric, { "Invalid comparator for attribute \(key): \(given)" })
                : (SearchGrammar.listed, { "Invalid comparator for attribute: \(given)" })
        case (.models, _), (.versions, _): return (SearchGrammar.text, { "Invalid comparator for tag: \(given)" })
        }
    }

    /// Whole numbers where only they make sense.
    private func value(_ comparison: Comparison, isNumeric: Bool) throws(KeelError) -> SearchClause.Operand {
        guard isNumeric, comparison.entity == .attribute, dialect == .experiments || dialect == .versions else { return comparison.operand }
        let wrong = "Invalid value for numeric attribute '\(comparison.key)': "
        switch comparison.operand {
        // A whole number that is too large for 64 bits stays a number.
        case .number(let number) where number.rounded() == number && abs(number) >= 9e18: return comparison.operand
        case .number(let number): throw .invalid(wrong + (dialect == .experiments ? "'\(number)'" : "\(number)"))
        case .text(let text):
            guard let number = Int64(text) else { throw .invalid(wrong + Python.text(text)) }
            return .integer(number)
        default: return comparison.operand
        }
    }
}
