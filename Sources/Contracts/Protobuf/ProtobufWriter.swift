/// Writes the fields of protobuf messages (protobuf.dev, "Encoding"). As proto3 has it, what is zero or empty is left out.
package struct ProtobufWriter {
    package var bytes: [UInt8] = []

    @inlinable package init(capacity: Int = 64) { bytes.reserveCapacity(capacity) }

    @inlinable package mutating func text(_ number: Int, _ value: String) {
        if !value.isEmpty { element(number, value) }
    }

    /// A text of a list, where an empty one counts.
    @inlinable package mutating func element(_ number: Int, _ value: String) {
        tag(number, 2)
        varint(UInt64(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    @inlinable package mutating func data(_ number: Int, _ value: some Collection<UInt8>) {
        tag(number, 2)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    @inlinable package mutating func integer(_ number: Int, _ value: Int) {
        guard value != 0 else { return }
        tag(number, 0)
        varint(UInt64(bitPattern: Int64(value)))
    }

    @inlinable package mutating func bool(_ number: Int, _ value: Bool) { integer(number, value ? 1 : 0) }

    package mutating func fixed64(_ number: Int, _ value: UInt64) {
        tag(number, 1)
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func fixed32(_ number: Int, _ value: UInt32) {
        tag(number, 5)
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    @inlinable package mutating func varints(_ number: Int, _ values: some Sequence<UInt64>) {
        var packed = ProtobufWriter()
        for value in values { packed.varint(value) }
        if !packed.bytes.isEmpty { data(number, packed.bytes) }
    }

    /// A message within this one.
    @inlinable package mutating func message(_ number: Int, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        data(number, inner.bytes)
    }

    @inlinable package mutating func tag(_ number: Int, _ type: Int) { varint(UInt64(number << 3 | type)) }

    @inlinable package mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}
