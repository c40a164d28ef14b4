import Contracts

/// A stack program over float64 in which NaN is null: what runs on the request path.
struct ExpressionProgram: Sendable {
    private enum Instruction: Sendable {
        case constant(Double)
        case column(Int)
        case negate
        case arithmetic(ArithmeticOperator)
        /// Of whole numbers: beyond int64 is null.
        case whole(ArithmeticOperator)
        case shift, elapsed
        case compare(ComparisonOperator)
        case between
        case oneOf(Int)
        case and, or, not, isNull
        case choose(branches: Int)
        case number(ExpressionFunction)
        case power
        case round(digits: Int)
        case calendar(ExpressionFunction)
        case epoch
        case dateToTimestamp
        case least(Int)
        case greatest(Int)
        case coalesce(Int)
        case nullif
    }

    private var instructions: [Instruction] = []
    private var height = 0
    private var stackSize = 0

    /// Nil when the tree handles texts.
    init?(_ node: TypedNode) { guard compile(node) else { return nil } }

    private mutating func emit(_ instruction: Instruction, pops: Int) {
        instructions.append(instruction)
        height += 1 - pops
        stackSize = max(stackSize, height)
    }

    private mutating func compile(_ nodes: [TypedNode]) -> Bool { nodes.allSatisfy { compile($0) } }

    private mutating func compile(_ node: TypedNode) -> Bool {
        switch node {
        case .constant(let value, let type):
            guard type != .string else { return false }
            emit(.constant(ExpressionProgram.double(value)), pops: 0)
        case .column(let slot, let type):
            guard type != .string else { return false }
            emit(.column(slot), pops: 0)
        case .asFloat(let inner): return compile(inner)
        case .asTimestamp(let inner):
            guard compile(inner) else { return false }
            emit(.dateToTimestamp, pops: 1)
        case .negate(let inner, _):
            guard compile(inner) else { return false }
            emit(.negate, pops: 1)
        case .arithmetic(let operation, let a, let b, let type):
            guard compile([a, b]) else { return false }
            emit(type == .int ? .whole(operation) : .arithmetic(operation), pops: 2)
        case .shift(let a, let b):
            guard compile([a, b]) else { return false }
            emit(.shift, pops: 2)
        case .elapsed(let a, let b):
            guard compile([a, b]) else { return false }
            emit(.elapsed, pops: 2)
        case .compare(let comparison, let a, let b, let type):
            guard type != .string, compile([a, b]) else { return false }
            emit(.compare(comparison), pops: 2)
        case .between(let x, let low, let high, let type):
            guard type != .string, compile([x, low, high]) else { return false }
            emit(.between, pops: 3)
        case .oneOf(let x, let items, let type):
            guard type != .string, compile([x] + items) else { return false }
            emit(.oneOf(items.count), pops: items.count + 1)
        case .and(let a, let b):
            guard compile([a, b]) else { return false }
            emit(.and, pops: 2)
        case .or(let a, let b):
            guard compile([a, b]) else { return false }
            emit(.or, pops: 2)
        case .not(let inner):
            guard compile(inner) else { return false }
            emit(.not, pops: 1)
        case .isNull(let inner, let type):
            guard type != .string, compile(inner) else { return false }
            emit(.isNull, pops: 1)
        case .choose(let branches, let otherwise, let type):
            guard type != .string, compile(branches.flatMap { [$0.condition, $0.value] } + [otherwise]) else { return false }
            emit(.choose(branches: branches.count), pops: branches.count * 2 + 1)
        case .call(let function, let arguments, let type): return type != .string && call(function, arguments, type)
        }
        return true
    }

    private mutating func call(_ function: ExpressionFunction, _ arguments: [TypedNode], _ type: ScalarType) -> Bool {
        if function == .round, arguments.count == 2, case .constant(.int(let digits), _) = arguments[1] {
            guard compile(arguments[0]) else { return false }
            emit(.round(digits: Int(digits)), pops: 1)
            return true
        }
        guard compile(arguments) else { return false }
        let count = arguments.count
        switch function {
        case .least: emit(.least(count), pops: count)
        case .greatest: emit(.greatest(count), pops: count)
        case .coalesce: emit(.coalesce(count), pops: count)
        case .nullif: emit(.nullif, pops: 2)
        case .power: emit(.power, pops: 2)
        case .epoch: emit(.epoch, pops: 1)
        case .year, .month, .day, .dayofweek, .hour, .minute, .date: emit(.calendar(function), pops: 1)
        default: emit(.number(function), pops: 1)
        }
        return true
    }

    private static func double(_ value: Value) -> Double {
        switch value {
        case .bool(let v): v ? 1 : 0
        case .int(let v): Double(v)
        case .double(let v): v
        case .date(let v): Double(v)
        case .timestamp(let v): Double(v.microseconds)
        default: .nan
        }
    }

