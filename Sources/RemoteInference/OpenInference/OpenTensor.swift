import Contracts

/// A named tensor of a model: its datatype on the wire, and the type that one row of it has in a table.
package struct OpenTensor: Sendable, Hashable {
    let name: String
    let datatype: Datatype
    /// Of one row.
    let type: DataType
    /// The dimensions behind that of the rows, as they are sent; −1 is free. A value a row may be a dimension of 1, or none.
    let row: [Int]

    /// A tensor that nothing but its declaration describes.
    package init(_ name: String, _ type: DataType) {
        self.name = name
        self.type = type
        datatype = Datatype(of: type)
        if case .tensor(_, let shape) = type { row = shape } else { row = [] }
    }

    /// A tensor as a server describes it.
    /// - Parameter wanted: the type that is declared for it; its own when nil.
    init(
        _ name: String, _ datatype: Datatype, _ shape: [Int], as wanted: DataType?, _ server: RemoteServer, _ field: String
    ) throws(KeelError) {
        guard shape.first == -1 else {
            throw KeelError(
                .contractViolation, "'\(name)' of \(server.name) has the shape \(shape)", hint: "its first dimension must be free (-1): it is that of the rows")
        }
        let row = Array(shape.dropFirst())
        guard row.allSatisfy({ $0 == -1 || $0 > 0 }) else { throw server.broken("describes '\(name)' with the shape \(shape)") }
        self.name = name
        self.datatype = datatype
        self.row = row
        // A dimension of one holds a value.
        let isValue = row.allSatisfy { $0 == 1 }
        guard let wanted else {
            type = isValue ? datatype.element : .tensor(datatype.element, shape: row)
            return
        }
        let element: DataType
        let fits: Bool
        if case .tensor(let inner, let shape) = wanted {
            element = inner
            fits = shape.count == row.count && zip(shape, row).allSatisfy { $0 == $1 || $1 == -1 || $0 == -1 }
        } else {
            element = wanted
            fits = isValue || row.count == 1 && row[0] == -1
        }
        guard fits, element == datatype.element || datatype == .bytes && element == .bytes else {
            throw OpenInference.mismatch(
                server, field, "'\(name)' is declared as \(wanted), and \(server.name) says \(datatype.rawValue) of the shape \(shape)",
                hint: "declare it as \(isValue ? datatype.element : .tensor(datatype.element, shape: row)), or leave it out")
        }
        type = wanted
    }

    var json: JSON {
        [
            "name": .string(name), "datatype": .string(datatype.rawValue), "type": .string(type.description), "row": .array(row.map { .int(Int64($0)) }),
        ]
    }

    package init(_ reader: FieldReader) throws(KeelError) {
        name = try reader.string("name")
        datatype = try reader.word("datatype")
        type = try DataType(parsing: try reader.string("type"))
        row = try reader.required("row").array?.compactMap { $0.integer.map { Int($0) } } ?? []
        try reader.finish()
    }
}
