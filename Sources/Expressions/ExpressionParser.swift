import Contracts

/// Recursive descent; from loosest to tightest: OR, AND, NOT, comparison (one, not a chain), + −, * / %, unary minus, operands.
struct ExpressionParser {
    private let tokens: [ExpressionToken]
    private let text: String
    private var index = 0
    /// Levels of recursion now; each level of the grammar's recursion (parentheses, NOT, minus, arguments) counts one.
    private var nesting = 0
    private(set) var identifiers: [String] = []
    private var seen: Set<String> = []

    init(tokens: [ExpressionToken], text: String) {
        self.tokens = tokens
        self.text = text
    }

    mutating func whole() throws(KeelError) -> Syntax {
        guard current.kind != .end else { throw .invalid("the expression is empty") }
        let node = try disjunction()
        guard current.kind == .end else { throw unexpected("an operator or the end") }
        return node
    }

    // MARK: Tokens

    /// The last token is always `.end`, and `advance` never passes it.
    private var current: ExpressionToken { tokens[index] }
    private mutating func advance() { if index < tokens.count - 1 { index += 1 } }

    private mutating func take(symbol: String) -> Bool {
        guard current.kind == .symbol(symbol) else { return false }
        advance()
        return true
    }
    private mutating func take(keyword: String) -> Bool {
        guard current.keyword == keyword else { return false }
        advance()
        return true
    }
    private mutating func expect(symbol: String) throws(KeelError) {
        guard take(symbol: symbol) else { throw unexpected("'\(symbol)'") }
    }
    private mutating func expect(keyword: String) throws(KeelError) {
        guard take(keyword: keyword) else { throw unexpected(keyword) }
    }

    private func failure(_ message: String, at position: Int, hint: String? = nil) -> KeelError {
        expressionError(message, at: position, of: text, hint: hint)
    }
    private func unexpected(_ wanted: String, hint: String? = nil) -> KeelError {
        let found: String
        switch current.kind {
        case .end: found = "the end"
        case .symbol(let symbol): found = "'\(symbol)'"
        case .name(let name, _): found = "'\(name.prefix(60))'"
        case .literal(.string(let value)): found = "the text '\(value.prefix(60))'"
        case .literal(let value): found = "the number \(value)"
        }
        return failure("expected \(wanted) but found \(found)", at: current.position, hint: hint)
    }

    private func node(_ kind: Syntax.Kind, _ position: Int, over parts: [Syntax] = []) throws(KeelError) -> Syntax {
        let depth = (parts.map(\.depth).max() ?? 0) + 1
        guard depth <= Expression.depthLimit else { throw tooDeep(position) }
        return Syntax(kind: kind, position: position, depth: depth)
    }
    private func tooDeep(_ position: Int) -> KeelError {
        failure("more than \(Expression.depthLimit) levels of nesting", at: position, hint: "split the expression into several features")
    }
    private mutating func nested(_ body: (inout ExpressionParser) throws(KeelError) -> Syntax) throws(KeelError) -> Syntax {
        nesting += 1
        guard nesting <= Expression.depthLimit else { throw tooDeep(current.position) }
        let result = try body(&self)
        nesting -= 1
        return result
    }

    // MARK: Grammar

    private mutating func disjunction() throws(KeelError) -> Syntax {
        var left = try conjunction()
        while current.keyword == "OR" {
            let position = current.position
            advance()
            let right = try conjunction()
            left = try node(.or(left, right), position, over: [left, right])
        }
        return left
    }

    private mutating func conjunction() throws(KeelError) -> Syntax {
        var left = try negation()
        while current.keyword == "AND" {
            let position = current.position
            advance()
            let right = try negation()
            left = try node(.and(left, right), position, over: [left, right])
        }
        return left
    }

    private mutating func negation() throws(KeelError) -> Syntax {
        let position = current.position
        guard take(keyword: "NOT") else { return try comparison() }
        let operand = try nested { (parser) throws(KeelError) in try parser.negation() }
        return try node(.not(operand), position, over: [operand])
    }

    private static let comparisons: [String: ComparisonOperator] = [
        "=": .equal, "==": .equal, "!=": .notEqual, "<>": .notEqual, "<": .less, "<=": .lessOrEqual, ">": .greater, ">=": .greaterOrEqual,
    ]
    private var comparisonAhead: ComparisonOperator? {
        if case .symbol(let symbol) = current.kind { ExpressionParser.comparisons[symbol] } else { nil }
    }

