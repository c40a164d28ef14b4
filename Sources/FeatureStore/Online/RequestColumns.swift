import Contracts

/// A request checked against the fields a service asks for, each column in its field's type.
struct RequestColumns {
    let columns: [Column]
    let rowCount: Int

    /// Columns may come as APIs parse them: whole numbers for floats, instants as ISO 8601 text or µs, days as text.
    ///
    /// - Throws: `contractViolation` that names the column that is missing, unknown or of a wrong type, and the row.
    init(_ request: Table, _ service: ResolvedService) throws(KeelError) {
        var columns: [Column] = []
        columns.reserveCapacity(service.requestFields.count)
        for slot in service.requestFields.indices {
            // The usual request has its columns in the order of the fields; a whole field is copied only for an error.
            let inPlace = slot < request.names.count && request.names[slot] == service.requestFields[slot].name
            guard let column = inPlace ? request.columns[slot] : request[service.requestFields[slot].name] else {
                let field = service.requestFields[slot]
                let strangers = request.names.filter { name in !service.requestFields.contains { $0.name == name } }
                throw KeelError(
                    .contractViolation,
                    "the request lacks the column '\(field.name)' (\(field.type)) that feature service '\(service.name)' needs",
                    hint: nearest(field.name, in: strangers).map { "is '\($0)' meant to be '\(field.name)'?" }, path: field.name)
            }
            let isTyped = column.type == service.requestFields[slot].type
            let converted = isTyped ? column : try RequestColumns.convert(column, to: service.requestFields[slot])
            if slot == service.timeSlot, converted.nullCount > 0 {
                let field = service.requestFields[slot]
                throw KeelError(
                    .contractViolation, "'\(field.name)' says as of when features are read and must have a value", path: field.name)
            }
            columns.append(converted)
        }
        if request.names.count > columns.count,
            let stranger = request.names.first(where: { name in !service.requestFields.contains { $0.name == name } })
        {
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
    func time(_ row: Int, _ service: ResolvedService, now: Int64) -> Int64 { times(service)?[row] ?? now }

    /// The values of the time column, µs; nil when the service names none.
    func times(_ service: ResolvedService) -> [Int64]? {
        guard let slot = service.timeSlot, case .int64(let v) = columns[slot].buffer else { return nil }
        return v
    }

    static func convert(_ column: Column, to field: Field) throws(KeelError) -> Column {
        if field.type == .timestamp, case .text(let texts) = column.buffer, column.validity == nil, column.type == .string,
            let times = RequestColumns.instants(texts)
        {
            return Column(.timestamp, .int64(times))
        }
        // A column of nothing but nulls has no type of its own.
        if column.nullCount == column.count, column.count > 0 {
            return try Column(field.type, values: Array(repeating: .null, count: column.count))
        }
        var out = Column(field.type)
        for row in 0..<column.count {
            let value = column[row]
            guard let converted = convert(value, to: field.type) else {
                let shown = value.description
                throw KeelError(
                    .contractViolation, "'\(field.name)' must be a \(field.type), not \(column.type) '\(shown.prefix(60))'",
                    hint: field.type == .timestamp
                        ? "an instant is written 2013-04-01T10:15:00Z, or as µs since 1970; \(Timestamp.rangeHint)" : nil,
                    path: column.count == 1 ? field.name : "\(field.name)[\(row)]")
            }
            try placed(field.name) { () throws(KeelError) in try out.append(converted) }
        }
        return out
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
        case (.float32, .int), (.float64, .int), (.float32, .double), (.float64, .double): return value.number.map(Value.double)
        case (.int64, .int): return value
        case (.int32, .int(let v)): return Int32(exactly: v) == nil ? nil : value
        case (.int64, .double(let v)): return Int64(exactly: v).map(Value.int)
        case (.int32, .double(let v)): return Int32(exactly: v).map { .int(Int64($0)) }
        case (.timestamp, .int(let v)): return Timestamp(exactly: v).map(Value.timestamp)
        case (.timestamp, .string(let v)): return Timestamp(v).map(Value.timestamp)
        case (.timestamp, .date): return value.time.map(Value.timestamp)
        case (.date, .string(var v)): return v.withUTF8 { CivilDate.parse($0) }.map(Value.date)
        default: return nil
        }
    }
}
