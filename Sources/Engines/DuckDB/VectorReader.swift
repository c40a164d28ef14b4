import CDuckDB
import Contracts

/// Reads DuckDB vectors of one column into the contiguous buffer of a `Column`.
final class VectorReader {
    private enum Source {
        case bool, int32, int64, float32, float64, text
        case int8, int16, uint8, uint16, uint32, uint64, hugeint
        case seconds, milliseconds, nanoseconds
        /// The unscaled integer's type, and how many of its digits are decimals.
        case decimal(Int32, Int)
        case uuid
        case enumeration(Int32, [String])
        case list
        case array(Int)
        /// A column that only ever is null.
        case null
    }

    private let api: keel_duckdb_api
    private let column: String
    private let source: Source
    let type: DataType
    private let items: VectorReader?

    private var bools: [Bool] = []
    private var int32s: [Int32] = []
    private var int64s: [Int64] = []
    private var float32s: [Float] = []
    private var float64s: [Double] = []
    /// Of texts: positions in `bytes`; of lists: positions in `items`.
    private var offsets: [Int] = [0]
    private var bytes: [UInt8] = []
    private var validity: [UInt64]?
    private(set) var count = 0

    init(_ api: keel_duckdb_api, type: keel_duckdb_handle?, column: String) throws(KeelError) {
        self.api = api
        self.column = column
        let id = api.get_type_id(type)
        var child: keel_duckdb_handle?
        defer { if child != nil { api.destroy_logical_type(&child) } }
        if id == DuckDBType.list { child = api.list_type_child_type(type) }
        if id == DuckDBType.array { child = api.array_type_child_type(type) }
        items = child == nil ? nil : try VectorReader(api, type: child, column: column)
        switch id {
        case DuckDBType.boolean: (source, self.type) = (.bool, .bool)
        case DuckDBType.tinyint: (source, self.type) = (.int8, .int32)
        case DuckDBType.smallint: (source, self.type) = (.int16, .int32)
        case DuckDBType.utinyint: (source, self.type) = (.uint8, .int32)
        case DuckDBType.usmallint: (source, self.type) = (.uint16, .int32)
        case DuckDBType.integer: (source, self.type) = (.int32, .int32)
        case DuckDBType.sqlNull: (source, self.type) = (.null, .int32)
        case DuckDBType.date: (source, self.type) = (.int32, .date)
        case DuckDBType.bigint: (source, self.type) = (.int64, .int64)
        case DuckDBType.uinteger: (source, self.type) = (.uint32, .int64)
        case DuckDBType.ubigint: (source, self.type) = (.uint64, .int64)
        case DuckDBType.hugeint: (source, self.type) = (.hugeint, .int64)
        case DuckDBType.timestamp, DuckDBType.timestampWithZone: (source, self.type) = (.int64, .timestamp)
        case DuckDBType.timestampSeconds: (source, self.type) = (.seconds, .timestamp)
        case DuckDBType.timestampMilliseconds: (source, self.type) = (.milliseconds, .timestamp)
        case DuckDBType.timestampNanoseconds: (source, self.type) = (.nanoseconds, .timestamp)
        case DuckDBType.float: (source, self.type) = (.float32, .float32)
        case DuckDBType.double: (source, self.type) = (.float64, .float64)
        case DuckDBType.decimal:
            (source, self.type) = (.decimal(api.decimal_internal_type(type), Int(api.decimal_scale(type))), .float64)
        case DuckDBType.varchar: (source, self.type) = (.text, .string)
        case DuckDBType.blob: (source, self.type) = (.text, .bytes)
        case DuckDBType.uuid: (source, self.type) = (.uuid, .string)
        case DuckDBType.enumeration:
            let words = (0..<UInt64(api.enum_dictionary_size(type))).map { i -> String in
                guard let word = api.enum_dictionary_value(type, i) else { return "" }
                defer { api.free(word) }
                return String(cString: word)
            }
            (source, self.type) = (.enumeration(api.enum_internal_type(type), words), .string)
        case DuckDBType.list: (source, self.type) = (.list, .list(items?.type ?? .string))
        case DuckDBType.array:
            let size = Int(api.array_type_array_size(type))
            (source, self.type) = (.array(size), .tensor(items?.type ?? .string, shape: [size]))
        default:
            let name = DuckDBType.unsupportedNames[id] ?? "number \(id)"
            throw .invalid(
                "column '\(column)' has DuckDB's type \(name), which a table cannot hold",
                hint: "cast it in the SQL, for example to VARCHAR or DOUBLE")
        }
    }

