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
            let converted = isTyped ? column : try column.converted(to: service.requestFields[slot].type, name: service.requestFields[slot].name)
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
}
