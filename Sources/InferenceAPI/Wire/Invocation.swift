import Contracts

/// A request of MLflow's scoring protocol (`POST /invocations`): exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`.
public enum Invocation {
    /// - Throws: `invalidArgument` that names the place.
    public static func table(parsing bytes: [UInt8]) throws(KeelError) -> Table {
        let reader = try FieldReader(try JSON.parse(bytes), path: "")
        let forms = ["dataframe_split", "dataframe_records", "instances", "inputs"]
        let given = forms.filter { reader.optional($0) != nil }
        _ = reader.optional("params")
        guard given.count == 1, let form = given.first else {
            throw .invalid("exactly one of \(forms.joined(separator: ", ")) is needed, not \(given.count)")
        }
        try reader.finish()
        let body = try reader.required(form)
        switch form {
        case "dataframe_split": return try split(body)
        case "inputs" where body.members != nil: return try columns(body)
        default: return try records(body, form)
        }
    }

    private static func split(_ body: JSON) throws(KeelError) -> Table {
        let reader = try FieldReader(body, path: "dataframe_split")
        let names = try reader.strings("columns") ?? []
        _ = reader.optional("index")
        guard let rows = try reader.required("data").array else { throw reader.failure("data", "must be a list of rows") }
        try reader.finish()
        var values = names.map { _ in [Value]() }
        for (i, row) in rows.enumerated() {
            guard let cells = row.array, cells.count == names.count else {
                throw .invalid("must be a list of \(names.count) values", path: "dataframe_split.data[\(i)]")
            }
            for (j, cell) in cells.enumerated() { values[j].append(cell.value) }
        }
        return try table(zip(names, values).map { ($0, $1) })
    }

    private static func records(_ body: JSON, _ form: String) throws(KeelError) -> Table {
        guard let rows = body.array, let names = rows.first?.members?.map(\.key) else {
            throw .invalid("must be a list of objects", path: form)
        }
        var values = names.map { _ in [Value]() }
        for (i, row) in rows.enumerated() {
            guard let members = row.members else { throw .invalid("must be an object, not \(row.kind)", path: "\(form)[\(i)]") }
            for (j, name) in names.enumerated() { values[j].append(row[name]?.value ?? .null) }
            if let stranger = members.first(where: { !names.contains($0.key) }) {
                throw .invalid("column '\(stranger.key)' is not in the first row", path: "\(form)[\(i)]")
            }
        }
        return try table(zip(names, values).map { ($0, $1) })
    }

    private static func columns(_ body: JSON) throws(KeelError) -> Table {
        var pairs: [(String, [Value])] = []
        for member in body.members ?? [] { pairs.append((member.key, member.value.array?.map(\.value) ?? [member.value.value])) }
        return try table(pairs)
    }

    /// The type of a column is that of its values; whole numbers beside fractions are float64.
    private static func table(_ pairs: [(String, [Value])]) throws(KeelError) -> Table {
        var out: [(name: String, column: Column)] = []
        for (name, values) in pairs {
            var type: DataType?
            for value in values {
                switch value {
                case .bool: type = type ?? .bool
                case .int: type = type == .float64 ? .float64 : type ?? .int64
                case .double: type = type == nil || type == .int64 || type == .float64 ? .float64 : type
                case .string: type = type ?? .string
                case .null: continue
                default: throw .invalid("column '\(name)' holds lists", hint: "each value must be a number, a text, true, false or null")
                }
            }
            do throws(KeelError) { out.append((name, try Column(type ?? .float64, values: values))) } catch { throw error.at(name) }
        }
        return try Table(out)
    }
}
