import Contracts

/// Reads one message of protobuf's wire format, field by field. Groups, which ONNX does not use, are refused.
struct ProtobufReader {
    enum Value {
        case varint(UInt64)
        /// Four or eight bytes.
        case fixed(Range<Int>)
        /// Bytes, a text, a message or packed numbers.
        case bytes(Range<Int>)
    }

    struct Field {
        let number: UInt64
        let value: Value
        /// All bytes of the field, its tag included.
        let range: Range<Int>
    }

    private let bytes: UnsafeRawBufferPointer
    private var at: Int
    private let end: Int

    /// - Parameter range: the message's place in `bytes`.
    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
    }

    /// - Returns: nil at the end of the message.
    /// - Throws: `corrupted` for what is no field.
    mutating func next() throws(KeelError) -> Field? {
        guard at < end else { return nil }
        let start = at
        let tag = try varint(bytesMax: 5)
        guard tag <= UInt32.max, tag >> 3 > 0 else { throw ProtobufReader.damaged("a field has no number") }
        let value: Value
        switch tag & 7 {
        case 0: value = .varint(try varint(bytesMax: 10))
        case 1: value = .fixed(try take(8))
        case 5: value = .fixed(try take(4))
        case 2:
            let length = try varint(bytesMax: 5)
            guard length <= UInt64(end - at) else { throw ProtobufReader.damaged("a field is cut off") }
            value = .bytes(try take(Int(length)))
        default: throw ProtobufReader.damaged("a field has an unknown wire type")
        }
        return Field(number: tag >> 3, value: value, range: start..<at)
    }

    /// The next number, as in a packed list; nil at the end.
    mutating func nextVarint() throws(KeelError) -> UInt64? {
        guard at < end else { return nil }
        return try varint(bytesMax: 10)
    }

    private mutating func varint(bytesMax: Int) throws(KeelError) -> UInt64 {
        var value: UInt64 = 0
        for i in 0..<bytesMax {
            guard at < end else { throw ProtobufReader.damaged("it ends too early") }
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7f) << UInt64(7 * i)
            if byte < 0x80 { return value }
        }
        throw ProtobufReader.damaged("a number is too long")
    }

    private mutating func take(_ count: Int) throws(KeelError) -> Range<Int> {
        guard end - at >= count else { throw ProtobufReader.damaged("it ends too early") }
        defer { at += count }
        return at..<at + count
    }

    static func damaged(_ what: String) -> KeelError { KeelError(.corrupted, "the file is not a whole ONNX model: \(what)") }
}

extension [UInt8] {
    /// Calls `body` with the bytes; a typed error passes through.
    func withBytes<T>(_ body: (UnsafeRawBufferPointer) throws(KeelError) -> T) throws(KeelError) -> T {
        let result: Result<T, KeelError> = withUnsafeBytes { bytes in
            do throws(KeelError) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
