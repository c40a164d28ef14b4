import Contracts

/// Tables out of JSON, in the shapes that scoring protocols write them.
///
/// The type of a column is that of its values; whole numbers beside fractions are float64, lists of numbers tensors. What an endpoint takes decides where
/// values alone do not: lists of different lengths, and bytes, which are Base64.
struct JSONTable {
    /// How bytes are written.
    enum Bytes {
        /// A text in Base64, in columns of bytes.
        case base64
        /// An object `{"b64": …}`, in any column (TensorFlow Serving's REST API).
        case objects
    }

    /// The columns that the endpoint takes.
    let fields: [Field]
    /// Those of them that a row may leave out.
    var optional: [String] = []
    let bytes: Bytes
    private static let levelsMax = 8

    /// Objects, one a row. A column that the endpoint takes is in every row or in none, unless it is optional: then a row that leaves it out has no value.
    func records(_ body: JSON, _ place: String) throws(KeelError) -> Table {
        guard let rows = body.array, !rows.isEmpty else { throw .invalid("must be a list of objects, one a row", path: place) }
        var names: [String] = []
        var columns: [String: Int] = [:]
        var cells: [[JSON]] = []
        for (i, row) in rows.enumerated() {
            guard let members = row.members else { throw .invalid("must be an object, not \(row.kind)", path: "\(place)[\(i)]") }
            for member in members {
                if let column = columns[member.key] {
                    cells[column].append(member.value)
                } else {
                    if i > 0 { try requireOptional(member.key, missingIn: "\(place)[0]") }
                    columns[member.key] = names.count
                    names.append(member.key)
                    cells.append(Array(repeating: .null, count: i) + [member.value])
                }
            }
            for column in cells.indices where cells[column].count == i {
                try requireOptional(names[column], missingIn: "\(place)[\(i)]")
                cells[column].append(.null)
            }
        }
        return try table(names, cells)
    }

    private func requireOptional(_ name: String, missingIn row: String) throws(KeelError) {
        guard fields.contains(where: { $0.name == name }), !optional.contains(name) else { return }
        throw KeelError(
            .contractViolation, "column '\(name)' is missing in this row, and not in others", hint: "a value that is not known is null", path: "\(row).\(name)")
    }

    /// Lists of values, one a row, for names in this order.
    func rows(_ rows: [JSON], of names: [String], _ place: String) throws(KeelError) -> Table {
        var cells = names.map { _ in [JSON]() }
        for (i, row) in rows.enumerated() {
            guard let values = row.array, values.count == names.count else {
                throw .invalid("must be a list of \(names.count) values", hint: "in this order: \(names.joined(separator: ", "))", path: "\(place)[\(i)]")
            }
            for (j, value) in values.enumerated() { cells[j].append(value) }
        }
        return try table(names, cells)
    }

    /// A list of values for each name, where a value alone is one row; or values without names.
    func named(_ body: JSON, _ place: String) throws(KeelError) -> Table {
        guard let members = body.members, !isBytes(body) else { return try unnamed(body, place) }
        return try table(members.map(\.key), members.map { $0.value.array ?? [$0.value] })
    }

    /// Whether it is the object that stands for bytes.
    private func isBytes(_ json: JSON) -> Bool { bytes == .objects && json.members?.count == 1 && json["b64"] != nil }

    /// Values without names: of an endpoint with one column they are its rows; of one with several, each row is a list of them in order.
    func unnamed(_ body: JSON, _ place: String) throws(KeelError) -> Table {
        let rows = body.array ?? [body]
        if let first = rows.first, first.members != nil, !isBytes(first) { return try records(.array(rows), place) }
        if fields.count == 1, let only = fields.first { return try table([only.name], [rows]) }
        return try self.rows(rows, of: fields.map(\.name), place)
    }

