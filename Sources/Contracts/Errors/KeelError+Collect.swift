extension Sequence {
    /// Maps every element, also those after one that throws, so that whoever wrote them learns of all mistakes at once. It stops at 100.
    /// - Throws: one error that holds those of all elements.
    @discardableResult
    public func mapAll<T>(_ transform: (Element) throws(KeelError) -> T) throws(KeelError) -> [T] {
        var out: [T] = []
        var errors: [KeelError] = []
        for element in self {
            do throws(KeelError) { out.append(try transform(element)) } catch { errors.append(error) }
            if errors.count == 100 { break }
        }
        if let error = KeelError.joined(errors) { throw error }
        return out
    }
}