    func run(_ slots: UnsafeBufferPointer<Double>) -> Double {
        withUnsafeTemporaryAllocation(of: Double.self, capacity: stackSize) { stack in
            var top = -1
            for instruction in instructions { ExpressionProgram.step(instruction, stack, &top, slots) }
            return stack[0]
        }
    }

    @inline(__always) private static func truth(_ condition: Bool) -> Double { condition ? 1 : 0 }

    @inline(__always) private static func both(_ a: Double, _ b: Double) -> Double { a == 0 || b == 0 ? 0 : a.isNaN || b.isNaN ? .nan : 1 }

    @inline(__always) private static func compare(_ comparison: ComparisonOperator, _ a: Double, _ b: Double) -> Double {
        a.isNaN || b.isNaN ? .nan : truth(comparison.holds(a, b))
    }

    @inline(__always) private static func step(
        _ instruction: Instruction, _ stack: UnsafeMutableBufferPointer<Double>, _ top: inout Int, _ slots: UnsafeBufferPointer<Double>
    ) {
        switch instruction {
        case .constant(let value):
            top += 1
            stack[top] = value
        case .column(let slot):
            top += 1
            stack[top] = ExpressionKernel.finite(slots[slot])
        case .negate: stack[top] = -stack[top]
        case .arithmetic(let operation):
            top -= 1
            stack[top] = ExpressionKernel.arithmetic(operation, stack[top], stack[top + 1])
        case .whole(let operation):
            top -= 1
            let value = ExpressionKernel.arithmetic(operation, stack[top], stack[top + 1])
            stack[top] = abs(value) < 0x1p63 ? value : .nan
        case .compare(let comparison):
            top -= 1
            stack[top] = compare(comparison, stack[top], stack[top + 1])
        case .and:
            top -= 1
            stack[top] = both(stack[top], stack[top + 1])
        case .or:
            top -= 1
            let (a, b) = (stack[top], stack[top + 1])
            stack[top] = a == 1 || b == 1 ? 1 : a.isNaN || b.isNaN ? .nan : 0
        case .not: stack[top] = 1 - stack[top]
        case .isNull: stack[top] = truth(stack[top].isNaN)
        case .between:
            top -= 2
            stack[top] = both(compare(.greaterOrEqual, stack[top], stack[top + 1]), compare(.lessOrEqual, stack[top], stack[top + 2]))
        case .oneOf(let count):
            top -= count
            stack[top] = oneOf(stack, top, count)
        case .choose(let branches):
            top -= branches * 2
            var chosen = top + branches * 2
            for branch in 0..<branches where stack[top + branch * 2] == 1 {
                chosen = top + branch * 2 + 1
                break
            }
            stack[top] = stack[chosen]
        case .number(let function): stack[top] = ExpressionKernel.number(function, stack[top])
        case .power:
            top -= 1
            stack[top] = ExpressionKernel.number(.power, stack[top], stack[top + 1])
        case .round(let digits): stack[top] = ExpressionKernel.round(stack[top], digits: digits)
        default: time(instruction, stack, &top)
        }
    }

    @inline(__always) private static func oneOf(_ stack: UnsafeMutableBufferPointer<Double>, _ top: Int, _ count: Int) -> Double {
        let x = stack[top]
        if x.isNaN { return .nan }
        var result = 0.0
        for i in top + 1...top + count {
            if stack[i] == x { return 1 }
            if stack[i].isNaN { result = .nan }
        }
        return result
    }

    /// The less frequent instructions: times and choices among values.
    private static func time(_ instruction: Instruction, _ stack: UnsafeMutableBufferPointer<Double>, _ top: inout Int) {
        func instant(_ x: Double) -> Int64? { Int64(exactly: x.rounded()) }
        switch instruction {
        case .shift:
            top -= 1
            stack[top] = instant(stack[top]).flatMap { ExpressionKernel.shift($0, seconds: stack[top + 1]) }.map(Double.init) ?? .nan
        case .elapsed:
            top -= 1
            guard let a = instant(stack[top]), let b = instant(stack[top + 1]) else {
                stack[top] = .nan
                return
            }
            stack[top] = ExpressionKernel.elapsed(a, b)
        case .dateToTimestamp: stack[top] = ExpressionKernel.midnight(stack[top])
        case .epoch: stack[top] /= 1_000_000
        case .calendar(let function): stack[top] = instant(stack[top]).map { Double(ExpressionKernel.calendar(function, $0)) } ?? .nan
        case .least(let count), .greatest(let count), .coalesce(let count):
            top -= count - 1
            for i in top + 1..<top + count where replaces(instruction, stack[i], stack[top]) { stack[top] = stack[i] }
        case .nullif:
            top -= 1
            if stack[top] == stack[top + 1] { stack[top] = .nan }
        default: break
        }
    }

    @inline(__always) private static func replaces(_ instruction: Instruction, _ candidate: Double, _ best: Double) -> Bool {
        if best.isNaN { return true }
        return switch instruction {
        case .least: candidate < best
        case .greatest: candidate > best
        default: false
        }
    }
}
