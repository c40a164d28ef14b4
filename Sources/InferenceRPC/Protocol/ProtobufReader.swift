import Contracts

/// Reads the fields of one protobuf message in the order in which they stand (protobuf.dev, "Encoding").
///
/// It points into bytes that the caller keeps. Nothing is copied until a value is asked for.
package struct ProtobufReader {
    /// One field: its number, and its value as it stands in the message.
    package struct Field {
        package enum Value {
            case varint(UInt64)
            case fixed64(UInt64)
            case fixed32(UInt32)
            /// A text, bytes, a message, or packed numbers.
            case bytes(UnsafeRawBufferPointer)
        }
        package let number: Int
        package let value: Value
    }

    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The next field; nil at the end.
    /// - Throws: `invalidArgument` for what is no protobuf.
    package mutating func next() throws(KeelError) -> Field? {
        guard at < bytes.count else { return nil }
        let tag = try varint()
        let number = Int(truncatingIfNeeded: tag >> 3)
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else { throw ProtobufReader.broken("a field has the number \(tag >> 3)") }
        switch tag & 7 {
        case 0: return Field(number: number, value: .varint(try varint()))
        case 1: return Field(number: number, value: .fixed64(try fixed(UInt64.self)))
        case 5: return Field(number: number, value: .fixed32(try fixed(UInt32.self)))
        case 2:
            let length = try varint()
            guard length <= UInt64(bytes.count - at) else { throw ProtobufReader.broken("a field ends behind the message") }
            let part = UnsafeRawBufferPointer(rebasing: bytes[at..<at + Int(length)])
            at += Int(length)
            return Field(number: number, value: .bytes(part))
        default: throw ProtobufReader.broken("a field has the wire type \(tag & 7)")
        }
    }

    /// Calls `body` with each field. What it does not know it ignores, as protobuf wants it.
    package static func fields(
        of bytes: UnsafeRawBufferPointer, _ body: (Field) throws(KeelError) -> Void
    ) throws(KeelError) {
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() { try body(field) }
    }

    /// Calls `body` with each number of packed varints.
    package static func varints(in bytes: UnsafeRawBufferPointer, _ body: (UInt64) throws(KeelError) -> Void) throws(KeelError) {
        var reader = ProtobufReader(bytes)
        while reader.at < bytes.count { try body(try reader.varint()) }
    }

    private mutating func varint() throws(KeelError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            guard shift < 63 || byte <= 1 else { break }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw ProtobufReader.broken("a number does not end")
    }

    private mutating func fixed<Integer: FixedWidthInteger>(_: Integer.Type) throws(KeelError) -> Integer {
        let size = MemoryLayout<Integer>.size
        guard bytes.count - at >= size else { throw ProtobufReader.broken("a number does not end") }
        let value = Integer(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: Integer.self))
        at += size
        return value
    }

    static func broken(_ what: String) -> KeelError { .invalid("the message is not protobuf: \(what)") }
}

extension ProtobufReader.Field {
    /// - Throws: `invalidArgument` for a field of another type, or text that is not UTF-8.
    package func text() throws(KeelError) -> String {
        guard let text = String(validating: try bytes(), as: UTF8.self) else { throw .invalid("is not valid UTF-8") }
        return text
    }

    package func bytes() throws(KeelError) -> UnsafeRawBufferPointer {
        guard case .bytes(let bytes) = value else { throw ProtobufReader.broken("the field \(number) has another type") }
        return bytes
    }

    package func integer() throws(KeelError) -> Int64 {
        guard case .varint(let number) = value else { throw ProtobufReader.broken("the field \(self.number) has another type") }
        return Int64(truncatingIfNeeded: number)
    }
}
