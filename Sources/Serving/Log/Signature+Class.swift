import Contracts

extension Signature {
    /// The class that a row of outputs answers with: the primary output, or the first that is true or false, a whole number or a text. Nil when there is none.
    public func answeredClass(_ row: [Value]) -> Value? {
        func isClass(_ value: Value) -> Bool {
            switch value {
            case .bool, .int, .string: true
            default: false
            }
        }
        if let primary, let i = outputs.firstIndex(where: { $0.name == primary }) { return i < row.count && isClass(row[i]) ? row[i] : nil }
        return row.first(where: isClass)
    }
}
