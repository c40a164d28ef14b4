import Contracts

/// Orders: `metrics.auc DESC`.
extension SearchGrammar {
    /// Parses the keys of an order; a key may stand only once.
    public func parse(order texts: [String]) throws(KeelError) -> [SearchOrder] {
        var orders: [SearchOrder] = []
        for text in texts {
            let order = try parse(order: text)
            if dialect != .experiments, orders.contains(where: { $0.entity == order.entity && $0.key == order.key }) {
                throw .invalid("`order_by` contains duplicate fields: \(Python.list(texts))")
            }
            orders.append(order)
        }
        return orders
    }

    private func parse(order text: String) throws(KeelError) -> SearchOrder {
        let unreadable = KeelError.invalid("Invalid order_by clause '\(text)'. Could not be parsed.")
        guard text.utf8.count <= SearchLimits.filterBytesMax else { throw .invalid("Invalid order_by clause: it is too long") }
        let statements = SearchText.statements(of: text)
        guard statements.count == 1, statements[0].count == 1, statements[0][0].kind == .identifier else { throw unreadable }
        var (key, ascending) = (statements[0][0].text, true)
        let words = Quotes.words(key.replacing("`", with: "\""))
        guard words.count <= 2 else { throw unreadable }
        if words.count == 2 {
            let direction = words[1].lowercased()
            guard direction == "asc" || direction == "desc" else {
                throw .invalid("Invalid ordering key in order_by clause '\(text)'.")
            }
            (key, ascending) = (words[0], direction == "asc")
        }
        let (entity, name) = try orderKey(key)
        return SearchOrder(entity, aliases[name] ?? name, ascending: ascending)
    }

    private func orderKey(_ key: String) throws(KeelError) -> (SearchClause.Entity, String) {
        if dialect == .models {
            guard orderable.contains(key) else {
                throw .invalid("Invalid order by key '\(key)' specified. Valid keys are '{'name', 'timestamp'}'")
            }
            return (.attribute, key)
        }
        let (entity, name) = try identifier(key, valid: orderable, isOrder: true)
        switch (dialect, entity) {
        case (_, .dataset): throw .invalid("Invalid identifier type 'dataset'")
        case (.experiments, .tag): throw .invalid("Invalid order_by entity: tag")
        case (.versions, .tag): throw .invalid("Invalid order by key '\(name)' specified. Valid keys are \(Python.set(orderable))")
        default: return (entity, name)
        }
    }
}
