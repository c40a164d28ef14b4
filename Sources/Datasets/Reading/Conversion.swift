import Contracts

/// Turns a column of one type into another: a value arrives as it was written, or is an issue of its row.
///
/// Whole numbers and exact decimals must be in the target exactly (a decimal also when the target prints as it: 0.1 is the float64 0.1); a float64
/// becomes the nearest float32. NaN is no value: it is null, whatever it came in.
enum Conversion {
    static func possible(_ from: DataType, _ to: DataType) -> Bool {
        if from == to { return true }
        switch (from, to) {
        case (.date, .timestamp), (.bool, .int32), (.bool, .int64), (.bool, .float32), (.bool, .float64): return true
        default: return from.isNumeric && to.isNumeric
        }
    }

    /// - Parameters:
    ///   - column: of a type that is `possible`, or decimal numbers as text for a type that is numeric, or without any value.
    ///   - misfit: called with each row whose value does not fit; it becomes null.
    static func column(_ column: Column, to type: DataType, misfit: (Int) -> Void) throws(KeelError) -> Column {
        if column.type == type { return storable(column, misfit) }
        if column.nullCount == column.count { return try Column(type, values: repeatElement(.null, count: column.count)) }
        if case .text(let texts) = column.buffer, type.isNumeric { return decimals(texts, column, to: type, misfit) }
        guard possible(column.type, type) else { throw .invalid("a \(column.type) is not a \(type)") }
        switch (column.buffer, type) {
        case (.bool(let values), .int32): return mapped(values, column, type, { .int32($0) }, misfit) { .value($0 ? 1 : 0) }
        case (.bool(let values), .int64): return mapped(values, column, type, { .int64($0) }, misfit) { .value($0 ? 1 : 0) }
        case (.bool(let values), .float32): return mapped(values, column, type, { .float32($0) }, misfit) { .value($0 ? 1 : 0) }
        case (.bool(let values), .float64): return mapped(values, column, type, { .float64($0) }, misfit) { .value($0 ? 1 : 0) }
        case (.int32(let days), .timestamp):
            return mapped(days, column, type, { .int64($0) }, misfit) { day in
                CivilDate.range.contains(day) ? .value(Timestamp(day: day).microseconds) : .misfit
            }
        case (.int32(let values), .int64): return mapped(values, column, type, { .int64($0) }, misfit) { .value(Int64($0)) }
        case (.int32(let values), .float64): return mapped(values, column, type, { .float64($0) }, misfit) { .value(Double($0)) }
        case (.int32(let values), .float32): return mapped(values, column, type, { .float32($0) }, misfit) { Fit(Float(exactly: $0)) }
        case (.int64(let values), .int32): return mapped(values, column, type, { .int32($0) }, misfit) { Fit(Int32(exactly: $0)) }
        case (.int64(let values), .float64): return mapped(values, column, type, { .float64($0) }, misfit) { Fit(Double(exactly: $0)) }
        case (.int64(let values), .float32): return mapped(values, column, type, { .float32($0) }, misfit) { Fit(Float(exactly: $0)) }
        case (.float32(let values), .float64): return mapped(values, column, type, { .float64($0) }, misfit) { Fit(finite: Double($0)) }
        case (.float64(let values), .float32):
            return mapped(values, column, type, { .float32($0) }, misfit) { $0.isNaN ? .null : Fit(finite: Float($0)) }
        case (.float32(let values), .int32):
            return mapped(values, column, type, { .int32($0) }, misfit) { $0.isNaN ? .null : Fit(Int32(exactly: $0)) }
        case (.float32(let values), .int64):
            return mapped(values, column, type, { .int64($0) }, misfit) { $0.isNaN ? .null : Fit(Int64(exactly: $0)) }
        case (.float64(let values), .int32):
            return mapped(values, column, type, { .int32($0) }, misfit) { $0.isNaN ? .null : Fit(Int32(exactly: $0)) }
        case (.float64(let values), .int64):
            return mapped(values, column, type, { .int64($0) }, misfit) { $0.isNaN ? .null : Fit(Int64(exactly: $0)) }
        default: throw .invalid("a \(column.type) is not a \(type)")
        }
    }

    /// What messages say of a type that cannot hold every value of its size.
    static func limits(_ type: DataType) -> String { type == .timestamp || type == .date ? " (\(Timestamp.rangeHint))" : "" }

    /// What becomes of one value.
    fileprivate enum Fit<T> {
        case value(T)
        case null
        case misfit

        init(_ value: T?) { self = value.map(Fit.value) ?? .misfit }
    }

    private static func mapped<S, T: ExpressibleByIntegerLiteral>(
        _ values: [S], _ column: Column, _ type: DataType, _ buffer: ([T]) -> Column.Buffer, _ misfit: (Int) -> Void,
        _ convert: (S) -> Fit<T>
    ) -> Column {
        var out: [T] = []
        out.reserveCapacity(values.count)
        var validity = column.validity
        for i in values.indices {
            var found: T?
            if column.isValid(i) {
                switch convert(values[i]) {
                case .value(let value): found = value
                case .null: break
                case .misfit: misfit(i)
                }
                if found == nil {
                    if validity == nil { validity = Bitmap(repeating: true, count: values.count) }
                    validity?[i] = false
                }
            }
            out.append(found ?? 0)
        }
        return Column(type, buffer(out), validity: validity)
    }

    /// Exact decimal numbers as a number type.
    private static func decimals(_ texts: TextBuffer, _ column: Column, to type: DataType, _ misfit: (Int) -> Void) -> Column {
        let builder = ColumnBuilder(type)
        texts.bytes.withUnsafeBufferPointer { bytes in
            for row in 0..<texts.count {
                let text = UnsafeBufferPointer(rebasing: bytes[texts.offsets[row]..<texts.offsets[row + 1]])
                if column.isValid(row) {
                    if builder.append(decimal: text) { continue }
                    misfit(row)
                }
                builder.appendNull()
            }
        }
        return builder.take()
    }

    /// No stored number is NaN or infinite, and every stored instant and day is within the years of `Timestamp`.
    private static func storable(_ column: Column, _ misfit: (Int) -> Void) -> Column {
        var bad: [Int] = []
        var absent: [Int] = []
        switch column.buffer {
        case .int64(let values) where column.type == .timestamp:
            for i in values.indices where !Timestamp.range.contains(values[i]) && column.isValid(i) { bad.append(i) }
        case .int32(let values) where column.type == .date:
            for i in values.indices where !CivilDate.range.contains(values[i]) && column.isValid(i) { bad.append(i) }
        case .float64(let values):
            for i in values.indices where !values[i].isFinite && column.isValid(i) {
                if values[i].isNaN { absent.append(i) } else { bad.append(i) }
            }
        case .float32(let values):
            for i in values.indices where !values[i].isFinite && column.isValid(i) {
                if values[i].isNaN { absent.append(i) } else { bad.append(i) }
            }
        default: break
        }
        guard !bad.isEmpty || !absent.isEmpty else { return column }
        var validity = column.validity ?? Bitmap(repeating: true, count: column.count)
        for i in absent { validity[i] = false }
        for i in bad {
            validity[i] = false
            misfit(i)
        }
        return Column(column.type, column.buffer, validity: validity)
    }
}

extension Conversion.Fit where T: BinaryFloatingPoint {
    init(finite value: T) { self = value.isNaN ? .null : value.isFinite ? .value(value) : .misfit }
}
