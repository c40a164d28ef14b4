extension Column {
    /// The same values as another type, as far as nothing is lost but the last digits of a float32: for columns as APIs parse them. Whole numbers become floats and
    /// floats that are whole become integers, 0 and 1 become booleans, texts in ISO 8601 and µs become instants, texts become days.
    ///
    /// - Parameter name: the column's, for errors.
    /// - Throws: `contractViolation` when no value of this type could be one of the other, `invalidArgument` for a value that does not fit: both with the
    ///   place, `name` or `name[row]`.
    public func converted(to wanted: DataType, name: String) throws(KeelError) -> Column {
        if type == wanted { return self }
        // The usual cases, without a value for each row.
        switch (buffer, wanted) {
        case (.text(let texts), .timestamp) where validity == nil && type == .string:
            if let times = Column.instants(texts) { return Column(.timestamp, .int64(times)) }
        case (.int64(let v), .float64) where type == .int64 && v.allSatisfy({ $0.magnitude <= Column.exactMax }):
            return Column(wanted, .float64(v.map(Double.init)), validity: validity)
        case (.float64(let v), .float32) where v.allSatisfy({ $0.magnitude <= Double(Float.greatestFiniteMagnitude) || !$0.isFinite }):
            return Column(wanted, .float32(v.map(Float.init)), validity: validity)
        case (.int64(let v), .float32) where type == .int64: return Column(wanted, .float32(v.map { Float(Double($0)) }), validity: validity)
        case (.float32(let v), .float64): return Column(wanted, .float64(v.map(Double.init)), validity: validity)
        case (.int32(let v), .int64) where type == .int32: return Column(wanted, .int64(v.map(Int64.init)), validity: validity)
        case (.list(let offsets, let values), .list(let element)):
            return Column(wanted, .list(offsets: offsets, values: try values.converted(to: element, name: name)), validity: validity)
        case (.list(let offsets, let values), .tensor(let element, let shape)):
            return try tensor(element, shape, offsets, values, name)
        case (_, .tensor(let element, let shape)) where shape.allSatisfy { $0 == 1 || $0 == -1 }:
            // A value is a tensor of one.
            let values = try converted(to: element, name: name)
            return Column(.tensor(element, shape: shape.map { _ in 1 }), .list(offsets: Array(0...count), values: values))
        case (.list(_, let values), _) where holdsTensorsOfOne && validity == nil: return try values.converted(to: wanted, name: name)
        default: break
        }
        // A column of nothing but nulls has no type of its own.
        if nullCount == count, count > 0 { return try Column(wanted, values: Array(repeating: .null, count: count)) }
        var out = Column(wanted)
        for row in 0..<count {
            let value = self[row]
            let place = count == 1 ? name : "\(name)[\(row)]"
            guard let converted = Column.convert(value, to: wanted) else {
                let shown = value.description.prefix(60)
                guard Column.isSameKind(value, wanted) else {
                    throw KeelError(
                        .contractViolation, "'\(name)' must be a \(wanted), not \(type) '\(shown)'",
                        hint: wanted == .timestamp
                            ? "an instant is written 2013-04-01T10:15:00Z, or as µs since 1970; \(Timestamp.rangeHint)" : nil, path: place)
                }
                throw .invalid("\(shown) does not fit in '\(name)', which is \(wanted)", path: place)
            }
            do throws(KeelError) { try out.append(converted) } catch { throw KeelError(error.code, error.message, hint: error.hint, path: place) }
        }
        return out
    }

    private var holdsTensorsOfOne: Bool { if case .tensor(_, let shape) = type { shape.allSatisfy { $0 == 1 } } else { false } }

    /// The type of a tensor column is the concrete shape of its rows.
    private func tensor(_ element: DataType, _ shape: [Int], _ offsets: [Int], _ values: Column, _ name: String) throws(KeelError) -> Column {
        let given: [Int]
        if case .tensor(_, let concrete) = type {
            given = concrete
        } else {
            // A list has one axis.
            given = [count > 0 ? offsets[1] : 0]
        }
        let fits = given.count == shape.count && zip(given, shape).allSatisfy { $0 == $1 || $1 == -1 }
        guard let size = DataType.valueCount(of: given), fits || size == DataType.valueCount(of: shape) else {
            throw KeelError(
                .contractViolation, "'\(name)' has rows of the shape \(given), the model takes \(shape)", hint: "-1 stands for any size", path: name)
        }
        for row in 0..<count where isValid(row) && offsets[row + 1] - offsets[row] != size {
            throw KeelError(
                .contractViolation, "'\(name)' has \(offsets[row + 1] - offsets[row]) values in this row, the shape \(given) takes \(size)",
                path: "\(name)[\(row)]")
        }
        let converted = try values.converted(to: element, name: name)
        return Column(.tensor(element, shape: fits ? given : shape), .list(offsets: offsets, values: converted), validity: validity)
    }

    /// The largest whole number up to which float64 has all of them: 2⁵³.
    private static let exactMax: UInt64 = 1 << 53

    /// Whether a value is of the kind that a type holds, so that it is this value that does not fit.
    private static func isSameKind(_ value: Value, _ type: DataType) -> Bool {
        switch value {
        case .int, .double: type.isNumeric || type == .bool
        default: false
        }
    }

    /// Instants in µs, or nil when one of the texts is none.
    private static func instants(_ texts: TextBuffer) -> [Int64]? {
        var out: [Int64] = []
        out.reserveCapacity(texts.count)
        for i in 0..<texts.count {
            guard let time = texts.bytes(i).withUnsafeBufferPointer({ Timestamp.parse($0) }) else { return nil }
            out.append(time.microseconds)
        }
        return out
    }

    private static func convert(_ value: Value, to type: DataType) -> Value? {
        switch (type, value) {
        case (_, .null): return .null
        case (.bool, .bool), (.string, .string), (.bytes, .bytes), (.date, .date), (.timestamp, .timestamp): return value
        case (.bool, .int(let v)): return v == 0 || v == 1 ? .bool(v == 1) : nil
        case (.float64, .int(let v)): return v.magnitude <= exactMax || Int64(exactly: Double(v)) == v ? .double(Double(v)) : nil
        case (.float64, .double): return value
        case (.float32, .int), (.float32, .double):
            guard let number = value.number, number.isInfinite || !Float(number).isInfinite else { return nil }
            return .double(number)
        case (.int64, .int): return value
        // `nil` beside a value would be read as that of a value, which is null.
        case (.int32, .int(let v)): return Int32(exactly: v).map { .int(Int64($0)) }
        // Beyond 2⁵³ a float stands for several whole numbers, and which one was meant nobody knows.
        case (.int64, .double(let v)): return v.magnitude <= Double(exactMax) ? Int64(exactly: v).map(Value.int) : nil
        case (.int32, .double(let v)): return Int32(exactly: v).map { .int(Int64($0)) }
        case (.bytes, .string(let v)): return .bytes(Array(v.utf8))
        case (.timestamp, .int(let v)): return Timestamp(exactly: v).map(Value.timestamp)
        case (.timestamp, .string(let v)): return Timestamp(v).map(Value.timestamp)
        case (.timestamp, .date): return value.time.map(Value.timestamp)
        case (.date, .string(var v)): return v.withUTF8 { CivilDate.parse($0) }.map(Value.date)
        case (.list(let element), .list(let items)):
            let converted = items.map { convert($0, to: element) }
            return converted.contains { $0 == nil } ? nil : .list(converted.compactMap { $0 })
        default: return nil
        }
    }
}