    /// Appends `count` rows of `vector` from row `start`.
    func append(_ vector: keel_duckdb_handle?, start: Int, count rows: Int) throws(KeelError) {
        guard rows > 0 else { return }
        let bits = api.vector_get_validity(vector)
        appendValidity(bits, start: start, rows)
        let isValid = { (row: Int) in bits.map { $0[row >> 6] >> UInt64(row & 63) & 1 == 1 } ?? true }
        if case .array(let size) = source {
            try items?.append(api.array_vector_get_child(vector), start: start * size, count: rows * size)
            for _ in 0..<rows { offsets.append((offsets.last ?? 0) + size) }
        } else if case .null = source {
            int32s.append(contentsOf: repeatElement(0, count: rows))
        } else if let data = api.vector_get_data(vector) {
            if case .list = source {
                try appendLists(vector, data, start: start, rows, isValid)
            } else {
                try appendScalars(UnsafeRawPointer(data), start: start, rows, hasNulls: bits != nil, isValid)
            }
        }
        count += rows
    }

    /// What was collected, as a column.
    func finish() -> Column {
        let buffer: Column.Buffer =
            switch type {
            case .bool: .bool(bools)
            case .int32, .date: .int32(int32s)
            case .int64, .timestamp: .int64(int64s)
            case .float32: .float32(float32s)
            case .float64: .float64(float64s)
            case .string, .bytes: .text(TextBuffer(offsets: offsets, bytes: bytes))
            case .list(let element), .tensor(let element, _): .list(offsets: offsets, values: items?.finish() ?? Column(element))
            }
        return Column(type, buffer, validity: validity.map { Bitmap(words: $0, count: count) })
    }

    private func appendScalars(
        _ data: UnsafeRawPointer, start: Int, _ rows: Int, hasNulls: Bool, _ isValid: (Int) -> Bool
    ) throws(KeelError) {
        func span<T>(_ type: T.Type) -> UnsafeBufferPointer<T> {
            UnsafeBufferPointer(start: data.assumingMemoryBound(to: T.self) + start, count: rows)
        }
        let before = count
        switch source {
        case .bool: bools.append(contentsOf: span(UInt8.self).lazy.map { $0 != 0 })
        case .int32: int32s.append(contentsOf: span(Int32.self))
        case .int8: int32s.append(contentsOf: span(Int8.self).lazy.map { Int32($0) })
        case .int16: int32s.append(contentsOf: span(Int16.self).lazy.map { Int32($0) })
        case .uint8: int32s.append(contentsOf: span(UInt8.self).lazy.map { Int32($0) })
        case .uint16: int32s.append(contentsOf: span(UInt16.self).lazy.map { Int32($0) })
        case .int64: int64s.append(contentsOf: span(Int64.self))
        case .uint32: int64s.append(contentsOf: span(UInt32.self).lazy.map { Int64($0) })
        case .seconds: int64s.append(contentsOf: span(Int64.self).lazy.map { saturatingProduct($0, 1_000_000) })
        case .milliseconds: int64s.append(contentsOf: span(Int64.self).lazy.map { saturatingProduct($0, 1000) })
        case .nanoseconds: int64s.append(contentsOf: span(Int64.self).lazy.map { floorDivide($0, 1000) })
        case .uint64:
            for (i, value) in span(UInt64.self).enumerated() {
                guard value <= UInt64(Int64.max) || !isValid(start + i) else { throw tooLarge("UBIGINT") }
                int64s.append(Int64(truncatingIfNeeded: value))
            }
        case .hugeint:
            for (i, value) in span(keel_duckdb_hugeint.self).enumerated() {
                let narrow = Int64(bitPattern: value.lower)
                guard value.upper == (narrow < 0 ? -1 : 0) || !isValid(start + i) else { throw tooLarge("HUGEINT") }
                int64s.append(narrow)
            }
        case .float32: float32s.append(contentsOf: span(Float.self))
        case .float64: float64s.append(contentsOf: span(Double.self))
        case .decimal(let storage, let scale): appendDecimals(data, storage, scale, start: start, rows)
        case .text: appendTexts(data, start: start, rows, isValid)
        case .uuid:
            for (i, value) in span(keel_duckdb_hugeint.self).enumerated() {
                if isValid(start + i) { bytes.append(contentsOf: uuidText(value).utf8) }
                offsets.append(bytes.count)
            }
        case .enumeration(let storage, let words):
            for row in start..<start + rows {
                let code = isValid(row) ? unsigned(data, storage, row) : -1
                if words.indices.contains(code) { bytes.append(contentsOf: words[code].utf8) }
                offsets.append(bytes.count)
            }
        case .list, .array, .null: break
        }
        if hasNulls { blankNulls(from: before, start: start, rows, isValid) }
    }

    private func appendTexts(_ data: UnsafeRawPointer, start: Int, _ rows: Int, _ isValid: (Int) -> Bool) {
        // duckdb_string_t: a 32-bit length, then up to 12 bytes in place, or a prefix of 4 and a pointer.
        offsets.reserveCapacity(offsets.count + rows)
        for row in start..<start + rows {
            if isValid(row) {
                let entry = data + row * 16
                let length = Int(entry.load(as: UInt32.self))
                let text = length <= 12 ? entry + 4 : entry.load(fromByteOffset: 8, as: UnsafeRawPointer.self)
                bytes.append(contentsOf: UnsafeRawBufferPointer(start: text, count: length))
            }
            offsets.append(bytes.count)
        }
    }

