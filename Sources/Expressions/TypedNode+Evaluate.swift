import Contracts

/// The evaluator over values: exact int64, texts, all types.
extension TypedNode {
    func evaluate(_ slots: (Int) -> Value) -> Value {
        switch self {
        case .constant(let value, _): return value
        case .column(let slot, let type): return TypedNode.fit(slots(slot), type)
        case .asFloat(let inner):
            if case .int(let v) = inner.evaluate(slots) { return .double(Double(v)) }
            return .null
        case .asTimestamp(let inner): return TypedNode.midnight(inner.evaluate(slots))
        case .negate(let inner, _):
            switch inner.evaluate(slots) {
            case .int(let v): return v == .min ? .null : .int(-v)
            case .double(let v): return .double(-v)
            default: return .null
            }
        case .arithmetic(let operation, let left, let right, _):
            switch (left.evaluate(slots), right.evaluate(slots)) {
            case (.int(let a), .int(let b)): return ExpressionKernel.arithmetic(operation, a, b).map(Value.int) ?? .null
            case (.double(let a), .double(let b)): return TypedNode.number(ExpressionKernel.arithmetic(operation, a, b))
            default: return .null
            }
        case .shift(let time, let seconds):
            guard case .timestamp(let t) = time.evaluate(slots), case .double(let s) = seconds.evaluate(slots) else { return .null }
            return ExpressionKernel.shift(t.microseconds, seconds: s).map { .timestamp(Timestamp(microseconds: $0)) } ?? .null
        case .elapsed(let left, let right):
            guard case .timestamp(let a) = left.evaluate(slots), case .timestamp(let b) = right.evaluate(slots) else { return .null }
            return TypedNode.number(ExpressionKernel.elapsed(a.microseconds, b.microseconds))
        case .compare(let comparison, let left, let right, _):
            return TypedNode.compare(comparison, left.evaluate(slots), right.evaluate(slots)).map(Value.bool) ?? .null
        case .between(let value, let low, let high, _):
            let x = value.evaluate(slots)
            return TypedNode.and(
                TypedNode.compare(.greaterOrEqual, x, low.evaluate(slots)), TypedNode.compare(.lessOrEqual, x, high.evaluate(slots)))
        case .oneOf(let value, let items, _):
            let x = value.evaluate(slots)
            var unknown = false
            for item in items {
                switch TypedNode.compare(.equal, x, item.evaluate(slots)) {
                case .some(true): return .bool(true)
                case .some(false): break
                case .none: unknown = true
                }
            }
            return unknown ? .null : .bool(false)
        case .and(let left, let right):
            let a = left.truth(slots)
            return a == false ? .bool(false) : TypedNode.and(a, right.truth(slots))
        case .or(let left, let right):
            let a = left.truth(slots)
            if a == true { return .bool(true) }
            let b = right.truth(slots)
            if b == true { return .bool(true) }
            return a == nil || b == nil ? .null : .bool(false)
        case .not(let inner): return inner.truth(slots).map { .bool(!$0) } ?? .null
        case .isNull(let inner, _): return .bool(inner.evaluate(slots).isNull)
        case .choose(let branches, let otherwise, _):
            for branch in branches where branch.condition.truth(slots) == true { return branch.value.evaluate(slots) }
            return otherwise.evaluate(slots)
        case .call(let function, let arguments, _): return TypedNode.call(function, arguments, slots)
        }
    }

    private func truth(_ slots: (Int) -> Value) -> Bool? { if case .bool(let v) = evaluate(slots) { v } else { nil } }

    private static func and(_ a: Bool?, _ b: Bool?) -> Value {
        a == false || b == false ? .bool(false) : a == nil || b == nil ? .null : .bool(true)
    }

    private static func number(_ x: Double) -> Value { x.isFinite ? .double(x) : .null }

    /// A date as an instant; null beyond the range of instants.
    private static func midnight(_ value: Value) -> Value {
        guard case .date(let days) = value else { return .null }
        return CivilDate.range.contains(days) ? .timestamp(Timestamp(day: days)) : .null
    }

