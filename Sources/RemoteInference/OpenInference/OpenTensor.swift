import Contracts

/// A named tensor of a model: its datatype on the wire, and the type that one row of it has in a table.
package struct OpenTensor: Sendable, Hashable {
    package enum Datatype: String, Sendable, CaseIterable {
        case bool = "BOOL"
        case uint8 = "UINT8"
        case uint16 = "UINT16"
        case uint32 = "UINT32"
        case uint64 = "UINT64"
        case int8 = "INT8"
        case int16 = "INT16"
        case int32 = "INT32"
        case int64 = "INT64"
        case fp16 = "FP16"
        case bf16 = "BF16"
        case fp32 = "FP32"
        case fp64 = "FP64"
        case bytes = "BYTES"

        /// The type of Keel's that holds all its values (of UINT64 those up to 2⁶³).
        var element: DataType {
            switch self {
            case .bool: .bool
            case .int8, .int16, .int32, .uint8, .uint16: .int32
            case .uint32, .int64, .uint64: .int64
            case .fp16, .bf16, .fp32: .float32
            case .fp64: .float64
            case .bytes: .string
            }
        }

        /// Bytes of one element in binary data; nil for texts, which carry their length.
        var size: Int? {
            switch self {
            case .bool, .uint8, .int8: 1
            case .uint16, .int16, .fp16, .bf16: 2
            case .uint32, .int32, .fp32: 4
            case .uint64, .int64, .fp64: 8
            case .bytes: nil
            }
        }

        /// The whole numbers that it holds and Keel does; nil for what is no integer.
        var integers: ClosedRange<Int64>? {
            switch self {
            case .uint8: 0...Int64(UInt8.max)
            case .uint16: 0...Int64(UInt16.max)
            case .uint32: 0...Int64(UInt32.max)
            case .uint64: 0...Int64.max
            case .int8: Int64(Int8.min)...Int64(Int8.max)
            case .int16: Int64(Int16.min)...Int64(Int16.max)
            case .int32: Int64(Int32.min)...Int64(Int32.max)
            case .int64: .min ... .max
            case .bool, .fp16, .bf16, .fp32, .fp64, .bytes: nil
            }
        }
    }

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
        let element: DataType
        if case .tensor(let inner, let shape) = type {
            element = inner
            row = shape
        } else {
            element = type
            row = []
        }
        switch element {
        case .bool: datatype = .bool
        case .int32: datatype = .int32
        case .int64: datatype = .int64
        case .float32: datatype = .fp32
        case .float64: datatype = .fp64
        default: datatype = .bytes
        }
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