    private mutating func comparison() throws(KeelError) -> Syntax {
        var left = try sum()
        if let comparison = comparisonAhead {
            let position = current.position
            advance()
            let right = try sum()
            if comparisonAhead != nil {
                throw failure("comparisons cannot be chained", at: current.position, hint: "write 'a < b AND b < c', or put parentheses")
            }
            return try node(.compare(comparison, left, right), position, over: [left, right])
        }
        while true {
            let position = current.position
            if take(keyword: "IS") {
                let negated = take(keyword: "NOT")
                try expect(keyword: "NULL")
                left = try inverted(negated, try node(.isNull(left), position, over: [left]))
                continue
            }
            let negated = take(keyword: "NOT")
            if take(keyword: "BETWEEN") {
                let low = try sum()
                try expect(keyword: "AND")
                let high = try sum()
                left = try inverted(negated, try node(.between(left, low, high), position, over: [left, low, high]))
            } else if take(keyword: "IN") {
                try expect(symbol: "(")
                let items = try list()
                guard !items.isEmpty else { throw failure("the list of IN is empty", at: position) }
                left = try inverted(negated, try node(.oneOf(left, items), position, over: items + [left]))
            } else if negated {
                throw unexpected("BETWEEN or IN after NOT")
            } else {
                return left
            }
        }
    }

    private func inverted(_ negated: Bool, _ inner: Syntax) throws(KeelError) -> Syntax {
        negated ? try node(.not(inner), inner.position, over: [inner]) : inner
    }

    private mutating func sum() throws(KeelError) -> Syntax {
        var left = try product()
        while case .symbol(let symbol) = current.kind, symbol == "+" || symbol == "-", let operation = ArithmeticOperator(rawValue: symbol)
        {
            let position = current.position
            advance()
            let right = try product()
            left = try node(.arithmetic(operation, left, right), position, over: [left, right])
        }
        return left
    }

    private mutating func product() throws(KeelError) -> Syntax {
        var left = try unary()
        while case .symbol(let symbol) = current.kind, ["*", "/", "%"].contains(symbol),
            let operation = ArithmeticOperator(rawValue: symbol)
        {
            let position = current.position
            advance()
            let right = try unary()
            left = try node(.arithmetic(operation, left, right), position, over: [left, right])
        }
        return left
    }

    private mutating func unary() throws(KeelError) -> Syntax {
        let position = current.position
        if take(symbol: "-") {
            let operand = try nested { (parser) throws(KeelError) in try parser.unary() }
            return try node(.negate(operand), position, over: [operand])
        }
        return try operand()
    }

    private mutating func operand() throws(KeelError) -> Syntax {
        let token = current
        if let keyword = token.keyword {
            switch keyword {
            case "TRUE", "FALSE":
                advance()
                return try node(.literal(.bool(keyword == "TRUE")), token.position)
            case "NULL":
                advance()
                return try node(.literal(.null), token.position)
            case "CASE":
                advance()
                return try choice(token.position)
            default: throw unexpected("a value", hint: "a column named \(keyword) is written \"\(keyword)\" in double quotes")
            }
        }
        switch token.kind {
        case .literal(let value):
            advance()
            return try node(.literal(value), token.position)
        case .name(let name, let bare):
            advance()
            if bare, take(symbol: "(") { return try call(name, token.position) }
            if seen.insert(name).inserted { identifiers.append(name) }
            return try node(.name(name), token.position)
        case .symbol("("):
            advance()
            let inner = try nested { (parser) throws(KeelError) in try parser.disjunction() }
            try expect(symbol: ")")
            return inner
        default: throw unexpected("a value")
        }
    }

    /// Expressions up to the closing parenthesis, which is consumed.
    private mutating func list() throws(KeelError) -> [Syntax] {
        if take(symbol: ")") { return [] }
        var items: [Syntax] = []
        repeat { items.append(try nested { (parser) throws(KeelError) in try parser.disjunction() }) } while take(symbol: ",")
        try expect(symbol: ")")
        return items
    }

    private mutating func call(_ name: String, _ position: Int) throws(KeelError) -> Syntax {
        let lower = name.lowercased()
        guard let function = ExpressionFunction(rawValue: lower) else {
            let known = ExpressionFunction.allCases.map(\.rawValue)
            throw failure(
                "there is no function '\(name.prefix(60))'", at: position,
                hint: nearest(lower, in: known).map { "did you mean '\($0)'?" } ?? "the functions are \(known.joined(separator: ", "))")
        }
        let arguments = try list()
        guard function.arity.contains(arguments.count) else {
            throw failure(
                "\(function.rawValue) does not take \(arguments.count) argument\(arguments.count == 1 ? "" : "s")", at: position,
                hint: function.help.signature)
        }
        return try node(.call(function, arguments), position, over: arguments)
    }

    private mutating func choice(_ position: Int) throws(KeelError) -> Syntax {
        guard current.keyword == "WHEN" else { throw unexpected("WHEN", hint: "write CASE WHEN condition THEN value ELSE value END") }
        var (branches, parts, otherwise) = ([(condition: Syntax, value: Syntax)](), [Syntax](), Syntax?.none)
        while take(keyword: "WHEN") {
            let condition = try nested { (parser) throws(KeelError) in try parser.disjunction() }
            try expect(keyword: "THEN")
            let value = try nested { (parser) throws(KeelError) in try parser.disjunction() }
            branches.append((condition, value))
            parts += [condition, value]
        }
        if take(keyword: "ELSE") {
            let value = try nested { (parser) throws(KeelError) in try parser.disjunction() }
            otherwise = value
            parts.append(value)
        }
        try expect(keyword: "END")
        return try node(.choose(branches, otherwise: otherwise), position, over: parts)
    }
}
