/// The values of one row in a short form that describes itself: how predictions are logged.
///
/// Each value is one byte that says its kind, then its content, little-endian. A number that float32 holds exactly takes four bytes, so a row of a model's
/// floats takes no more than the floats and a byte each. Texts, bytes and lists have their length before them.
public struct PackedRow: Sendable, Hashable {
    public let bytes: [UInt8]

    private enum Kind {
        static let null: UInt8 = 0
        static let no: UInt8 = 1
        static let yes: UInt8 = 2
        /// A whole number of 1 byte.
        static let int8: UInt8 = 3
        static let int64: UInt8 = 4
        static let float32: UInt8 = 5
        static let float64: UInt8 = 6
        static let text: UInt8 = 7
        static let bytes: UInt8 = 8
        static let date: UInt8 = 9
        static let timestamp: UInt8 = 10
        static let list: UInt8 = 11
    }
    /// Of lists in lists.
    private static let depthMax = 16

    /// Takes bytes as they were stored; `values()` checks them.
    public init(bytes: [UInt8]) { self.bytes = bytes }

    public init(_ values: [Value]) {
        var out: [UInt8] = []
        for value in values { PackedRow.write(value, to: &out) }
        bytes = out
    }

    /// Packs row `i` of a table, straight from its columns. A missing value and NaN are null.
    public init(_ table: Table, row i: Int) {
        var out: [UInt8] = []
        out.reserveCapacity(table.columns.count * 6)
        for column in table.columns { PackedRow.write(column, i, to: &out) }
        bytes = out
    }

    /// - Throws: `corrupted` for bytes that are no whole row.
    public func values() throws(KeelError) -> [Value] {
        var at = 0
        var out: [Value] = []
        while at < bytes.count { out.append(try value(&at, depth: 0)) }
        return out
    }

    // MARK: Writing

    private static func write(_ column: Column, _ i: Int, to out: inout [UInt8]) {
        guard column.isValid(i) else { return out.append(Kind.null) }
        switch column.buffer {
        case .bool(let v): out.append(v[i] ? Kind.yes : Kind.no)
        case .int32(let v) where column.type != .date: write(Int64(v[i]), to: &out)
        case .int64(let v) where column.type != .timestamp: write(v[i], to: &out)
        case .float32(let v): write(v[i], to: &out)
        case .float64(let v): write(v[i], to: &out)
        case .list(let offsets, let values):
            out.append(Kind.list)
            add(UInt32(offsets[i + 1] - offsets[i]), to: &out)
            for j in offsets[i]..<offsets[i + 1] { write(values, j, to: &out) }
        default: write(column[i], to: &out)
        }
    }

    private static func write(_ value: Value, to out: inout [UInt8]) {
        switch value {
        case .null: out.append(Kind.null)
        case .bool(let v): out.append(v ? Kind.yes : Kind.no)
        case .int(let v): write(v, to: &out)
        case .double(let v): write(v, to: &out)
        case .string(let v):
            out.append(Kind.text)
            add(UInt32(v.utf8.count), to: &out)
            out.append(contentsOf: v.utf8)
        case .bytes(let v):
            out.append(Kind.bytes)
            add(UInt32(v.count), to: &out)
            out.append(contentsOf: v)
        case .date(let v):
            out.append(Kind.date)
            add(v, to: &out)
        case .timestamp(let v):
            out.append(Kind.timestamp)
            add(v.microseconds, to: &out)
        case .list(let items):
            out.append(Kind.list)
            add(UInt32(items.count), to: &out)
            for item in items { write(item, to: &out) }
        }
    }

    private static func write(_ number: Int64, to out: inout [UInt8]) {
        if let small = Int8(exactly: number) {
            out.append(Kind.int8)
            out.append(UInt8(bitPattern: small))
        } else {
            out.append(Kind.int64)
            add(number, to: &out)
        }
    }

    private static func write(_ number: Float, to out: inout [UInt8]) {
        guard !number.isNaN else { return out.append(Kind.null) }
        out.append(Kind.float32)
        add(number.bitPattern, to: &out)
    }

    private static func write(_ number: Double, to out: inout [UInt8]) {
        let short = Float(number)
        guard Double(short) != number, !number.isNaN else { return write(short, to: &out) }
        out.append(Kind.float64)
        add(number.bitPattern, to: &out)
    }

    private static func add<Integer: FixedWidthInteger>(_ value: Integer, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
    }

    // MARK: Reading

    private func value(_ at: inout Int, depth: Int) throws(KeelError) -> Value {
        switch try number(&at, UInt8.self) {
        case Kind.null: return .null
        case Kind.no: return .bool(false)
        case Kind.yes: return .bool(true)
        case Kind.int8: return .int(Int64(try number(&at, Int8.self)))
        case Kind.int64: return .int(try number(&at, Int64.self))
        case Kind.float32: return .double(Double(Float(bitPattern: try number(&at, UInt32.self))))
        case Kind.float64: return .double(Double(bitPattern: try number(&at, UInt64.self)))
        case Kind.text:
            let length = Int(try number(&at, UInt32.self))
            return .string(try take(&at, length) { String(decoding: $0, as: UTF8.self) })
        case Kind.bytes:
            let length = Int(try number(&at, UInt32.self))
            return .bytes(try take(&at, length) { Array($0) })
        case Kind.date: return .date(try number(&at, Int32.self))
        case Kind.timestamp: return .timestamp(Timestamp(microseconds: try number(&at, Int64.self)))
        case Kind.list:
            let count = Int(try number(&at, UInt32.self))
            guard depth < PackedRow.depthMax, count <= bytes.count - at else { throw PackedRow.damaged }
            var items: [Value] = []
            items.reserveCapacity(count)
            for _ in 0..<count { items.append(try value(&at, depth: depth + 1)) }
            return .list(items)
        default: throw PackedRow.damaged
        }
    }

    private func number<Integer: FixedWidthInteger>(_ at: inout Int, _: Integer.Type) throws(KeelError) -> Integer {
        Integer(littleEndian: try take(&at, MemoryLayout<Integer>.size) { $0.withUnsafeBytes { $0.loadUnaligned(as: Integer.self) } })
    }

    private func take(_ at: inout Int, _ count: Int) throws(KeelError) -> ArraySlice<UInt8> {
        guard count <= bytes.count - at else { throw PackedRow.damaged }
        defer { at += count }
        return bytes[at..<at + count]
    }

    private func take<T>(_ at: inout Int, _ count: Int, _ body: (ArraySlice<UInt8>) -> T) throws(KeelError) -> T {
        body(try take(&at, count))
    }

    private static let damaged = KeelError(.corrupted, "a logged row is not whole")
}
