import Contracts

/// Writes online state as bytes, little end first; lists have their length before them.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }

    mutating func put(_ text: [UInt8]) {
        put(UInt32(text.count))
        bytes.append(contentsOf: text)
    }

    /// Keel runs on little-endian machines only, so words are copied as they are.
    mutating func put(_ words: ArraySlice<UInt64>) {
        put(UInt32(words.count))
        words.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ value: Value) {
        switch value {
        case .bool(let v): putTagged(1, v ? 1 : 0)
        case .int(let v): putTagged(2, UInt64(bitPattern: v))
        case .double(let v): putTagged(3, v.bitPattern)
        case .string(let v):
            put(UInt8(4))
            put(Array(v.utf8))
        case .date(let v): putTagged(5, UInt64(bitPattern: Int64(v)))
        case .timestamp(let v): putTagged(6, UInt64(bitPattern: v.microseconds))
        // No feature is of another type.
        case .null, .bytes, .list: put(UInt8(0))
        }
    }

    private mutating func putTagged(_ tag: UInt8, _ word: UInt64) {
        put(tag)
        put(word)
    }

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
}

/// Reads what `StateWriter` wrote, and refuses everything else: no length is believed before that many bytes are there.
struct StateReader {
    static let damaged = KeelError(.corrupted, "its bytes are no online state")

    private let all: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { all = bytes }

    var isAtEnd: Bool { position == all.count }

    private mutating func take(_ count: Int) throws(KeelError) -> UnsafeRawBufferPointer {
        guard count <= all.count - position else { throw StateReader.damaged }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: all[position..<position + count])
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(KeelError) -> T {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    mutating func count() throws(KeelError) -> Int { Int(try integer(UInt32.self)) }

    mutating func bytes() throws(KeelError) -> [UInt8] { StateReader.copy(try take(try count()), UInt8.self) }

    mutating func words() throws(KeelError) -> [UInt64] { StateReader.copy(try take(8 * (try count())), UInt64.self) }

    mutating func value() throws(KeelError) -> Value {
        switch try integer(UInt8.self) {
        case 0: return .null
        case 1: return .bool(try integer(UInt64.self) != 0)
        case 2: return .int(try integer())
        case 3: return .double(Double(bitPattern: try integer()))
        case 4: return .string(String(decoding: try take(try count()), as: UTF8.self))
        case 5: return .date(Int32(truncatingIfNeeded: try integer(Int64.self)))
        case 6: return .timestamp(Timestamp(microseconds: try integer()))
        default: throw StateReader.damaged
        }
    }

    /// Apart from what throws (CONTRIBUTING.md, faults of the compiler).
    @inline(never)
    private static func copy<T: BitwiseCopyable>(_ bytes: UnsafeRawBufferPointer, _ type: T.Type) -> [T] {
        [T](unsafeUninitializedCapacity: bytes.count / MemoryLayout<T>.stride) { buffer, initialized in
            UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
            initialized = bytes.count / MemoryLayout<T>.stride
        }
    }
}
