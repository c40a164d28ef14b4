import Contracts

/// A piece of SQL with its parameters, in their order.
public struct SQLFragment: Sendable, Hashable {
    public var sql: String
    public var parameters: [Value]
    public init(_ sql: String, _ parameters: [Value] = []) { (self.sql, self.parameters) = (sql, parameters) }
}

extension SearchClause {
    /// This clause as a condition on one column.
    ///
    /// LIKE is case-sensitive and ILIKE is not, on every database; a backslash in a pattern is only a backslash.
    public func condition(on column: String) -> SQLFragment {
        switch (comparator, operand) {
        case (.like, .text(let text)): SQLFragment("\(column) LIKE ? ESCAPE '\\'", [.string(SearchClause.pattern(text))])
        case (.ilike, .text(let text)): SQLFragment("lower(\(column)) LIKE lower(?) ESCAPE '\\'", [.string(SearchClause.pattern(text))])
        case (.inList, .list(let items)), (.notInList, .list(let items)):
            SQLFragment("\(column) \(comparator.rawValue) (\(SQLFragment.marks(items.count)))", items.map(Value.string))
        case (.isNull, _), (.isNotNull, _): SQLFragment("\(column) \(comparator.rawValue)")
        // The columns of attributes are whole numbers, and the parameter would be taken for one.
        case (_, .number(let number)) where entity == .attribute:
            SQLFragment("\(column) \(comparator.rawValue) CAST(? AS DOUBLE PRECISION)", [.double(number)])
        case (_, .number(let number)): SQLFragment("\(column) \(comparator.rawValue) ?", [.double(number)])
        case (_, .integer(let number)): SQLFragment("\(column) \(comparator.rawValue) ?", [.int(number)])
        case (_, .text(let text)): SQLFragment("\(column) \(comparator.rawValue) ?", [.string(text)])
        case (_, .list), (_, .none): SQLFragment("1 = 0")
        }
    }

    private static func pattern(_ text: String) -> String {
        var out: [UInt8] = []
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\\") { out.append(byte) }
            out.append(byte)
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension SQLFragment {
    /// `?, ?, ?`
    public static func marks(_ count: Int) -> String { repeatElement("?", count: count).joined(separator: ", ") }
}

/// Pages of an ordered list by the keys of the last row, never by offset: page 1,000 costs what page 1 costs, and rows that come or go
/// between two pages neither repeat nor hide others.
public struct KeysetOrder: Sendable {
    /// An expression that is never null; the last key makes every row different.
    public struct Key: Sendable, Hashable {
        public let expression: SQLFragment
        public let ascending: Bool
        public init(_ expression: String, _ parameters: [Value] = [], ascending: Bool) {
            self.expression = SQLFragment(expression, parameters)
            self.ascending = ascending
        }
    }

    public let keys: [Key]
    public init(_ keys: [Key]) { self.keys = keys }

    /// `a AS k0, b AS k1`, to select beside the columns; the token of a page is made of them.
    public var columns: SQLFragment {
        SQLFragment(
            keys.enumerated().map { "\($1.expression.sql) AS k\($0)" }.joined(separator: ", "), keys.flatMap(\.expression.parameters))
    }

    public var orderBy: SQLFragment {
        SQLFragment(
            keys.map { $0.expression.sql + ($0.ascending ? "" : " DESC") }.joined(separator: ", "), keys.flatMap(\.expression.parameters))
    }

    /// The rows after the one with these key values.
    public func after(_ last: [Value]) -> SQLFragment {
        var alternatives: [SQLFragment] = []
        for i in keys.indices {
            var (parts, parameters): ([String], [Value]) = ([], [])
            for j in 0...i {
                let sign = j < i ? "=" : (keys[j].ascending ? ">" : "<")
                parts.append("\(keys[j].expression.sql) \(sign) ?")
                parameters += keys[j].expression.parameters + [last[j]]
            }
            alternatives.append(SQLFragment("(" + parts.joined(separator: " AND ") + ")", parameters))
        }
        // The first key's bound is said again by itself: that is what an index can seek to.
        let first = keys[0]
        return SQLFragment(
            "\(first.expression.sql) \(first.ascending ? ">=" : "<=") ? AND (" + alternatives.map(\.sql).joined(separator: " OR ") + ")",
            first.expression.parameters + [last[0]] + alternatives.flatMap(\.parameters))
    }

    /// The opaque token of the page after `row`. `query` describes what was asked: a token is good only for the same question.
    public func token(after row: SQLRow, query: String) -> String {
        KeysetOrder.token(of: keys.indices.map { row["k\($0)"] }, query: query)
    }

    /// The token of the page after the row with these key values.
    public static func token(of last: [Value], query: String) -> String {
        let values = last.map { value -> JSON in
            switch value {
            case .int(let v): .int(v)
            case .double(let v): .double(v)
            case let value: .string(value.text ?? "")
            }
        }
        return hexText(JSON.array([.string(Digest(of: query).short)] + values).bytes)
    }

    /// The key values of a token.
    /// - Throws: `invalidArgument` when it is no token, or one of another question.
    public func values(of token: String, query: String) throws(KeelError) -> [Value] {
        let values = try KeysetOrder.values(of: token, query: query)
        guard values.count == keys.count else { throw KeysetOrder.wrongToken }
        return values
    }

    /// The same, for who knows only then how many keys there must be.
    public static func values(of token: String, query: String) throws(KeelError) -> [Value] {
        guard token.utf8.count <= 65_536, let bytes = bytes(hex: token), let json = try? JSON.parse(bytes), let items = json.array,
            items.first?.string == Digest(of: query).short
        else { throw wrongToken }
        var values: [Value] = []
        for item in items.dropFirst() {
            switch item {
            case .int, .double, .string: values.append(item.value)
            default: throw wrongToken
            }
        }
        return values
    }

    public static let wrongToken = KeelError.invalid(
        "Invalid page token", hint: "use the next_page_token of the answer before, with the same filter and order")

    private static func bytes(hex: String) -> [UInt8]? {
        let digits = Array(hex.utf8)
        guard digits.count % 2 == 0 else { return nil }
        func nibble(_ c: UInt8) -> UInt8? {
            switch c {
            case 48...57: c - 48
            case 97...102: c - 87
            default: nil
            }
        }
        var out: [UInt8] = []
        out.reserveCapacity(digits.count / 2)
        for i in stride(from: 0, to: digits.count, by: 2) {
            guard let high = nibble(digits[i]), let low = nibble(digits[i + 1]) else { return nil }
            out.append(high << 4 | low)
        }
        return out
    }
}