    private func appendLists(
        _ vector: keel_duckdb_handle?, _ data: UnsafeMutableRawPointer, start: Int, _ rows: Int, _ isValid: (Int) -> Bool
    ) throws(KeelError) {
        let entries = data.assumingMemoryBound(to: keel_duckdb_list_entry.self)
        let child = api.list_vector_get_child(vector)
        var end = offsets.last ?? 0
        for row in start..<start + rows {
            if isValid(row) {
                try items?.append(child, start: Int(entries[row].offset), count: Int(entries[row].length))
                end += Int(entries[row].length)
            }
            offsets.append(end)
        }
    }

    private func appendDecimals(_ data: UnsafeRawPointer, _ storage: Int32, _ scale: Int, start: Int, _ rows: Int) {
        for row in start..<start + rows {
            let unscaled: Int128 =
                switch storage {
                case DuckDBType.smallint: Int128(data.load(fromByteOffset: row * 2, as: Int16.self))
                case DuckDBType.integer: Int128(data.load(fromByteOffset: row * 4, as: Int32.self))
                case DuckDBType.bigint: Int128(data.load(fromByteOffset: row * 8, as: Int64.self))
                default:
                    {
                        let wide = data.load(fromByteOffset: row * 16, as: keel_duckdb_hugeint.self)
                        return Int128(wide.upper) << 64 | Int128(wide.lower)
                    }()
                }
            float64s.append(VectorReader.double(unscaled, scale: scale))
        }
    }

    /// The float64 nearest to `unscaled` / 10^`scale`. A quotient of two exact float64 is rounded once; anything else is read as decimal text.
    static func double(_ unscaled: Int128, scale: Int) -> Double {
        if let exact = Double(exactly: unscaled), scale < powersOfTen.count { return exact / powersOfTen[scale] }
        return Double("\(unscaled)e-\(scale)") ?? .nan
    }

    /// All powers of ten that float64 holds exactly.
    private static let powersOfTen: [Double] = (0...22).map { exponent in (0..<exponent).reduce(1) { power, _ in power * 10 } }

    private func unsigned(_ data: UnsafeRawPointer, _ storage: Int32, _ row: Int) -> Int {
        switch storage {
        case DuckDBType.utinyint: Int(data.load(fromByteOffset: row, as: UInt8.self))
        case DuckDBType.usmallint: Int(data.load(fromByteOffset: row * 2, as: UInt16.self))
        default: Int(data.load(fromByteOffset: row * 4, as: UInt32.self))
        }
    }

    /// Gives rows without a value a fixed one, so that equal results are equal tables.
    private func blankNulls(from: Int, start: Int, _ rows: Int, _ isValid: (Int) -> Bool) {
        for i in 0..<rows where !isValid(start + i) {
            switch type {
            case .bool: bools[from + i] = false
            case .int32, .date: int32s[from + i] = 0
            case .int64, .timestamp: int64s[from + i] = 0
            case .float32: float32s[from + i] = .nan
            case .float64: float64s[from + i] = .nan
            case .string, .bytes, .list, .tensor: break
            }
        }
    }

    private func appendValidity(_ bits: UnsafeMutablePointer<UInt64>?, start: Int, _ rows: Int) {
        if bits == nil, validity == nil { return }
        var words = validity ?? Array(repeating: .max, count: (count + 63) / 64)
        validity = nil
        words.append(contentsOf: repeatElement(0, count: (count + rows + 63) / 64 - words.count))
        // Clear what was filled beyond the last row before setting the new rows' bits.
        if count & 63 != 0 { words[count >> 6] &= (UInt64(1) << UInt64(count & 63)) - 1 }
        for i in 0..<rows {
            let row = start + i
            if bits.map({ $0[row >> 6] >> UInt64(row & 63) & 1 == 1 }) ?? true {
                words[(count + i) >> 6] |= UInt64(1) << UInt64((count + i) & 63)
            }
        }
        validity = words
    }

    private func tooLarge(_ name: String) -> KeelError {
        .invalid("a value of column '\(column)' (\(name)) does not fit in int64", hint: "cast it in the SQL, for example to DOUBLE")
    }

    /// DuckDB stores the first bit flipped, so that UUIDs sort as signed numbers.
    private func uuidText(_ value: keel_duckdb_hugeint) -> String {
        let high = UInt64(bitPattern: value.upper) ^ (UInt64(1) << 63)
        var text = ""
        for (i, half) in [high, value.lower].enumerated() {
            for nibble in 0..<16 {
                if [8, 12].contains(nibble) && i == 0 || [0, 4].contains(nibble) && i == 1 { text += "-" }
                text += String(half >> UInt64(60 - nibble * 4) & 15, radix: 16)
            }
        }
        return text
    }
}
