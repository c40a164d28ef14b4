import Contracts

/// A request of MLflow's scoring protocol (`POST /invocations`): exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`, and `params`.
public struct Invocation: Sendable {
    public let table: Table
    public let params: JSON

    /// - Parameter fields: the columns that the endpoint takes, by which values without a name get theirs: `inputs` or `instances` of a model with one tensor.
    /// - Throws: `invalidArgument` that names the place.
    public init(parsing bytes: [UInt8], fields: [Field]) throws(KeelError) {
        let reader = try FieldReader(try JSON.parse(bytes), path: "")
        let forms = ["dataframe_split", "dataframe_records", "instances", "inputs"]
        let given = forms.filter { reader.optional($0) != nil }
        params = reader.optional("params") ?? .null
        guard params.isNull || params.members != nil else { throw .invalid("must be an object, not \(params.kind)", path: "params") }
        guard given.count == 1, let form = given.first else {
            throw .invalid("exactly one of \(forms.joined(separator: ", ")) is needed, not \(given.count)")
        }
        try reader.finish()
        let body = try reader.required(form)
        switch form {
        case "dataframe_split": table = try Invocation.split(body)
        case "inputs" where body.members != nil: table = try Invocation.columns(body)
        case "inputs", "instances":
            if body.array?.first?.members != nil {
                table = try Invocation.records(body, form)
            } else {
                table = try Invocation.unnamed(body, form, fields)
            }
        default: table = try Invocation.records(body, form)
        }
    }

    /// The outputs as MLflow's server writes them: of one output the values, else a record a row.
    static func predictions(_ outputs: Table) -> JSON {
        func value(_ column: Column, _ i: Int) -> JSON {
            if case .tensor(_, let shape) = column.type, case .list(let items) = column[i] { return nested(items[...], shape[...]) }
            return JSON(column[i])
        }
        return .array(
            (0..<outputs.rowCount).map { i in
                guard outputs.columns.count != 1 else { return value(outputs.columns[0], i) }
                return .object(zip(outputs.names, outputs.columns).map { JSON.Member($0, value($1, i)) })
            })
    }

    private static func nested(_ items: ArraySlice<Value>, _ shape: ArraySlice<Int>) -> JSON {
        guard shape.count > 1, let first = shape.first, first > 0 else { return .array(items.map { JSON($0) }) }
        let size = items.count / first
        return .array(
            (0..<first).map { nested(items[items.startIndex + $0 * size..<items.startIndex + ($0 + 1) * size], shape.dropFirst()) })
    }

    private static func split(_ body: JSON) throws(KeelError) -> Table {
        let reader = try FieldReader(body, path: "dataframe_split")
        let names = try reader.strings("columns") ?? []
        _ = reader.optional("index")
        guard let rows = try reader.required("data").array else { throw reader.failure("data", "must be a list of rows") }
        try reader.finish()
        var values = names.map { _ in [JSON]() }
        for (i, row) in rows.enumerated() {
            guard let cells = row.array, cells.count == names.count else {
                throw .invalid("must be a list of \(names.count) values", path: "dataframe_split.data[\(i)]")
            }
            for (j, cell) in cells.enumerated() { values[j].append(cell) }
        }
        return try table(zip(names, values).map { ($0, $1) })
    }

    private static func records(_ body: JSON, _ form: String) throws(KeelError) -> Table {
        guard let rows = body.array, let names = rows.first?.members?.map(\.key) else {
            throw .invalid("must be a list of objects", path: form)
        }
        var values = names.map { _ in [JSON]() }
        for (i, row) in rows.enumerated() {
            guard let members = row.members else { throw .invalid("must be an object, not \(row.kind)", path: "\(form)[\(i)]") }
            for (j, name) in names.enumerated() { values[j].append(row[name] ?? .null) }
            if let stranger = members.first(where: { !names.contains($0.key) }) {
                throw .invalid("column '\(stranger.key)' is not in the first row", path: "\(form)[\(i)]")
            }
        }
        return try table(zip(names, values).map { ($0, $1) })
    }

    private static func columns(_ body: JSON) throws(KeelError) -> Table {
        var pairs: [(String, [JSON])] = []
        for member in body.members ?? [] { pairs.append((member.key, member.value.array ?? [member.value])) }
        return try table(pairs)
    }

    /// Values without names: of a model with one input they are its rows; of one with several, each row is a list of them in order.
    private static func unnamed(_ body: JSON, _ form: String, _ fields: [Field]) throws(KeelError) -> Table {
        guard let rows = body.array else { throw .invalid("must be a list of rows", path: form) }
        if fields.count == 1, let only = fields.first { return try table([(only.name, rows)]) }
        var values = fields.map { _ in [JSON]() }
        for (i, row) in rows.enumerated() {
            guard let cells = row.array, cells.count == fields.count else {
                throw .invalid(
                    "must be a list of \(fields.count) values", hint: "in this order: \(fields.map(\.name).joined(separator: ", "))",
                    path: "\(form)[\(i)]")
            }
            for (j, cell) in cells.enumerated() { values[j].append(cell) }
        }
        return try table(zip(fields, values).map { ($0.name, $1) })
    }

    private static func table(_ pairs: [(String, [JSON])]) throws(KeelError) -> Table {
        var out: [(name: String, column: Column)] = []
        for (name, values) in pairs {
            do throws(KeelError) { out.append((name, try column(values))) } catch { throw error.at(name) }
        }
        return try Table(out)
    }

    /// The type of a column is that of its values; whole numbers beside fractions are float64, lists of numbers tensors.
    private static func column(_ cells: [JSON]) throws(KeelError) -> Column {
        guard cells.contains(where: { $0.array != nil }) else { return try scalars(cells.map(\.value)) }
        var shape: [Int]?
        var elements: [Value] = []
        for (i, cell) in cells.enumerated() {
            var dimensions: [Int] = []
            try flatten(cell, 0, &dimensions, &elements, at: i)
            guard shape == nil || shape == dimensions else {
                throw .invalid("is a list of the shape \(dimensions), that of the first row is \(shape ?? [])", path: "[\(i)]")
            }
            shape = dimensions
        }
        let size = (shape ?? []).reduce(1, *)
        let values = try scalars(elements)
        return Column(.tensor(values.type, shape: shape ?? []), .list(offsets: (0...cells.count).map { $0 * size }, values: values))
    }

    private static func flatten(_ cell: JSON, _ level: Int, _ shape: inout [Int], _ out: inout [Value], at row: Int) throws(KeelError) {
        guard let items = cell.array else { throw .invalid("is \(cell.kind) where other rows have a list", path: "[\(row)]") }
        guard level < 8 else { throw .invalid("is nested more than 8 levels", path: "[\(row)]") }
        if shape.count == level { shape.append(items.count) }
        guard shape[level] == items.count else { throw .invalid("holds lists of different lengths", path: "[\(row)]") }
        let isNested = items.first?.array != nil
        for item in items {
            guard (item.array != nil) == isNested else { throw .invalid("holds lists beside values", path: "[\(row)]") }
            if isNested { try flatten(item, level + 1, &shape, &out, at: row) } else { out.append(item.value) }
        }
    }

    private static func scalars(_ values: [Value]) throws(KeelError) -> Column {
        var type: DataType?
        for value in values {
            switch value {
            case .bool: type = type ?? .bool
            case .int: type = type == .float64 ? .float64 : type ?? .int64
            case .double: type = type == nil || type == .int64 || type == .float64 ? .float64 : type
            case .string: type = type ?? .string
            default: continue
            }
        }
        return try Column(type ?? .float64, values: values)
    }
}
