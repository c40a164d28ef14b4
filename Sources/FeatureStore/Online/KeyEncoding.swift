import Contracts

/// Entity keys as bytes: equal keys, and only those, have equal bytes. Integers of either width are the same key.
enum KeyEncoding {
    static func canHold(_ type: DataType) -> Bool {
        switch type {
        case .string, .int32, .int64, .bool, .date, .timestamp: true
        default: false
        }
    }

    /// Appends the key part in row `row`; false when it is null.
    @inline(__always) static func append(_ column: Column, _ row: Int, to bytes: inout [UInt8]) -> Bool {
        guard column.isValid(row) else { return false }
        switch column.buffer {
        case .text(let v): appendText(v.bytes(row), to: &bytes)
        case .int32(let v): appendWord(Int64(v[row]), to: &bytes)
        case .int64(let v): appendWord(v[row], to: &bytes)
        case .bool(let v): appendWord(v[row] ? 1 : 0, to: &bytes)
        default: return false
        }
        return true
    }

    /// Appends the key part; false when it is null or cannot be a key.
    @inline(__always) static func append(_ value: Value, to bytes: inout [UInt8]) -> Bool {
        switch value {
        case .string(var v): v.withUTF8 { appendText($0, to: &bytes) }
        case .int(let v): appendWord(v, to: &bytes)
        case .bool(let v): appendWord(v ? 1 : 0, to: &bytes)
        case .date(let v): appendWord(Int64(v), to: &bytes)
        case .timestamp(let v): appendWord(v.microseconds, to: &bytes)
        default: return false
        }
        return true
    }

    @inline(__always) private static func appendText(_ text: some Collection<UInt8>, to bytes: inout [UInt8]) {
        appendWord(Int64(text.count), to: &bytes)
        bytes.append(contentsOf: text)
    }

    @inline(__always) private static func appendWord(_ value: Int64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    @inline(__always) static func hash(_ bytes: [UInt8], seed: UInt64) -> UInt64 { bytes.withUnsafeBytes { hash($0, seed: seed) } }

    /// Multiply and fold, eight bytes at a time, then the length.
    /// - Parameter seed: a secret of the store, so that nobody can choose texts that collide.
    static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        var state = seed
        var i = 0
        while i + 8 <= bytes.count {
            state = mix(state ^ bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            i += 8
        }
        var rest: UInt64 = 0
        while i < bytes.count {
            rest = rest << 8 | UInt64(bytes[i])
            i += 1
        }
        return mix(mix(state ^ rest) ^ UInt64(truncatingIfNeeded: bytes.count))
    }

    @inline(__always) private static func mix(_ value: UInt64) -> UInt64 {
        let product = (value ^ 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}

/// How one value of an expression is kept in a 64-bit word.
enum WordKind: Sendable {
    case real, integer, bool
    /// The hash of a text: only to be counted (`count_distinct`), where a collision of 64-bit hashes is the error.
    case text

    init(_ type: DataType) {
        switch type {
        case .float32, .float64: self = .real
        case .bool: self = .bool
        case .string, .bytes: self = .text
        default: self = .integer
        }
    }

    @inline(__always) func number(_ word: UInt64) -> Double {
        switch self {
        case .real: Double(bitPattern: word)
        default: Double(Int64(bitPattern: word))
        }
    }

    func value(_ word: UInt64, as type: DataType) -> Value {
        switch type {
        case .bool: .bool(word != 0)
        case .float32, .float64: .double(Double(bitPattern: word))
        case .timestamp: .timestamp(Timestamp(microseconds: Int64(bitPattern: word)))
        case .date: .date(Int32(truncatingIfNeeded: Int64(bitPattern: word)))
        default: .int(Int64(bitPattern: word))
        }
    }

    /// The word of row `row`, or nil for null. −0 is 0, so that both are one distinct value.
    @inline(__always) static func word(_ column: Column, _ row: Int, seed: UInt64) -> UInt64? {
        guard column.isValid(row) else { return nil }
        switch column.buffer {
        case .bool(let v): return v[row] ? 1 : 0
        case .int32(let v): return UInt64(bitPattern: Int64(v[row]))
        case .int64(let v): return UInt64(bitPattern: v[row])
        case .float32(let v): return v[row].isFinite ? (Double(v[row]) + 0).bitPattern : nil
        case .float64(let v): return v[row].isFinite ? (v[row] + 0).bitPattern : nil
        case .text(let v): return v.bytes(row).withUnsafeBytes { KeyEncoding.hash($0, seed: seed) }
        case .list: return nil
        }
    }
}
