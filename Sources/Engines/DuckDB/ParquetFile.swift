import Contracts

/// One Parquet file from outside: what its schema says, and the rows of chosen columns in tables of bounded size.
///
/// Its errors call the file by the name that its sender gave it: `corrupted` when it is damaged, or holds what DuckDB cannot decode.
public struct ParquetFile {
    public struct Column: Sendable {
        /// How the values are read.
        public enum Content: Sendable, Equatable {
            /// Each value is one of this type.
            case values(DataType)
            /// There are only nulls, of no type.
            case nulls
            /// Exact numbers, which no number type of a table holds all of: they are read as text.
            case decimals
            /// What no column can hold: a struct, a map, a time of day.
            case other
        }
        /// As the file names it.
        public let name: String
        /// As SQL must name it, quoted: DuckDB renames a column whose name differs from another's in case alone.
        let sql: String
        /// In DuckDB's words, such as `DECIMAL(10,2)`.
        public let type: String
        public let content: Content
    }

    /// The sizes that hostile files are held to.
    public struct Limits: Sendable {
        /// Of one table that `forEachTable` hands on: its rows, and the bytes of its texts.
        public var rowsMax: Int
        public var bytesMax: Int
        /// Of a longer text only enough is read to see that it is longer.
        public var textBytesMax: Int
        /// The texts of all rows.
        public var totalBytesMax: Int

        public init(rowsMax: Int, bytesMax: Int, textBytesMax: Int, totalBytesMax: Int = 64 << 30) {
            self.rowsMax = rowsMax
            self.bytesMax = bytesMax
            self.textBytesMax = textBytesMax
            self.totalBytesMax = totalBytesMax
        }
    }

    public let columns: [Column]
    private let path: String
    private let name: String
    private let connection: DuckDBConnection

    /// Reads the schema.
    /// - Parameter name: what errors call the file.
    public init(path: String, name: String, connection: DuckDBConnection) throws(KeelError) {
        self.path = path
        self.name = name
        self.connection = connection
        try ParquetFooter.check(path: path, name: name)
        let described: Table
        let nodes: Table
        do throws(KeelError) {
            described = try connection.query(
                "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM \(DuckDBConnection.parquet([path])))")
            nodes = try connection.query(
                "SELECT name, num_children, converted_type, logical_type FROM parquet_schema(\(DuckDBConnection.literal(path)))")
        } catch { throw ParquetFile.failure(error, path: path, name: name) }
        var columns: [Column] = []
        // The tree of the schema, parents first; node 0 is its root.
        var node = 1
        for (sqlName, type) in zip(described.columns[0].texts, described.columns[1].texts) where node < nodes.rowCount {
            let logical = nodes.columns[3][node].text ?? ""
            let isDecimal = nodes.columns[2][node].text == "DECIMAL" || logical.hasPrefix("DecimalType")
            let content: Column.Content
            if logical == "NullType()" {
                content = .nulls
            } else {
                content = isDecimal ? (type.hasPrefix("DECIMAL(") ? .decimals : .other) : ParquetFile.content(type)
            }
            columns.append(
                Column(
                    name: nodes.columns[0][node].text ?? sqlName, sql: DuckDBConnection.quoted(sqlName),
                    // DuckDB takes these for floats, and reads other numbers.
                    type: isDecimal && content == .other ? "decimal of more than 38 digits" : type, content: content))
            var open = 1
            while open > 0, node < nodes.rowCount {
                open += Int(nodes.columns[1][node].integer ?? 0) - 1
                node += 1
            }
        }
        self.columns = columns
    }

    private static func content(_ type: String) -> Column.Content {
        switch type {
        case "BOOLEAN": .values(.bool)
        case "TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT": .values(.int32)
        case "BIGINT", "UINTEGER": .values(.int64)
        case "UBIGINT": .decimals
        case "FLOAT": .values(.float32)
        case "DOUBLE": .values(.float64)
        case "VARCHAR", "JSON", "UUID": .values(.string)
        case "BLOB": .values(.bytes)
        case "DATE": .values(.date)
        case "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE": .values(.timestamp)
        default: .other
        }
    }

    /// Whether no row has a value in this column.
    public func isEmpty(_ column: Column) throws(KeelError) -> Bool {
        do throws(KeelError) {
            return try connection.query("SELECT count(\(column.sql)) FROM \(DuckDBConnection.parquet([path]))").columns[0][0].integer == 0
        } catch { throw ParquetFile.failure(error, path: path, name: name) }
    }

    /// Calls `body` with all rows in order, in tables of these columns.
    ///
    /// DuckDB hands rows on two thousand at a time, whatever their size, and a file of a few kilobytes can hold gigabytes of text. So the
    /// lengths of the texts are read first, which costs little, and where there are long ones the rows are fetched a few at a time.
    ///
    /// - Parameter columns: those of `decimals` are read as text, empty ones as nulls.
    /// - Throws: `payloadTooLarge` beyond `totalBytesMax`.
    public func forEachTable(
        of columns: [(column: Column, isEmpty: Bool)], _ limits: Limits, _ body: (Table) throws(KeelError) -> Void
    ) throws(KeelError) {
        var refusal: KeelError?
        do throws(KeelError) {
            try read(columns, limits) { (table) throws(KeelError) in
                do throws(KeelError) { try body(table) } catch {
                    refusal = error
                    throw error
                }
            }
        } catch { throw refusal ?? ParquetFile.failure(error, path: path, name: name) }
    }

