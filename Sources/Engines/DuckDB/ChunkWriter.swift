import CDuckDB
import Contracts

/// Writes a `Table` into a temporary table, in chunks: numbers are copied as blocks, texts one by one.
struct ChunkWriter {
    private let api: keel_duckdb_api
    private let connection: keel_duckdb_handle

    init(_ api: keel_duckdb_api, connection: keel_duckdb_handle) { (self.api, self.connection) = (api, connection) }

    func append(_ table: Table, to name: String) throws(KeelError) {
        for (name, column) in zip(table.names, table.columns) {
            do throws(KeelError) { try checkTexts(column) } catch { throw error.at(name) }
        }
        var appender: keel_duckdb_handle?
        defer { _ = api.appender_destroy(&appender) }
        guard api.appender_create_ext(connection, "temp", "main", name, &appender) == 0 else { throw failure(appender) }
        var types: [keel_duckdb_handle?] = []
        defer { for var type in types { api.destroy_logical_type(&type) } }
        for column in table.columns { types.append(try DuckDBValue.type(api, column.type)) }
        var chunk = types.withUnsafeMutableBufferPointer { api.create_data_chunk($0.baseAddress, UInt64($0.count)) }
        defer { api.destroy_data_chunk(&chunk) }
        let step = Int(api.vector_size())
        var row = 0
        while row < table.rowCount {
            let rows = ChunkWriter.rows(of: table, from: row, max: step)
            api.data_chunk_reset(chunk)
            for (i, column) in table.columns.enumerated() {
                guard fill(api.data_chunk_get_vector(chunk, UInt64(i)), at: 0, column, row, rows) else {
                    throw KeelError(.internal, "DuckDB could not make room for the lists of column '\(table.names[i])'")
                }
            }
            api.data_chunk_set_size(chunk, UInt64(rows))
            guard api.append_data_chunk(appender, chunk) == 0 else { throw failure(appender) }
            row += rows
        }
        guard api.appender_close(appender) == 0 else { throw failure(appender) }
    }

    /// How many rows from `row` on make a chunk: at most `max`, and fewer where texts are long, as a chunk copies them.
    private static func rows(of table: Table, from row: Int, max: Int) -> Int {
        var rows = min(max, table.rowCount - row)
        for column in table.columns {
            guard case .text(let texts) = column.buffer else { continue }
            while rows > 1, texts.offsets[row + rows] - texts.offsets[row] > textBytesMax { rows /= 2 }
        }
        return rows
    }
    private static let textBytesMax = 8 << 20

    /// Copies rows `row..<row + rows` of `column` to rows from `at` of `vector`; false when there is no room for list items.
    ///
    /// It does not throw for a reason: Swift 6.3 on x86_64 loses the error register of an optimized throwing function that ends in a
    /// block copy, and the caller then sees an error that nobody threw.
    private func fill(_ vector: keel_duckdb_handle?, at: Int, _ column: Column, _ row: Int, _ rows: Int) -> Bool {
        guard rows > 0 else { return true }
        if let validity = column.validity { copy(validity, row, rows, to: vector, at) }
        func block<T>(_ values: [T]) {
            values.withUnsafeBytes { bytes in
                guard let source = bytes.baseAddress, let target = api.vector_get_data(vector) else { return }
                let size = MemoryLayout<T>.stride
                (target + at * size).copyMemory(from: source + row * size, byteCount: rows * size)
            }
        }
        switch column.buffer {
        case .bool(let values): block(values)
        case .int32(let values): block(values)
        case .int64(let values): block(values)
        case .float32(let values): block(values)
        case .float64(let values): block(values)
        case .text(let texts): fill(vector, at: at, texts, column, row, rows)
        case .list(let offsets, let values):
            guard let data = api.vector_get_data(vector) else { return false }
            let first = Int(api.list_vector_get_size(vector))
            let total = offsets[row + rows] - offsets[row]
            guard api.list_vector_reserve(vector, UInt64(first + total)) == 0, api.list_vector_set_size(vector, UInt64(first + total)) == 0
            else {
                return false
            }
            let entries = data.assumingMemoryBound(to: keel_duckdb_list_entry.self)
            for i in 0..<rows {
                entries[at + i] = keel_duckdb_list_entry(
                    offset: UInt64(first + offsets[row + i] - offsets[row]), length: UInt64(offsets[row + i + 1] - offsets[row + i]))
            }
            return fill(api.list_vector_get_child(vector), at: first, values, offsets[row], total)
        }
        return true
    }

    private func fill(_ vector: keel_duckdb_handle?, at: Int, _ texts: TextBuffer, _ column: Column, _ row: Int, _ rows: Int) {
        guard let data = api.vector_get_data(vector) else { return }
        texts.bytes.withUnsafeBufferPointer { all in
            for i in 0..<rows where column.isValid(row + i) {
                let (start, end) = (texts.offsets[row + i], texts.offsets[row + i + 1])
                let entry = data + (at + i) * 16
                if end - start <= 12 {
                    // A short text lies in the entry itself, the rest of which is zero.
                    entry.storeBytes(of: 0, as: UInt64.self)
                    entry.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
                    entry.storeBytes(of: UInt32(end - start), as: UInt32.self)
                    if end > start, let base = all.baseAddress { (entry + 4).copyMemory(from: base + start, byteCount: end - start) }
                } else if let base = all.baseAddress {
                    (base + start).withMemoryRebound(to: CChar.self, capacity: end - start) {
                        api.vector_assign_string_element_len(vector, UInt64(at + i), $0, UInt64(end - start))
                    }
                }
            }
        }
    }

    private func copy(_ validity: Bitmap, _ row: Int, _ rows: Int, to vector: keel_duckdb_handle?, _ at: Int) {
        api.vector_ensure_validity_writable(vector)
        guard let bits = api.vector_get_validity(vector) else { return }
        for i in 0..<rows {
            let bit = UInt64(1) << UInt64((at + i) & 63)
            if validity[row + i] { bits[(at + i) >> 6] |= bit } else { bits[(at + i) >> 6] &= ~bit }
        }
    }

    /// DuckDB trusts that texts are UTF-8.
    private func checkTexts(_ column: Column) throws(KeelError) {
        switch column.buffer {
        case .text(let texts) where column.type == .string:
            guard texts.bytes.contains(where: { $0 >= 0x80 }) else { return }
            for i in 0..<texts.count where String(validating: texts.bytes(i), as: UTF8.self) == nil {
                throw .invalid("a text is not valid UTF-8", path: "[\(i)]")
            }
        case .list(_, let values): try checkTexts(values)
        default: return
        }
    }

    private func failure(_ appender: keel_duckdb_handle?) -> KeelError {
        DuckDBResult.failure(api.appender_error(appender).map { String(cString: $0) })
    }
}
