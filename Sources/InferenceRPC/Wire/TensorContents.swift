import Contracts
import InferenceAPI

/// `InferTensorContents`: the values of one input in the list that goes with its datatype.
struct TensorContents {
    let column: Column

    /// - Throws: `invalidArgument` for values in another list, and for those that do not fit the datatype, with the element as its path: `data[3]`.
    init(_ type: Datatype, of message: UnsafeRawBufferPointer) throws(KeelError) {
        guard let list = TensorContents.list(of: type) else {
            throw .invalid("\(type.rawValue) has no list of contents", hint: "send it in raw_input_contents", path: "contents")
        }
        var parts: [ProtobufReader.Field.Value] = []
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            guard (1...8).contains(field.number) else { return }
            guard field.number == list.number else {
                throw .invalid("the values of \(type.rawValue) are in \(list.name)", path: "contents")
            }
            parts.append(field.value)
        }
        switch type {
        case .bytes: column = try TensorContents.texts(parts)
        case .fp32, .fp64: column = try TensorContents.floats(type, parts)
        case .bool:
            var values: [Bool] = []
            try TensorContents.varints(parts) { (value) throws(KeelError) in values.append(value != 0) }
            column = Column(.bool, .bool(values))
        default: column = try TensorContents.integers(type, parts)
        }
    }

    /// The list that has the values of a datatype; nil for what has none.
    static func list(of type: Datatype) -> (number: Int, name: String)? {
        switch type {
        case .bool: (1, "bool_contents")
        case .int8, .int16, .int32: (2, "int_contents")
        case .int64: (3, "int64_contents")
        case .uint8, .uint16, .uint32: (4, "uint_contents")
        case .uint64: (5, "uint64_contents")
        case .fp32: (6, "fp32_contents")
        case .fp64: (7, "fp64_contents")
        case .bytes: (8, "bytes_contents")
        case .fp16, .bf16: nil
        }
    }

    /// Lists of numbers come packed; each number may also be a field of its own.
    private static func varints(_ parts: [ProtobufReader.Field.Value], _ body: (UInt64) throws(KeelError) -> Void) throws(KeelError) {
        for part in parts {
            switch part {
            case .varint(let value): try body(value)
            case .bytes(let packed): try ProtobufReader.varints(in: packed, body)
            case .fixed32, .fixed64: throw ProtobufReader.broken("a number has another type").at("contents")
            }
        }
    }

    private static func integers(_ type: Datatype, _ parts: [ProtobufReader.Field.Value]) throws(KeelError) -> Column {
        let range = type.integers ?? .min ... .max
        var values: [Int64] = []
        try varints(parts) { (value) throws(KeelError) in
            let integer = Int64(bitPattern: value)
            guard range.contains(integer) else {
                throw .invalid(
                    "\(type == .uint64 ? "\(value)" : "\(integer)") does not fit in \(type.rawValue)", hint: "it must be \(type.bounds)",
                    path: "data[\(values.count)]")
            }
            values.append(integer)
        }
        return Column(.int64, .int64(values))
    }

    /// Packed floats are what binary data are too.
    private static func floats(_ type: Datatype, _ parts: [ProtobufReader.Field.Value]) throws(KeelError) -> Column {
        let size = type.size ?? 8
        if parts.count == 1, case .bytes(let packed) = parts[0] { return try floats(type, packed, size) }
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .bytes(let packed): bytes.append(contentsOf: packed)
            case .fixed32(let value): withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
            case .fixed64(let value): withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
            case .varint: throw ProtobufReader.broken("a number has another type").at("contents")
            }
        }
        guard bytes.count % size == 0 else { throw ProtobufReader.broken("a number does not end").at("contents") }
        return try column(type, rows: bytes.count / size, bytes)
    }

    private static func floats(_ type: Datatype, _ packed: UnsafeRawBufferPointer, _ size: Int) throws(KeelError) -> Column {
        guard packed.count % size == 0 else { throw ProtobufReader.broken("a number does not end").at("contents") }
        return try TensorColumn.binary(type, rows: packed.count / size, packed)
    }

    private static func texts(_ parts: [ProtobufReader.Field.Value]) throws(KeelError) -> Column {
        var binary: [UInt8] = []
        for part in parts {
            guard case .bytes(let text) = part else { throw ProtobufReader.broken("a text has another type").at("contents") }
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: text.count).littleEndian) { binary.append(contentsOf: $0) }
            binary.append(contentsOf: text)
        }
        return try column(.bytes, rows: parts.count, binary)
    }

    private static func column(_ type: Datatype, rows: Int, _ binary: [UInt8]) throws(KeelError) -> Column {
        let read: Result<Column, KeelError> = binary.withUnsafeBytes { raw in
            do throws(KeelError) { return .success(try TensorColumn.binary(type, rows: rows, raw)) } catch { return .failure(error) }
        }
        return try read.get()
    }
}
