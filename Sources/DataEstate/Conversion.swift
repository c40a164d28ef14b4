import Contracts

/// Turns a column of one type into another without loss; a value that does not fit is an issue of its row.
enum Conversion {
    static func possible(_ from: DataType, _ to: DataType) -> Bool {
        if from == to { return true }
        switch (from, to) {
        case (.date, .timestamp), (.bool, .int32), (.bool, .int64), (.bool, .float32), (.bool, .float64): return true
        default: return from.isNumeric && to.isNumeric
        }
    }

    /// - Parameter misfit: called with each row whose value does not fit; it becomes null.
    static func column(_ column: Column, to type: DataType, misfit: (Int) -> Void) throws(KeelError) -> Column {
        if column.type == type { return storable(column, misfit) }
        guard possible(column.type, type) else { throw .invalid("a \(column.type) is not a \(type)") }
        var out = Column(type)
        for i in 0..<column.count {
            let value = column[i]
            let fitted: Value
            switch type {
            case .int32, .int64:
                fitted = (value.integer ?? value.number.flatMap { Int64(exactly: $0) }).map(Value.int) ?? .null
                if case .int(let number) = fitted, type == .int32, Int32(exactly: number) == nil {
                    misfit(i)
                    out.appendNull()
                    continue
                }
            case .float32: fitted = value.number.flatMap { Float($0).isFinite ? .double($0) : nil } ?? .null
            case .float64: fitted = value.number.flatMap { $0.isFinite ? .double($0) : nil } ?? .null
            case .timestamp:
                if case .date(let day) = value, !CivilDate.range.contains(day) {
                    fitted = .null
                } else {
                    fitted = value.time.map(Value.timestamp) ?? .null
                }
            default: fitted = value
            }
            if fitted.isNull, !value.isNull { misfit(i) }
            try out.append(fitted)
        }
        return out
    }

    /// What messages say of a type that cannot hold every value of its size.
    static func limits(_ type: DataType) -> String { type == .timestamp || type == .date ? " (\(Timestamp.rangeHint))" : "" }

    /// No stored number is NaN or infinite, and every stored instant and day is within the years of `Timestamp`.
    private static func storable(_ column: Column, _ misfit: (Int) -> Void) -> Column {
        var bad: [Int] = []
        switch column.buffer {
        case .int64(let values) where column.type == .timestamp:
            for i in values.indices where !Timestamp.range.contains(values[i]) && column.isValid(i) { bad.append(i) }
        case .int32(let values) where column.type == .date:
            for i in values.indices where !CivilDate.range.contains(values[i]) && column.isValid(i) { bad.append(i) }
        case .float64(let values): for i in values.indices where !values[i].isFinite && column.isValid(i) { bad.append(i) }
        case .float32(let values): for i in values.indices where !values[i].isFinite && column.isValid(i) { bad.append(i) }
        default: break
        }
        guard !bad.isEmpty else { return column }
        var validity = column.validity ?? Bitmap(repeating: true, count: column.count)
        for i in bad {
            validity[i] = false
            misfit(i)
        }
        return Column(column.type, column.buffer, validity: validity)
    }
}
