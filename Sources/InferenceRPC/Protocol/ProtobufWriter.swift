/// Writes the fields of protobuf messages. As proto3 has it, what is zero or empty is left out.
package struct ProtobufWriter {
    package private(set) var bytes: [UInt8] = []

    package init(capacity: Int = 64) { bytes.reserveCapacity(capacity) }

    package mutating func text(_ number: Int, _ value: String) {
        if !value.isEmpty { element(number, value) }
    }

    /// A text of a list, where an empty one counts.
    package mutating func element(_ number: Int, _ value: String) {
        tag(number, 2)
        varint(UInt64(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    package mutating func data(_ number: Int, _ value: some Collection<UInt8>) {
        tag(number, 2)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    package mutating func integer(_ number: Int, _ value: Int) {
        guard value != 0 else { return }
        tag(number, 0)
        varint(UInt64(bitPattern: Int64(value)))
    }

    package mutating func bool(_ number: Int, _ value: Bool) { integer(number, value ? 1 : 0) }

    package mutating func varints(_ number: Int, _ values: some Sequence<UInt64>) {
        var packed = ProtobufWriter()
        for value in values { packed.varint(value) }
        if !packed.bytes.isEmpty { data(number, packed.bytes) }
    }

    /// A message within this one.
    package mutating func message(_ number: Int, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        data(number, inner.bytes)
    }

    private mutating func tag(_ number: Int, _ type: Int) { varint(UInt64(number << 3 | type)) }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}
