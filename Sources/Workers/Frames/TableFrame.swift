import Contracts

/// Tables as bytes, the way they pass between this process and a worker.
///
/// A table is a layout (JSON: the number of rows, and for each column its name, its type as in `DataType.description`, and the lengths of its buffers)
/// and a body: the buffers one after another, little-endian, each filled up with zeros to a multiple of 8 bytes. The buffers of a column of n rows:
///
/// 1. validity: one bit a row, the lowest bit first, set = the row has a value; ⌈n/8⌉ bytes, or none when all rows have one;
/// 2. `bool`: n bytes of 0 or 1. `int32`, `date` (days since 1970), `float32`: 4n bytes. `int64`, `timestamp` (µs since 1970), `float64`: 8n bytes.
///    `string` (UTF-8) and `bytes`: n + 1 positions (int64) in the bytes, and then these. `list` and `tensor`: n + 1 positions (int64) in the values,
///    and then the buffers of the values, as of a column of so many rows.
///
/// Nothing that comes from a worker is believed: every length is checked against what it must be before it is used, and a table takes no more memory
/// than a small multiple of its bytes.
package enum TableFrame {
    static let columnsMax = 10_000

    private static func filled(_ count: Int) -> Int { (count + 7) & ~7 }

    // MARK: Writing

    /// Appends the buffers of a table to `body`.
    /// - Returns: the layout.
    package static func encode(_ table: Table, to body: inout [UInt8]) -> JSON {
        var columns: [JSON] = []
        for (name, column) in zip(table.names, table.columns) {
            var lengths: [JSON] = []
            append(column, to: &body, &lengths)
            columns.append(["name": .string(name), "type": .string(column.type.description), "buffers": .array(lengths)])
        }
        return ["rows": .int(Int64(table.rowCount)), "columns": .array(columns)]
    }

    private static func append(_ column: Column, to body: inout [UInt8], _ lengths: inout [JSON]) {
        func buffer(_ bytes: UnsafeRawBufferPointer) {
            lengths.append(.int(Int64(bytes.count)))
            body.append(contentsOf: bytes)
            body.append(contentsOf: repeatElement(0, count: filled(bytes.count) - bytes.count))
        }
        if let validity = column.validity {
            validity.words.withUnsafeBytes { buffer(UnsafeRawBufferPointer(rebasing: $0[..<((column.count + 7) / 8)])) }
        } else {
            lengths.append(0)
        }
        switch column.buffer {
        case .bool(let values): values.withUnsafeBytes(buffer)
        case .int32(let values): values.withUnsafeBytes(buffer)
        case .int64(let values): values.withUnsafeBytes(buffer)
        case .float32(let values): values.withUnsafeBytes(buffer)
        case .float64(let values): values.withUnsafeBytes(buffer)
        case .text(let values):
            values.offsets.withUnsafeBytes(buffer)
            values.bytes.withUnsafeBytes(buffer)
        case .list(let offsets, let values):
            offsets.withUnsafeBytes(buffer)
            append(values, to: &body, &lengths)
        }
    }

    // MARK: Reading

    /// - Throws: `contractViolation` that says what is wrong, for anything but what `encode` would write for some table.
    package static func decode(_ layout: JSON, _ body: [UInt8]) throws(KeelError) -> Table {
        guard let rows = layout["rows"]?.integer.flatMap({ Int(exactly: $0) }), let items = layout["columns"]?.array else {
            throw refused("its layout has no rows and columns")
        }
        guard items.count <= columnsMax else { throw refused("\(items.count) columns are more than \(columnsMax)") }
        // A row takes a byte at least, so this bounds all products below.
        guard rows >= 0, rows <= body.count, !items.isEmpty || rows == 0 else {
            throw refused("\(rows) rows do not fit in its \(body.count) bytes")
        }
        var at = 0
        var pairs: [(name: String, column: Column)] = []
        pairs.reserveCapacity(items.count)
        for (i, item) in items.enumerated() {
            guard let name = item["name"]?.string, name.utf8.count <= Schema.nameBytesMax else {
                throw refused("it has no name, or one that is too long").at("columns[\(i)]")
            }
            do throws(KeelError) {
                var reader = BufferReader(lengths: try lengths(item["buffers"]), body: body, at: at)
                let column = try reader.column(try type(item["type"]), count: rows)
                guard reader.isAtEnd else { throw refused("it has buffers that its type does not have") }
                at = reader.at
                pairs.append((name, column))
            } catch { throw error.at("column '\(String(name.prefix(80)))'") }
        }
        guard at == body.count else { throw refused("\(body.count - at) bytes belong to no column") }
        do throws(KeelError) { return try Table(pairs) } catch { throw refused(error.message) }
    }

    private static func type(_ json: JSON?) throws(KeelError) -> DataType {
        guard let text = json?.string else { throw refused("it has no type") }
        do throws(KeelError) { return try DataType(parsing: text) } catch { throw refused(error.message) }
    }

    private static func lengths(_ json: JSON?) throws(KeelError) -> [Int] {
        guard let items = json?.array else { throw refused("the lengths of its buffers are not stated") }
        var out: [Int] = []
        for item in items {
            guard let length = item.integer.flatMap({ Int(exactly: $0) }), length >= 0 else {
                throw refused("a length is no whole number from 0 on")
            }
            out.append(length)
        }
        return out
    }

    fileprivate static func refused(_ what: String) -> KeelError { KeelError(.contractViolation, what) }

    /// Takes the buffers of one column from a body, in order.
    private struct BufferReader {
        let lengths: [Int]
        let body: [UInt8]
        var at: Int
        private var next = 0

        init(lengths: [Int], body: [UInt8], at: Int) {
            self.lengths = lengths
            self.body = body
            self.at = at
        }

        var isAtEnd: Bool { next == lengths.count }

        /// The place of the next buffer.
        /// - Parameter count: its length, when that follows from what was read before.
        private mutating func take(_ count: Int?) throws(KeelError) -> Range<Int> {
            guard next < lengths.count else { throw refused("a buffer of its type is missing") }
            let length = lengths[next]
            if let count, length != count { throw refused("buffer \(next) has \(length) bytes instead of \(count)") }
            guard length <= body.count, filled(length) <= body.count - at else {
                throw refused("buffer \(next) is said to have \(length) bytes, more than there are")
            }
            defer {
                next += 1
                at += filled(length)
            }
            return at..<at + length
        }

        /// - Parameter count: at most the bytes of the body.
        mutating func column(_ type: DataType, count: Int) throws(KeelError) -> Column {
            let hasNulls = next < lengths.count && lengths[next] > 0
            let validity = bitmap(try take(hasNulls ? (count + 7) / 8 : 0), count)
            switch type {
            case .bool:
                let place = try take(count)
                guard body[place].allSatisfy({ $0 <= 1 }) else { throw refused("a bool is neither 0 nor 1") }
                return Column(type, .bool(body[place].map { $0 == 1 }), validity: validity)
            case .int32: return Column(type, .int32(values(try take(count * 4), 0)), validity: validity)
            case .int64: return Column(type, .int64(values(try take(count * 8), 0)), validity: validity)
            case .float32: return Column(type, .float32(values(try take(count * 4), 0)), validity: validity)
            case .float64: return Column(type, .float64(values(try take(count * 8), 0)), validity: validity)
            case .date:
                let days = try checked(values(try take(count * 4), Int32(0)), validity, in: CivilDate.range, "a day")
                return Column(type, .int32(days), validity: validity)
            case .timestamp:
                let instants = try checked(values(try take(count * 8), Int64(0)), validity, in: Timestamp.range, "an instant")
                return Column(type, .int64(instants), validity: validity)
            case .string, .bytes:
                let offsets = try offsets(count)
                let place = try take(offsets[count])
                if type == .string { try checkTexts(place, offsets) }
                return Column(type, .text(TextBuffer(offsets: offsets, bytes: Array(body[place]))), validity: validity)
            case .list(let element):
                let offsets = try offsets(count)
                return Column(type, .list(offsets: offsets, values: try column(element, count: offsets[count])), validity: validity)
            case .tensor(let element, let shape):
                let offsets = try offsets(count)
                for row in 0..<count where validity.map({ $0[row] }) ?? true {
                    guard fits(shape, offsets[row + 1] - offsets[row]) else {
                        throw refused("row \(row) does not have the shape of a \(type)")
                    }
                }
                return Column(type, .list(offsets: offsets, values: try column(element, count: offsets[count])), validity: validity)
            }
        }

        private func bitmap(_ place: Range<Int>, _ count: Int) -> Bitmap? {
            guard !place.isEmpty else { return nil }
            var words = [UInt64](repeating: 0, count: (count + 63) / 64)
            for (i, byte) in body[place].enumerated() { words[i >> 3] |= UInt64(byte) << UInt64((i & 7) * 8) }
            return Bitmap(words: words, count: count)
        }

        /// Copies; it does not throw (CONTRIBUTING.md, faults of the compiler).
        private func values<T: BitwiseCopyable>(_ place: Range<Int>, _ zero: T) -> [T] {
            var out = [T](repeating: zero, count: place.count / MemoryLayout<T>.stride)
            out.withUnsafeMutableBytes { out in body.withUnsafeBytes { out.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[place])) } }
            return out
        }

        /// Values that are all in range; rows without one have 0.
        private func checked<T: FixedWidthInteger>(
            _ values: [T], _ validity: Bitmap?, in range: ClosedRange<T>, _ what: String
        ) throws(KeelError) -> [T] {
            var values = values
            for i in values.indices where !range.contains(values[i]) {
                guard let validity, !validity[i] else { throw refused("row \(i) is \(what) outside \(Timestamp.rangeHint)") }
                values[i] = 0
            }
            return values
        }

        /// `count + 1` positions from 0 on that never fall.
        private mutating func offsets(_ count: Int) throws(KeelError) -> [Int] {
            let out = values(try take((count + 1) * 8), 0)
            guard out[0] == 0, out[count] <= body.count else { throw refused("its positions do not begin at 0, or end beyond its bytes") }
            for i in 0..<count where out[i] > out[i + 1] { throw refused("its positions fall at row \(i)") }
            return out
        }

        /// Every text is UTF-8 when all of them are together and none begins within a character.
        private func checkTexts(_ place: Range<Int>, _ offsets: [Int]) throws(KeelError) {
            let isText = body.withUnsafeBufferPointer { bytes in
                (try? UTF8Span(validating: UnsafeBufferPointer(rebasing: bytes[place]).span)) != nil
            }
            guard isText else { throw refused("its texts are not UTF-8") }
            for (row, offset) in offsets.enumerated() where offset < place.count && body[place.lowerBound + offset] & 0xc0 == 0x80 {
                throw refused("the text of row \(row) begins within a character")
            }
        }

        /// Whether so many values can be an array of this shape.
        private func fits(_ shape: [Int], _ count: Int) -> Bool {
            var product = 1
            for size in shape where size != -1 {
                let (result, hasOverflow) = product.multipliedReportingOverflow(by: size)
                if hasOverflow { return false }
                product = result
            }
            return shape.contains(-1) ? count % product == 0 : count == product
        }
    }
}
