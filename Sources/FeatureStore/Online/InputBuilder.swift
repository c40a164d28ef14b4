import Contracts

/// One column of a model's inputs as it is made, value by value.
struct InputBuilder {
    private enum Values {
        case floats([Float])
        case doubles([Double])
        /// All else, with the checks of a column.
        case column(Column)
    }

    private let type: DataType
    private var values: Values

    init(_ type: DataType, rows: Int) {
        self.type = type
        switch type {
        case .float32:
            var floats: [Float] = []
            floats.reserveCapacity(rows)
            values = .floats(floats)
        case .float64:
            var doubles: [Double] = []
            doubles.reserveCapacity(rows)
            values = .doubles(doubles)
        default: values = .column(Column(type))
        }
    }

    /// Adds a value; a missing float is NaN.
    /// - Returns: false when the type cannot hold the value.
    mutating func append(_ value: Value) -> Bool {
        // The array is moved out while it grows: a second reference would make every append copy it.
        var taken = Values.floats([])
        swap(&taken, &values)
        switch consume taken {
        case .floats(var floats):
            let number = value.number
            floats.append(number.map { Float($0) } ?? .nan)
            values = .floats(floats)
            return number != nil || value.isNull
        case .doubles(var doubles):
            let number = value.number
            doubles.append(number ?? .nan)
            values = .doubles(doubles)
            return number != nil || value.isNull
        case .column(var column):
            defer { values = .column(column) }
            return (try? column.append(InputBuilder.number(value, type))) != nil
        }
    }

    /// A number as the kind of number that the column holds; what cannot be it stays as it is.
    private static func number(_ value: Value, _ type: DataType) -> Value {
        switch (value, type) {
        case (.double(let v), .int32), (.double(let v), .int64): Int64(exactly: v).map(Value.int) ?? value
        case (.bool(let v), .int32), (.bool(let v), .int64): .int(v ? 1 : 0)
        case (.int(let v), .bool) where v == 0 || v == 1: .bool(v == 1)
        case (.double(let v), .bool) where v == 0 || v == 1: .bool(v == 1)
        default: value
        }
    }

    var column: Column {
        switch values {
        case .floats(let floats): Column(.float32, .float32(floats))
        case .doubles(let doubles): Column(.float64, .float64(doubles))
        case .column(let column): column
        }
    }
}
