import Contracts

/// Reads the examples that MLflow logs with a model (`input_example.json`), in any of its forms, as columns of known types.
package enum ExampleFile {
    /// Python writes NaN and Infinity into JSON, which has no such words: they are missing values here.
    package static func json(_ bytes: [UInt8]) -> JSON? {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var isInText = false
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if isInText, byte == UInt8(ascii: "\\"), at + 1 < bytes.count {
                out += bytes[at...at + 1]
                at += 2
                continue
            }
            if byte == UInt8(ascii: "\"") { isInText.toggle() }
            if !isInText, let word = ["NaN", "-Infinity", "Infinity"].first(where: { bytes[at...].starts(with: $0.utf8) }) {
                out += Array("null".utf8)
                at += word.utf8.count
                continue
            }
            out.append(byte)
            at += 1
        }
        return try? JSON.parse(out)
    }

    /// - Returns: nil for a form that is not known, or values that do not fit.
    package static func table(_ json: JSON, _ fields: [Field]) -> Table? {
        let body = json["dataframe_split"] ?? json["inputs"] ?? json["instances"] ?? json
        if let names = body["columns"]?.array, let rows = body["data"]?.array {
            return table(fields) { field in
                guard let place = names.firstIndex(where: { $0.string == field.name }) ?? (fields.count == 1 && names.count == 1 ? 0 : nil) else { return nil }
                return rows.map { $0.array.flatMap { place < $0.count ? $0[place] : nil } ?? .null }
            }
        }
        if let rows = body["data"]?.array { return unnamed(rows, fields) }
        if body.members != nil {
            return table(fields) { field in body[field.name].map { $0.array ?? [$0] } }
        }
        guard let rows = body.array else { return nil }
        if rows.first?.members != nil { return table(fields) { field in rows.map { $0[field.name] ?? .null } } }
        return unnamed(rows, fields)
    }

    private static func unnamed(_ rows: [JSON], _ fields: [Field]) -> Table? {
        if fields.count == 1 { return table(fields) { _ in rows } }
        return table(fields) { field in
            guard let place = fields.firstIndex(of: field) else { return nil }
            return rows.map { $0.array.flatMap { place < $0.count ? $0[place] : nil } ?? .null }
        }
    }

    private static func table(_ fields: [Field], _ values: (Field) -> [JSON]?) -> Table? {
        var pairs: [(name: String, column: Column)] = []
        for field in fields {
            guard let cells = values(field), let column = column(cells, field) else { return nil }
            pairs.append((field.name, column))
        }
        return try? Table(pairs)
    }

    private static func column(_ cells: [JSON], _ field: Field) -> Column? {
        guard case .tensor(let element, let shape) = field.type else {
            // A list of one value is that value.
            let values = cells.map { cell in if let items = cell.array, items.count == 1, !isList(field.type) { items[0].value } else { cell.value } }
            if field.type == .timestamp || field.type == .date || field.type == .bytes {
                return try? Column(.string, values: values).converted(to: field.type, name: field.name)
            }
            return try? Column(field.type, values: values.map { number($0, field.type) })
        }
        var rows: [Value] = []
        var concrete: [Int] = []
        for (i, cell) in cells.enumerated() {
            var items: [Value] = []
            var dimensions: [Int] = []
            flatten(cell, 0, &dimensions, &items)
            if i == 0 { concrete = dimensions }
            guard dimensions == concrete, items.count == DataType.valueCount(of: dimensions) else { return nil }
            rows.append(.list(items.map { number($0, element) }))
        }
        guard concrete.count == shape.count, zip(concrete, shape).allSatisfy({ $0 == $1 || $1 == -1 }) else { return nil }
        return try? Column(.tensor(element, shape: concrete), values: rows)
    }

    private static func isList(_ type: DataType) -> Bool { if case .list = type { true } else { false } }

    private static func number(_ value: Value, _ type: DataType) -> Value {
        if type.isInteger, case .double(let v) = value, let whole = Int64(exactly: v) { .int(whole) } else { value }
    }

    private static func flatten(_ cell: JSON, _ level: Int, _ shape: inout [Int], _ out: inout [Value]) {
        guard let items = cell.array, level < 8 else { return out.append(cell.value) }
        if shape.count == level { shape.append(items.count) }
        for item in items { flatten(item, level + 1, &shape, &out) }
    }
}