    func table(_ names: [String], _ cells: [[JSON]]) throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for (name, values) in zip(names, cells) {
            let type = fields.first { $0.name == name }?.type
            do throws(KeelError) { pairs.append((name, try column(values, type))) } catch { throw error.at(name) }
        }
        return try Table(pairs)
    }

    // MARK: Columns

    private func column(_ cells: [JSON], _ type: DataType?) throws(KeelError) -> Column {
        let isBytes = type.map(JSONTable.holdsBytes) ?? false
        guard cells.contains(where: { $0.array != nil }) else {
            return try JSONTable.scalars(try values(cells, isBytes) { "[\($0)]" })
        }
        if case .list = type { return try list(cells, isBytes) }
        var shape: [Int]?
        var elements: [JSON] = []
        for (i, cell) in cells.enumerated() {
            var dimensions: [Int] = []
            let start = elements.count
            try JSONTable.flatten(cell, 0, &dimensions, &elements, from: start, at: i)
            guard shape == nil || shape == dimensions else {
                throw .invalid("is a list of the shape \(dimensions), that of the first row is \(shape ?? [])", path: "[\(i)]")
            }
            shape = dimensions
        }
        let size = (shape ?? []).reduce(1, *)
        let column = try JSONTable.scalars(try values(elements, isBytes) { "[\($0 / max(size, 1))]" })
        return Column(.tensor(column.type, shape: shape ?? []), .list(offsets: (0...cells.count).map { $0 * size }, values: column))
    }

    /// Lists of any length.
    private func list(_ cells: [JSON], _ isBytes: Bool) throws(KeelError) -> Column {
        var offsets = [0]
        var elements: [JSON] = []
        var validity = Bitmap()
        for (i, cell) in cells.enumerated() {
            guard let items = cell.array ?? (cell.isNull ? [] : nil) else { throw .invalid("is \(cell.kind) where other rows have a list", path: "[\(i)]") }
            elements += items
            offsets.append(elements.count)
            validity.append(!cell.isNull)
        }
        let column = try JSONTable.scalars(try values(elements, isBytes) { at in "[\((offsets.firstIndex { $0 > at } ?? 1) - 1)]" })
        return Column(.list(column.type), .list(offsets: offsets, values: column), validity: validity)
    }

    private static func holdsBytes(_ type: DataType) -> Bool {
        switch type {
        case .bytes: true
        case .list(let element), .tensor(let element, _): holdsBytes(element)
        default: false
        }
    }

    private func values(_ cells: [JSON], _ isBytes: Bool, place: (Int) -> String) throws(KeelError) -> [Value] {
        var out: [Value] = []
        out.reserveCapacity(cells.count)
        for (i, cell) in cells.enumerated() {
            let encoded =
                switch bytes {
                case .base64: isBytes ? cell.string : nil
                case .objects: cell.members?.count == 1 ? cell["b64"]?.string : nil
                }
            guard let encoded else {
                out.append(cell.value)
                continue
            }
            // MLflow's client breaks long texts into lines.
            guard let decoded = Base64.decode(encoded.contains("\n") ? encoded.filter { !$0.isWhitespace } : encoded) else {
                throw .invalid("is not Base64", hint: "bytes are sent as Base64, with padding", path: place(i))
            }
            out.append(.bytes(decoded))
        }
        return out
    }

    /// - Parameter start: how many values there were before this row.
    private static func flatten(
        _ cell: JSON, _ level: Int, _ shape: inout [Int], _ out: inout [JSON], from start: Int, at row: Int
    ) throws(KeelError) {
        guard let items = cell.array else { throw .invalid("is \(cell.kind) where other rows have a list", path: "[\(row)]") }
        guard level < levelsMax else { throw .invalid("is nested more than \(levelsMax) levels", path: "[\(row)]") }
        if shape.count == level { shape.append(items.count) }
        guard shape[level] == items.count else { throw .invalid("holds lists of different lengths", path: "[\(row)]") }
        let isNested = items.first?.array != nil
        // All values are on the level of the first one.
        guard isNested ? level < shape.count - 1 || out.count == start : level == shape.count - 1 else {
            throw .invalid("holds lists of different depths", path: "[\(row)]")
        }
        for item in items {
            guard (item.array != nil) == isNested else { throw .invalid("holds lists beside values", path: "[\(row)]") }
            if isNested { try flatten(item, level + 1, &shape, &out, from: start, at: row) } else { out.append(item) }
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
            case .bytes: type = type ?? .bytes
            default: continue
            }
        }
        return try Column(type ?? .float64, values: values)
    }

    // MARK: Answers

    /// One value of a row: tensors as nested lists, bytes as Base64.
    static func json(_ column: Column, _ i: Int) -> JSON {
        if case .tensor(_, let shape) = column.type, case .list(let items) = column[i] { return nested(items[...], shape[...]) }
        return scalar(column[i])
    }

    /// A row as an object.
    static func object(_ table: Table, _ i: Int) -> [JSON.Member] {
        zip(table.names, table.columns).map { JSON.Member($0, json($1, i)) }
    }

    private static func scalar(_ value: Value) -> JSON {
        switch value {
        case .bytes(let bytes): .string(Base64.encode(bytes))
        case .list(let items): .array(items.map(scalar))
        default: JSON(value)
        }
    }

    private static func nested(_ items: ArraySlice<Value>, _ shape: ArraySlice<Int>) -> JSON {
        guard shape.count > 1, let first = shape.first, first > 0 else { return .array(items.map(scalar)) }
        let size = items.count / first
        return .array(
            (0..<first).map { nested(items[items.startIndex + $0 * size..<items.startIndex + ($0 + 1) * size], shape.dropFirst()) })
    }
}
