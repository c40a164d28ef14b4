import Contracts

/// A checked expression, ready to run: as SQL, over single rows, over tables, and over plain numbers on the request path.
public struct TypedExpression: Sendable {
    public let source: Expression
    /// The type of the result; whole numbers are `int64`, other numbers `float64`.
    public let type: DataType
    /// The columns it reads; a slot is a position in this list.
    public let columns: [String]
    public let columnTypes: [DataType]
    let node: TypedNode
    let scalar: ScalarType
    let program: ExpressionProgram?

    init(source: Expression, node: TypedNode, scalar: ScalarType, slots: [(name: String, type: DataType)]) {
        self.source = source
        self.node = node
        self.scalar = scalar
        type = scalar.dataType
        columns = slots.map(\.name)
        columnTypes = slots.map(\.type)
        program = scalar == .string ? nil : ExpressionProgram(node)
    }

    /// The value of one row.
    /// - Parameter slots: the row's value of each slot; one that does not fit the column's type counts as null.
    public func evaluate(_ slots: (Int) -> Value) -> Value { node.evaluate(slots) }

    /// The value of every row.
    /// - Throws: when the table lacks a column, or one has another type than the expression was checked with.
    public func evaluate(over table: Table) throws(KeelError) -> Column {
        var inputs: [Column] = []
        for (name, type) in zip(columns, columnTypes) {
            let column = try table.column(name)
            guard column.type == type else { throw .invalid("column '\(name)' is a \(column.type), the expression expects a \(type)") }
            inputs.append(column)
        }
        var out = ExpressionResult(scalar, rows: table.rowCount)
        for row in 0..<table.rowCount { out.append(node.evaluate { inputs[$0][row] }) }
        return out.column
    }

    /// Whether `evaluateNumber` can run it: no text is involved.
    public var isNumeric: Bool { program != nil }

    /// The value of one row on the request path: no allocation, no reference counting.
    ///
    /// Numbers go in and out as `Column.doubles()` gives them: NaN is null, booleans are 0 and 1, timestamps µs and dates days since 1970.
    /// Whole numbers beyond 2^53 are rounded to float64. Always NaN when `isNumeric` is false.
    /// - Parameter slots: the row's value of each slot.
    @inline(__always) public func evaluateNumber(_ slots: UnsafeBufferPointer<Double>) -> Double { program?.run(slots) ?? .nan }
}

/// Collects the results of one type.
private struct ExpressionResult {
    private let scalar: ScalarType
    private var validity = Bitmap()
    private var bools: [Bool] = []
    private var days: [Int32] = []
    private var wholes: [Int64] = []
    private var doubles: [Double] = []
    private var texts = TextBuffer()

    init(_ scalar: ScalarType, rows: Int) {
        self.scalar = scalar
        switch scalar {
        case .bool: bools.reserveCapacity(rows)
        case .date: days.reserveCapacity(rows)
        case .int, .timestamp: wholes.reserveCapacity(rows)
        case .float: doubles.reserveCapacity(rows)
        case .string: break
        }
    }

    mutating func append(_ value: Value) {
        validity.append(!value.isNull)
        switch scalar {
        case .bool: if case .bool(let v) = value { bools.append(v) } else { bools.append(false) }
        case .date: if case .date(let v) = value { days.append(v) } else { days.append(0) }
        case .int: if case .int(let v) = value { wholes.append(v) } else { wholes.append(0) }
        case .timestamp: if case .timestamp(let v) = value { wholes.append(v.microseconds) } else { wholes.append(0) }
        case .float: if case .double(let v) = value { doubles.append(v) } else { doubles.append(.nan) }
        case .string: if case .string(let v) = value { texts.append(v) } else { texts.append("") }
        }
    }

    var column: Column {
        switch scalar {
        case .bool: Column(.bool, .bool(bools), validity: validity)
        case .date: Column(.date, .int32(days), validity: validity)
        case .int: Column(.int64, .int64(wholes), validity: validity)
        case .timestamp: Column(.timestamp, .int64(wholes), validity: validity)
        case .float: Column(.float64, .float64(doubles), validity: validity)
        case .string: Column(.string, .text(texts), validity: validity)
        }
    }
}
