import Contracts

/// Gives every node its type, inserts conversions, and numbers the columns.
struct ExpressionTyping {
    private let text: String
    private let known: [String]
    private let types: [String: DataType]
    private(set) var slots: [(name: String, type: DataType)] = []
    private var slotOf: [String: Int] = [:]
    /// SQL engines expand `nullif(a, b)` to a CASE with `a` twice; without a limit a short text would grow without bound.
    private static let nullifLimit = 8
    private var nullifDepth = 0

    /// A node with its type; a nil type is that of a bare NULL, which takes the type of its neighbour.
    private typealias Typed = (node: TypedNode, type: ScalarType?)

    init(text: String, known: [String], types: [String: DataType]) {
        self.text = text
        self.known = known
        self.types = types
    }

    mutating func whole(_ root: Syntax) throws(KeelError) -> (TypedNode, ScalarType) {
        let result = try type(root)
        let type = result.type ?? .float
        return (try convert(result, to: type, root.position), type)
    }

    private func failure(_ message: String, _ position: Int, hint: String? = nil) -> KeelError {
        expressionError(message, at: position, of: text, hint: hint)
    }
    private func name(_ type: ScalarType?) -> String { type?.dataType.description ?? "null" }

    private mutating func type(_ syntax: Syntax) throws(KeelError) -> Typed {
        switch syntax.kind {
        case .literal(let value): return literal(value)
        case .name(let name): return try column(name, syntax.position)
        case .negate(let operand):
            let inner = try type(operand)
            guard inner.type?.isNumber ?? true else {
                throw failure("minus needs a number, not a \(name(inner.type))", syntax.position, hint: advice(inner.type))
            }
            let kind = inner.type ?? .float
            return (.negate(try convert(inner, to: kind, operand.position), kind), kind)
        case .arithmetic(let operation, let left, let right): return try arithmetic(operation, left, right, syntax.position)
        case .compare(let comparison, let left, let right):
            let (nodes, kind) = try unify([left, right], "'\(comparison.rawValue)'", syntax.position)
            if kind == .bool, comparison != .equal, comparison != .notEqual {
                throw failure("'\(comparison.rawValue)' does not order true and false", syntax.position, hint: "use =, <>, AND, OR or NOT")
            }
            return (.compare(comparison, nodes[0], nodes[1], kind), .bool)
        case .between(let value, let low, let high):
            let (nodes, kind) = try unify([value, low, high], "BETWEEN", syntax.position)
            if kind == .bool { throw failure("BETWEEN does not order true and false", syntax.position) }
            return (.between(nodes[0], nodes[1], nodes[2], kind), .bool)
        case .oneOf(let value, let items):
            let (nodes, kind) = try unify([value] + items, "IN", syntax.position)
            return (.oneOf(nodes[0], Array(nodes.dropFirst()), kind), .bool)
        case .and(let left, let right): return (.and(try condition(left, "AND"), try condition(right, "AND")), .bool)
        case .or(let left, let right): return (.or(try condition(left, "OR"), try condition(right, "OR")), .bool)
        case .not(let operand): return (.not(try condition(operand, "NOT")), .bool)
        case .isNull(let operand):
            let inner = try type(operand)
            let kind = inner.type ?? .float
            return (.isNull(try convert(inner, to: kind, operand.position), kind), .bool)
        case .choose(let branches, let otherwise):
            var conditions: [TypedNode] = []
            for branch in branches { conditions.append(try condition(branch.condition, "WHEN")) }
            let absent = Syntax(kind: .literal(.null), position: syntax.position, depth: 1)
            return try choose(conditions, branches.map(\.value) + [otherwise ?? absent], "CASE", syntax.position)
        case .call(let function, let arguments): return try call(function, arguments, syntax.position)
        }
    }

    private func literal(_ value: Value) -> Typed {
        switch value {
        case .bool: (.constant(value, .bool), .bool)
        case .int: (.constant(value, .int), .int)
        case .double: (.constant(value, .float), .float)
        case .string: (.constant(value, .string), .string)
        default: (.constant(.null, .float), nil)
        }
    }

    private mutating func column(_ name: String, _ position: Int) throws(KeelError) -> Typed {
        guard let type = types[name] else {
            let shown = known.prefix(30).joined(separator: ", ")
            throw failure(
                "there is no '\(name.prefix(100))'", position,
                hint: nearest(name, in: known).map { "did you mean '\($0)'?" } ?? (known.isEmpty ? nil : "there are: \(shown)"))
        }
        guard let scalar = ScalarType(type) else {
            throw failure("'\(name.prefix(100))' is a \(type), which expressions cannot use", position)
        }
        if let slot = slotOf[name] { return (.column(slot, scalar), scalar) }
        slotOf[name] = slots.count
        slots.append((name, type))
        return (.column(slots.count - 1, scalar), scalar)
    }