    /// A column's value in the type the tree expects; anything else is null.
    private static func fit(_ value: Value, _ type: ScalarType) -> Value {
        switch (type, value) {
        case (.bool, .bool), (.string, .string), (.date, .date), (.timestamp, .timestamp), (.int, .int): value
        case (.float, .double(let v)): number(v)
        case (.float, .int(let v)): .double(Double(v))
        case (.int, .double(let v)): Int64(exactly: v).map(Value.int) ?? .null
        case (.timestamp, .date): midnight(value)
        default: .null
        }
    }

    /// Nil when either is null.
    private static func compare(_ comparison: ComparisonOperator, _ a: Value, _ b: Value) -> Bool? {
        switch (a, b) {
        case (.int(let x), .int(let y)): comparison.holds(x, y)
        case (.double(let x), .double(let y)): comparison.holds(x, y)
        case (.string(let x), .string(let y)): comparison.holds(byteOrder(x, y), 0)
        case (.timestamp(let x), .timestamp(let y)): comparison.holds(x, y)
        case (.date(let x), .date(let y)): comparison.holds(x, y)
        case (.bool(let x), .bool(let y)): comparison.holds(x ? 1 : 0, y ? 1 : 0)
        default: nil
        }
    }

    private static func call(_ function: ExpressionFunction, _ arguments: [TypedNode], _ slots: (Int) -> Value) -> Value {
        switch function {
        case .coalesce:
            for argument in arguments {
                let value = argument.evaluate(slots)
                if !value.isNull { return value }
            }
            return .null
        case .least, .greatest:
            var best = Value.null
            for argument in arguments {
                let value = argument.evaluate(slots)
                if best.isNull || compare(function == .least ? .less : .greater, value, best) == true { best = value }
            }
            return best
        case .nullif:
            let value = arguments[0].evaluate(slots)
            return compare(.equal, value, arguments[1].evaluate(slots)) == true ? .null : value
        case .concat: return .string(arguments.map { $0.evaluate(slots).text ?? "" }.joined())
        case .contains, .startsWith:
            guard let text = arguments[0].evaluate(slots).text, let part = arguments[1].evaluate(slots).text else { return .null }
            return .bool(function == .contains ? ExpressionKernel.contains(text, part) : text.utf8.starts(with: part.utf8))
        case .power:
            guard case .double(let x) = arguments[0].evaluate(slots), case .double(let y) = arguments[1].evaluate(slots) else {
                return .null
            }
            return number(ExpressionKernel.number(.power, x, y))
        default: return of(function, arguments[0].evaluate(slots), arguments.dropFirst())
        }
    }

    /// Functions of one value, with literals behind it.
    private static func of(_ function: ExpressionFunction, _ value: Value, _ literals: ArraySlice<TypedNode>) -> Value {
        func literal(_ i: Int) -> Int? {
            if literals.count > i, case .constant(.int(let v), _) = literals[literals.startIndex + i] { Int(v) } else { nil }
        }
        switch value {
        case .int(let v):
            switch function {
            case .abs: return v == .min ? .null : .int(abs(v))
            case .round: return .int(ExpressionKernel.round(v, digits: literal(0) ?? 0))
            case .sign: return .int(v.signum())
            default: return value
            }
        case .double(let v):
            if function == .round, let digits = literal(0) { return number(ExpressionKernel.round(v, digits: digits)) }
            if function == .sign { return .int(v > 0 ? 1 : v < 0 ? -1 : 0) }
            return number(ExpressionKernel.number(function, v))
        case .timestamp(let v):
            if function == .epoch { return .double(v.seconds) }
            let part = ExpressionKernel.calendar(function, v.microseconds)
            return function == .date ? .date(Int32(truncatingIfNeeded: part)) : .int(part)
        case .string(let v):
            switch function {
            case .lower: return .string(ExpressionKernel.lower(v))
            case .upper: return .string(ExpressionKernel.upper(v))
            case .trim: return .string(ExpressionKernel.trim(v))
            case .length: return .int(Int64(v.unicodeScalars.count))
            case .substr: return .string(ExpressionKernel.substring(v, start: literal(0) ?? 1, count: literal(1)))
            default: return .null
            }
        default: return .null
        }
    }
}