    private func read(
        _ columns: [(column: Column, isEmpty: Bool)], _ limits: Limits, _ body: (Table) throws(KeelError) -> Void
    ) throws(KeelError) {
        let lengths = columns.filter { !$0.isEmpty }.compactMap { ParquetFile.length($0.column) }
        let rowLength = lengths.map { "coalesce(least(\($0), \(limits.textBytesMax + 1)), 0)" }.joined(separator: " + ")
        var longest = 0
        if !lengths.isEmpty {
            let totals = try connection.query(
                "SELECT max(bytes), sum(bytes) FROM (SELECT \(rowLength) AS bytes FROM \(DuckDBConnection.parquet([path])))")
            longest = Int(totals.columns[0][0].integer ?? 0)
            let total = Int(totals.columns[1][0].integer ?? 0)
            guard total <= limits.totalBytesMax else {
                throw KeelError(
                    .payloadTooLarge, "\(name) holds \(total >> 30) GiB of text, at most \(limits.totalBytesMax >> 30) are allowed",
                    hint: "is it a decompression bomb? otherwise ingest it in parts")
            }
        }
        // Without columns the rows are still counted: a contract may be all constants.
        let select =
            columns.isEmpty
            ? "NULL AS \"none\""
            : columns.map { column, isEmpty in
                let value = isEmpty ? "NULL" : ParquetFile.value(column, longest > limits.textBytesMax ? limits.textBytesMax : nil)
                return "\(value) AS \(DuckDBConnection.quoted(column.name))"
            }.joined(separator: ", ")
        guard longest * connection.vectorRows > limits.bytesMax else {
            try connection.forEachChunk("SELECT \(select) FROM \(DuckDBConnection.parquet([path]))") { (table) throws(KeelError) in
                try body(table)
                return true
            }
            return
        }
        for range in try ranges(rowLength, limits) {
            let table = try connection.query(
                """
                SELECT \(select) FROM \(DuckDBConnection.parquet([path], numbered: true))
                WHERE file_row_number BETWEEN \(range.lowerBound) AND \(range.upperBound - 1)
                """)
            guard table.rowCount == range.count else { throw .invalid("it has other rows when it is read again") }
            try body(table)
        }
    }

    /// Parts of the file's rows that each keep the limits.
    private func ranges(_ rowLength: String, _ limits: Limits) throws(KeelError) -> [Range<Int>] {
        var out: [Range<Int>] = []
        var start = 0
        var end = 0
        var bytes = 0
        try connection.forEachChunk("SELECT \(rowLength) AS bytes FROM \(DuckDBConnection.parquet([path]))") { (table) throws(KeelError) in
            for row in 0..<table.rowCount {
                let more = Int(table.columns[0][row].integer ?? 0)
                if end > start, bytes + more > limits.bytesMax || end - start == limits.rowsMax {
                    out.append(start..<end)
                    start = end
                    bytes = 0
                }
                end += 1
                bytes += more
            }
            return true
        }
        if end > start { out.append(start..<end) }
        return out
    }

    /// The bytes of a value; nil for a type whose values are all short.
    private static func length(_ column: Column) -> String? {
        switch column.content {
        case .values(.string) where column.type != "UUID": "strlen(\(column.sql))"
        case .values(.bytes): "octet_length(\(column.sql))"
        default: nil
        }
    }

    /// A value as it is selected.
    /// - Parameter bytesMax: when there are longer texts than this; they are cut behind it.
    private static func value(_ column: Column, _ bytesMax: Int?) -> String {
        switch column.content {
        case .nulls, .other: return "NULL"
        case .decimals: return "CAST(\(column.sql) AS VARCHAR)"
        case .values(let type):
            guard let bytesMax, let length = length(column) else { return column.sql }
            let beginning = type == .bytes ? "repeat('\\x00'::BLOB, \(bytesMax + 1))" : "left(\(column.sql), \(bytesMax + 1))"
            return "CASE WHEN \(length) > \(bytesMax) THEN \(beginning) ELSE \(column.sql) END"
        }
    }

    /// What DuckDB says of a file, without what it says of the SQL and of where the file lies.
    private static func failure(_ error: KeelError, path: String, name: String) -> KeelError {
        let line = error.message.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? ""
        let text = line.replacing(path, with: name)
        switch error.code {
        case .invalidArgument, .internal, .notFound:
            return KeelError(
                .corrupted, "'\(name)' is not readable Parquet: \(text)",
                hint:
                    "if other programs read it, write it again with zstd or snappy compression and plain types; else copy or download it again"
            )
        default: return KeelError(error.code, text, hint: error.hint)
        }
    }
}

extension Column {
    /// The texts of a column, empty where there is none.
    fileprivate var texts: [String] { (0..<count).map { self[$0].text ?? "" } }
}