    private mutating func condition(_ syntax: Syntax, _ user: String) throws(KeelError) -> TypedNode {
        let inner = try type(syntax)
        guard inner.type == .bool || inner.type == nil else {
            throw failure("\(user) needs a condition, not a \(name(inner.type))", syntax.position, hint: "compare it, as in 'x > 0'")
        }
        return try convert(inner, to: .bool, syntax.position)
    }

    private func advice(_ type: ScalarType?) -> String? {
        switch type {
        case .bool: "if(condition, 1, 0) makes a number of a condition"
        case .string: "concat(a, b) joins texts"
        default: nil
        }
    }

    private mutating func arithmetic(_ operation: ArithmeticOperator, _ left: Syntax, _ right: Syntax, _ position: Int) throws(KeelError)
        -> Typed
    {
        let (a, b) = (try type(left), try type(right))
        let (aIsTime, bIsTime) = (a.type?.isTime ?? false, b.type?.isTime ?? false)
        if operation == .subtract, aIsTime, bIsTime || isText(b.node) {
            return (.elapsed(try convert(a, to: .timestamp, left.position), try convert(b, to: .timestamp, right.position)), .float)
        }
        if operation == .subtract, bIsTime, isText(a.node) {
            return (.elapsed(try convert(a, to: .timestamp, left.position), try convert(b, to: .timestamp, right.position)), .float)
        }
        let (aIsNumber, bIsNumber) = (a.type?.isNumber ?? true, b.type?.isNumber ?? true)
        if aIsTime, bIsNumber, operation == .add || operation == .subtract {
            let seconds = try convert(b, to: .float, right.position)
            return (
                .shift(try convert(a, to: .timestamp, left.position), seconds: operation == .add ? seconds : .negate(seconds, .float)),
                .timestamp
            )
        }
        if bIsTime, aIsNumber, operation == .add {
            return (.shift(try convert(b, to: .timestamp, right.position), seconds: try convert(a, to: .float, left.position)), .timestamp)
        }
        guard aIsNumber, bIsNumber else {
            throw failure(
                "'\(operation.rawValue)' does not work on \(name(a.type)) and \(name(b.type))", position,
                hint: advice(aIsNumber ? b.type : a.type))
        }
        let kind: ScalarType = operation != .divide && a.type == .int && b.type == .int ? .int : .float
        return (.arithmetic(operation, try convert(a, to: kind, left.position), try convert(b, to: kind, right.position), kind), kind)
    }

    private func isText(_ node: TypedNode) -> Bool { if case .constant(.string, _) = node { true } else { false } }

    /// Converts operands to one common type.
    private mutating func unify(_ operands: [Syntax], _ user: String, _ position: Int) throws(KeelError) -> ([TypedNode], ScalarType) {
        var typed: [Typed] = []
        for operand in operands { typed.append(try type(operand)) }
        let present = typed.compactMap(\.type)
        let common: ScalarType
        if let first = present.first, present.allSatisfy({ $0 == first }) {
            common = first
        } else if present.isEmpty || present.allSatisfy(\.isNumber) {
            common = .float
        } else if let time = present.first(where: \.isTime), typed.allSatisfy({ $0.type?.isTime ?? true || isText($0.node) }) {
            // A text literal beside dates only is read as a date when it is one.
            let mixed = present.contains(.date) && present.contains(.timestamp)
            common = mixed || (time == .date && !typed.allSatisfy({ !isText($0.node) || isDay($0.node) })) ? .timestamp : time
        } else {
            let stranger = present.first { $0 != present[0] && !($0.isNumber && present[0].isNumber) } ?? present[0]
            throw failure("\(user) cannot bring \(name(present[0])) and \(name(stranger)) together", position)
        }
        var nodes: [TypedNode] = []
        for (operand, value) in zip(operands, typed) { nodes.append(try convert(value, to: common, operand.position)) }
        return (nodes, common)
    }

    private func isDay(_ node: TypedNode) -> Bool {
        if case .constant(.string(let text), _) = node { text.utf8.count == 10 } else { false }
    }

    private func convert(_ value: Typed, to wanted: ScalarType, _ position: Int) throws(KeelError) -> TypedNode {
        guard let type = value.type else { return .constant(.null, wanted) }
        if type == wanted { return value.node }
        switch (type, wanted, value.node) {
        case (.int, .float, .constant(.int(let whole), _)): return .constant(.double(Double(whole)), .float)
        case (.int, .float, _): return .asFloat(value.node)
        case (.date, .timestamp, _): return .asTimestamp(value.node)
        case (.string, .timestamp, .constant(.string(let text), _)), (.string, .date, .constant(.string(let text), _)):
            guard let time = Timestamp(text) else {
                throw failure("'\(text.prefix(60))' is not a time", position, hint: "write '2013-04-01' or '2013-04-01T10:15:00Z'")
            }
            if wanted == .timestamp { return .constant(.timestamp(time), .timestamp) }
            return .constant(.date(Int32(truncatingIfNeeded: floorDivide(time.microseconds, CivilDate.microseconds))), .date)
        default:
            throw failure("a \(name(wanted)) is needed here, not a \(name(type))", position, hint: wanted.isNumber ? advice(type) : nil)
        }
    }

