import Contracts

/// The compact binary form of a table in a stream's log: version, columns with name and type, then their buffers, little end first.
package enum TableCodec {
    private static let types: [DataType] = [.bool, .int32, .int64, .float32, .float64, .string, .bytes, .date, .timestamp]

    package static func encode(_ table: Table) throws(KeelError) -> [UInt8] {
        var out: [UInt8] = [1]
        put(UInt16(table.names.count), &out)
        put(UInt32(table.rowCount), &out)
        for (name, column) in zip(table.names, table.columns) {
            guard let code = types.firstIndex(of: column.type) else { throw .invalid("a stream cannot hold \(column.type) columns") }
            put(UInt16(name.utf8.count), &out)
            out.append(contentsOf: name.utf8)
            out.append(UInt8(code))
            out.append(column.validity == nil ? 0 : 1)
            if let validity = column.validity { putAll(validity.words, &out) }
            switch column.buffer {
            case .bool(let values): for value in values { out.append(value ? 1 : 0) }
            case .int32(let values): putAll(values, &out)
            case .int64(let values): putAll(values, &out)
            case .float32(let values): putAll(values, &out)
            case .float64(let values): putAll(values, &out)
            case .text(let texts):
                for i in 0..<texts.count { put(UInt32(texts.offsets[i + 1] - texts.offsets[i]), &out) }
                out.append(contentsOf: texts.bytes)
            case .list: throw .invalid("a stream cannot hold \(column.type) columns")
            }
        }
        return out
    }

    package static func decode(_ bytes: UnsafeRawBufferPointer) throws(KeelError) -> Table {
        var at = 0
        func need(_ count: Int) throws(KeelError) -> Int {
            guard count >= 0, count <= bytes.count - at else { throw KeelError(.corrupted, "a record of the stream is damaged") }
            defer { at += count }
            return at
        }
        func get<T: FixedWidthInteger>(_ type: T.Type) throws(KeelError) -> Int {
            Int(truncatingIfNeeded: T(littleEndian: bytes.loadUnaligned(fromByteOffset: try need(MemoryLayout<T>.size), as: T.self)))
        }
        func all<T: BitwiseCopyable>(_ type: T.Type, _ count: Int) throws(KeelError) -> [T] {
            let start = try need(count * MemoryLayout<T>.stride)
            return [T](unsafeUninitializedCapacity: count) { buffer, initialized in
                UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes[start..<start + count * MemoryLayout<T>.stride])
                initialized = count
            }
        }
        guard try get(UInt8.self) == 1 else { throw KeelError(.corrupted, "a record of the stream has an unknown version") }
        let (columns, rows) = (try get(UInt16.self), try get(UInt32.self))
        var pairs: [(name: String, column: Column)] = []
        for _ in 0..<columns {
            let length = try get(UInt16.self)
            let start = try need(length)
            let name = String(decoding: bytes[start..<start + length], as: UTF8.self)
            let code = try get(UInt8.self)
            guard types.indices.contains(code) else { throw KeelError(.corrupted, "a record of the stream is damaged") }
            let validity = try get(UInt8.self) == 0 ? nil : Bitmap(words: try all(UInt64.self, (rows + 63) / 64), count: rows)
            let buffer: Column.Buffer
            switch types[code] {
            case .bool: buffer = .bool(try all(UInt8.self, rows).map { $0 != 0 })
            case .int32, .date: buffer = .int32(try all(Int32.self, rows))
            case .int64, .timestamp: buffer = .int64(try all(Int64.self, rows))
            case .float32: buffer = .float32(try all(Float.self, rows))
            case .float64: buffer = .float64(try all(Double.self, rows))
            default:
                let lengths = try all(UInt32.self, rows)
                var offsets = [0]
                offsets.reserveCapacity(rows + 1)
                for length in lengths { offsets.append(offsets[offsets.count - 1] + Int(length)) }
                buffer = .text(TextBuffer(offsets: offsets, bytes: try all(UInt8.self, offsets[offsets.count - 1])))
            }
            pairs.append((name, Column(types[code], buffer, validity: validity)))
        }
        return try Table(pairs)
    }

    private static func put<T: FixedWidthInteger>(_ value: T, _ out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
    }
    /// Keel runs on little-endian machines only, so buffers are copied as they are.
    private static func putAll<T: BitwiseCopyable>(_ values: [T], _ out: inout [UInt8]) {
        values.withUnsafeBytes { out.append(contentsOf: $0) }
    }
}

/// Puts tables of the same columns one after another.
struct TableJoiner {
    private var names: [String] = []
    private var parts: [[Column]] = []
    private(set) var rowCount = 0
    /// Of the texts, and eight for each other value.
    private(set) var byteCount = 0

    /// False when the table's columns are others than those before; it was not taken then.
    mutating func append(_ table: Table) -> Bool {
        if rowCount == 0 {
            (names, parts) = (table.names, table.columns.map { [$0] })
        } else {
            guard table.names == names, zip(table.columns, parts).allSatisfy({ $0.type == $1[0].type }) else { return false }
            for i in parts.indices { parts[i].append(table.columns[i]) }
        }
        rowCount += table.rowCount
        byteCount += table.columns.reduce(0) { bytes, column in
            if case .text(let texts) = column.buffer { bytes + texts.bytes.count } else { bytes + 8 * column.count }
        }
        return true
    }

    /// All rows so far; empty again afterwards.
    mutating func take() throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for i in parts.indices {
            pairs.append((names[i], TableJoiner.join(parts[i])))
            // Of a large table there is never a whole copy.
            parts[i] = []
        }
        (names, parts, rowCount, byteCount) = ([], [], 0, 0)
        return try Table(pairs)
    }

    private static func join(_ columns: [Column]) -> Column {
        if columns.count == 1 { return columns[0] }
        let type = columns[0].type
        let buffer: Column.Buffer
        switch type {
        case .bool: buffer = .bool(columns.reduce(into: []) { if case .bool(let v) = $1.buffer { $0 += v } })
        case .int32, .date: buffer = .int32(columns.reduce(into: []) { if case .int32(let v) = $1.buffer { $0 += v } })
        case .int64, .timestamp: buffer = .int64(columns.reduce(into: []) { if case .int64(let v) = $1.buffer { $0 += v } })
        case .float32: buffer = .float32(columns.reduce(into: []) { if case .float32(let v) = $1.buffer { $0 += v } })
        case .float64: buffer = .float64(columns.reduce(into: []) { if case .float64(let v) = $1.buffer { $0 += v } })
        default:
            var (offsets, bytes) = ([0], [UInt8]())
            for column in columns {
                guard case .text(let texts) = column.buffer else { continue }
                let base = bytes.count
                bytes.append(contentsOf: texts.bytes)
                offsets.append(contentsOf: texts.offsets.dropFirst().map { $0 + base })
            }
            buffer = .text(TextBuffer(offsets: offsets, bytes: bytes))
        }
        var validity: Bitmap?
        if columns.contains(where: { $0.validity != nil }) {
            var bits = Bitmap()
            for column in columns { for i in 0..<column.count { bits.append(column.isValid(i)) } }
            validity = bits
        }
        return Column(type, buffer, validity: validity)
    }
}
