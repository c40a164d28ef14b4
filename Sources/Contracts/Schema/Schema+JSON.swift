extension Field {
    /// As in a `Dataset` resource; what has its default is left out.
    public var json: JSON {
        var out: JSON = ["name": .string(name), "type": .string(type.description)]
        if nullable { out["nullable"] = true }
        if minimum != nil || maximum != nil { out["range"] = .array([minimum, maximum].map { $0.map(JSON.double) ?? .null }) }
        if let oneOf { out["oneOf"] = .array(oneOf.map(JSON.string)) }
        if let pattern { out["pattern"] = .string(pattern) }
        if let unit { out["unit"] = .string(unit) }
        if personal { out["personal"] = true }
        return out
    }

    /// Reads the fields of a column; the caller may read more from the reader, and calls `finish()`.
    public init(_ reader: FieldReader) throws(KeelError) {
        try self.init(stored: reader)
        if let minimum, let maximum, minimum > maximum { throw reader.failure("range", "begins above its end", hint: Field.rangeHint) }
    }

    /// What to do about a range whose ends are swapped.
    public static let rangeHint = "write the smallest value first"

    /// The column without a look at whether its rules contradict one another.
    fileprivate init(stored reader: FieldReader) throws(KeelError) {
        let typeName = try reader.string("type")
        let type: DataType
        do throws(KeelError) { type = try DataType(parsing: typeName) } catch {
            throw reader.failure("type", error.message, hint: error.hint)
        }
        self.init(
            try reader.string("name"), type, nullable: try reader.optionalBool("nullable") ?? false, oneOf: try reader.strings("oneOf"),
            pattern: try reader.optionalString("pattern"), unit: try reader.optionalString("unit"),
            personal: try reader.optionalBool("personal") ?? false)
        guard let range = reader.optional("range") else { return }
        guard let bounds = range.array, bounds.count == 2, bounds.allSatisfy({ $0.isNull || $0.number != nil }) else {
            throw reader.failure(
                "range", "must be two numbers, the smallest and the largest", hint: "null leaves a side open, as in [0, null]")
        }
        (minimum, maximum) = (bounds[0].number, bounds[1].number)
    }
}

extension Schema {
    /// Columns and their roles, as in a `Dataset` resource.
    public var json: JSON {
        var out: JSON = ["columns": .array(fields.map(\.json))]
        if !key.isEmpty { out["key"] = .array(key.map(JSON.string)) }
        if let eventTime { out["eventTime"] = .string(eventTime) }
        if let label { out["label"] = .string(label) }
        return out
    }

    /// - Throws: when a field is unknown, of a wrong type, or the contract contradicts itself.
    public init(json: JSON, path: String = "schema") throws(KeelError) {
        let reader = try FieldReader(json, path: path)
        var fields: [Field] = []
        for item in try reader.objects("columns") {
            fields.append(try Field(item))
            try item.finish()
        }
        self.init(
            fields, key: try reader.strings("key") ?? [], eventTime: try reader.optionalString("eventTime"),
            label: try reader.optionalString("label"))
        try reader.finish()
        do throws(KeelError) { try validate() } catch { throw error.at(path) }
    }

    /// Reads a contract that was stored with data, as it is.
    ///
    /// Its rules were checked when it was declared. Checking them again would only make data unreadable, under a rule that came later or that the
    /// declaration was not held to.
    /// - Throws: when a part that is needed is missing or has another type.
    public init(stored json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "schema")
        var fields: [Field] = []
        for item in try reader.objects("columns") { fields.append(try Field(stored: item)) }
        self.init(
            fields, key: try reader.strings("key") ?? [], eventTime: try reader.optionalString("eventTime"),
            label: try reader.optionalString("label"))
    }
}