    private mutating func choose(_ conditions: [TypedNode], _ values: [Syntax], _ user: String, _ position: Int) throws(KeelError) -> Typed
    {
        let (nodes, kind) = try unify(values, user, position)
        let branches = zip(conditions, nodes).map { (condition: $0, value: $1) }
        return (.choose(branches, otherwise: nodes[conditions.count], kind), kind)
    }

    private mutating func call(_ function: ExpressionFunction, _ arguments: [Syntax], _ position: Int) throws(KeelError) -> Typed {
        switch function {
        case .pi: return (.constant(.double(.pi), .float), .float)
        case .abs, .floor, .ceil, .round, .sign:
            let inner = try type(arguments[0])
            let kind = inner.type ?? .float
            guard kind.isNumber else {
                throw failure(
                    "\(function.rawValue) needs a number, not a \(name(kind))", arguments[0].position, hint: function.help.signature)
            }
            var nodes = [try convert(inner, to: kind, arguments[0].position)]
            if arguments.count == 2 { nodes.append(.constant(.int(try wholeLiteral(arguments[1], -15...15, function)), .int)) }
            return (.call(function, nodes, kind), function == .sign ? .int : kind)
        case .sqrt, .ln, .log10, .exp, .sin, .cos, .power, .seconds, .minutes, .hours, .days:
            return (.call(function, try all(arguments, .float, function), .float), .float)
        case .least, .greatest, .coalesce:
            let (nodes, kind) = try unify(arguments, function.rawValue, position)
            if kind == .bool, function != .coalesce { throw failure("\(function.rawValue) does not order true and false", position) }
            return (.call(function, nodes, kind), kind)
        case .nullif:
            nullifDepth += 1
            guard nullifDepth <= ExpressionTyping.nullifLimit else {
                throw failure("nullif is nested more than \(ExpressionTyping.nullifLimit) deep", position, hint: "use CASE WHEN")
            }
            let (nodes, kind) = try unify(arguments, "nullif", position)
            nullifDepth -= 1
            return (.call(function, nodes, kind), kind)
        case .if: return try choose([try condition(arguments[0], "if")], Array(arguments.dropFirst()), "if", position)
        case .lower, .upper, .trim, .concat: return (.call(function, try all(arguments, .string, function), .string), .string)
        case .length: return (.call(function, try all(arguments, .string, function), .string), .int)
        case .contains, .startsWith: return (.call(function, try all(arguments, .string, function), .string), .bool)
        case .substr:
            var nodes = try all(Array(arguments.prefix(1)), .string, function)
            nodes.append(.constant(.int(try wholeLiteral(arguments[1], 1...1_000_000_000, function)), .int))
            if arguments.count == 3 { nodes.append(.constant(.int(try wholeLiteral(arguments[2], 0...1_000_000_000, function)), .int)) }
            return (.call(function, nodes, .string), .string)
        case .year, .month, .day, .dayofweek, .hour, .minute:
            return (.call(function, try all(arguments, .timestamp, function), .timestamp), .int)
        case .epoch: return (.call(function, try all(arguments, .timestamp, function), .timestamp), .float)
        case .date:
            let inner = try type(arguments[0])
            if inner.type == .date { return inner }
            return (.call(function, try all(arguments, .timestamp, function), .timestamp), .date)
        }
    }

    private mutating func all(_ arguments: [Syntax], _ wanted: ScalarType, _ function: ExpressionFunction) throws(KeelError) -> [TypedNode]
    {
        var nodes: [TypedNode] = []
        for argument in arguments {
            let inner = try type(argument)
            let readable = inner.type == nil || inner.type == wanted || (inner.type == .int && wanted == .float)
            guard readable || (inner.type == .date && wanted == .timestamp) || (isText(inner.node) && wanted == .timestamp) else {
                throw failure(
                    "\(function.rawValue) needs a \(name(wanted)), not a \(name(inner.type))", argument.position,
                    hint: function.help.signature)
            }
            nodes.append(try convert(inner, to: wanted, argument.position))
        }
        return nodes
    }

    private func wholeLiteral(_ syntax: Syntax, _ range: ClosedRange<Int64>, _ function: ExpressionFunction) throws(KeelError) -> Int64 {
        let value: Int64?
        switch syntax.kind {
        case .literal(.int(let whole)): value = whole
        case .negate(let inner): if case .literal(.int(let whole)) = inner.kind { value = -whole } else { value = nil }
        default: value = nil
        }
        guard let value, range.contains(value) else {
            throw failure(
                "\(function.rawValue) needs a whole number from \(range.lowerBound) to \(range.upperBound) written out here",
                syntax.position,
                hint: function.help.signature)
        }
        return value
    }
}
