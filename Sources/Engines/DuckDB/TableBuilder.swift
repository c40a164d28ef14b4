import CDuckDB
import Contracts

/// Collects the chunks of a result into a `Table`.
final class TableBuilder {
    private let names: [String]
    private let readers: [VectorReader]
    private var rowCount = 0

    init(_ result: DuckDBResult) throws(KeelError) {
        let api = result.api
        var names: [String] = []
        var readers: [VectorReader] = []
        for i in 0..<api.column_count(&result.raw) {
            let name = api.column_name(&result.raw, i).map { String(cString: $0) } ?? "column\(i)"
            var type = api.column_logical_type(&result.raw, i)
            defer { api.destroy_logical_type(&type) }
            names.append(name)
            readers.append(try VectorReader(api, type: type, column: name))
        }
        (self.names, self.readers) = (names, readers)
    }

    func append(_ chunk: DuckDBChunk) throws(KeelError) {
        let rows = chunk.rowCount
        for (i, reader) in readers.enumerated() {
            try reader.append(chunk.api.data_chunk_get_vector(chunk.handle, UInt64(i)), start: 0, count: rows)
        }
        rowCount += rows
    }

    /// - Throws: `invalidArgument` when two columns have one name.
    func finish() throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for (name, reader) in zip(names, readers) { pairs.append((name, reader.finish())) }
        return try Table(pairs)
    }
}
