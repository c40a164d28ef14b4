import Contracts

/// A request checked against the fields a service asks for, each column in its field's type.
struct RequestColumns {
    let columns: [Column]
    let rowCount: Int

    /// Columns may come as doors parse them: whole numbers for floats, instants as ISO 8601 text or µs, days as text.
    ///
    /// - Throws: `contractViolation` that names the column that is missing, unknown or of a wrong type, and the row.
    init(_ request: Table, _ service: ResolvedService) throws(KeelError) {
        var columns: [Column] = []
        columns.reserveCapacity(service.requestFields.count)
        for (slot, field) in service.requestFields.enumerated() {
            guard let column = request[field.name] else {
                let strangers = request.names.filter { name in !service.requestFields.contains { $0.name == name } }
                throw KeelError(
                    .contractViolation, "the request lacks the column '\(field.name)' (\(field.type)) that feature service '\(service.name)' needs",
                    hint: nearest(field.name, in: strangers).map { "is '\($0)' meant to be '\(field.name)'?" }, path: field.name)
            }
            let converted = try RequestColumns.convert(column, to: field)
            if slot == service.timeSlot, converted.nullCount > 0 {
                throw KeelError(.contractViolation, "'\(field.name)' says as of when features are read and must have a value", path: field.name)
            }
            columns.append(converted)
        }
        if request.names.count > columns.count, let stranger = request.names.first(where: { name in !service.requestFields.contains { $0.name == name } }) {
            let known = service.requestFields.map(\.name)
            throw KeelError(
                .contractViolation, "feature service '\(service.name)' takes no column '\(stranger.prefix(100))'",
                hint: nearest(stranger, in: known).map { "did you mean '\($0)'?" } ?? "it takes: \(known.joined(separator: ", "))",
                path: String(stranger.prefix(100)))
        }
        self.columns = columns
        rowCount = request.rowCount
    }

    /// As of when each row is read, µs.
    func time(_ row: Int, _ service: ResolvedService, now: Int64) -> Int64 {
        guard let slot = service.timeSlot, case .int64(let v) = columns[slot].buffer else { return now }
        return v[row]
    }

    static func convert(_ column: Column, to field: Field) throws(KeelError) -> Column {
        if column.type == field.type { return column }
        // A column of nothing but nulls has no type of its own.
        if column.nullCount == column.count, column.count > 0 { return try Column(field.type, values: Array(repeating: .null, count: column.count)) }
        var out = Column(field.type)
        for row in 0..<column.count {
            let value = column[row]
            guard let converted = convert(value, to: field.type) else {
                let shown = value.description
                throw KeelError(
                    .contractViolation, "'\(field.name)' must be a \(field.type), not \(column.type) '\(shown.prefix(60))'",
                    hint: field.type == .timestamp ? "an instant is written 2013-04-01T10:15:00Z, or as µs since 1970" : nil,
                    path: column.count == 1 ? field.name : "\(field.name)[\(row)]")
            }
            try placed(field.name) { () throws(KeelError) in try out.append(converted) }
        }
        return out
    }

    private static func convert(_ value: Value, to type: DataType) -> Value? {
        switch (type, value) {
        case (_, .null): return .null
        case (.float32, .int), (.float64, .int), (.float32, .double), (.float64, .double): return value.number.map(Value.double)
        case (.int64, .int): return value
        case (.int32, .int(let v)): return Int32(exactly: v) == nil ? nil : value
        case (.int64, .double(let v)): return Int64(exactly: v).map(Value.int)
        case (.int32, .double(let v)): return Int32(exactly: v).map { .int(Int64($0)) }
        case (.timestamp, .int(let v)): return .timestamp(Timestamp(microseconds: v))
        case (.timestamp, .string(let v)): return Timestamp(v).map(Value.timestamp)
        case (.timestamp, .date): return value.time.map(Value.timestamp)
        case (.date, .string(var v)): return v.withUTF8 { CivilDate.parse($0) }.map(Value.date)
        default: return nil
        }
    }
}
