import Contracts
import Engines

/// Reads the declared columns of a Parquet file through DuckDB. Lines are the numbers of the rows.
struct ParquetReader {
    private let spec: DatasetSpec
    private let path: String
    private let file: String
    private let connection: DuckDBConnection
    private let sink: any RowSink

    /// - Parameters:
    ///   - path: where the file lies.
    ///   - file: what errors call it.
    init(_ spec: DatasetSpec, path: String, file: String, connection: DuckDBConnection, sink: any RowSink) {
        (self.spec, self.path, self.file, self.connection, self.sink) = (spec, path, file, connection, sink)
    }

    func run(progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        let parquet = try ParquetFile(path: path, name: file, connection: connection)
        let places = try FileColumns.match(parquet.columns.map(\.name), spec, file: file)
        var columns: [(column: ParquetFile.Column, isEmpty: Bool)] = []
        for (column, place) in zip(parquet.columns, places) where place != nil {
            columns.append((column, try isEmpty(column, parquet)))
        }
        let decimals = Set(columns.filter { $0.column.content == .decimals }.map(\.column.name))
        var joiner = TableJoiner()
        var line = 1
        let limits = ParquetFile.Limits(
            rowsMax: RowBatcher.rowsMax, bytesMax: RowBatcher.bytesMax, textBytesMax: RowBatcher.fieldBytesMax)
        try parquet.forEachTable(of: columns, limits) { (table) throws(KeelError) in
            _ = joiner.append(table)
            guard joiner.rowCount >= RowBatcher.rowsMax || joiner.byteCount >= RowBatcher.bytesMax else { return }
            try hand(try joiner.take(), decimals, &line)
            try progress(0)
        }
        if joiner.rowCount > 0 { try hand(try joiner.take(), decimals, &line) }
    }

    /// Whether the column is read as nulls: a writer that saw no value of it could not know its type.
    /// - Throws: `invalidArgument` when it has values and they cannot be the contract's.
    private func isEmpty(_ column: ParquetFile.Column, _ parquet: ParquetFile) throws(KeelError) -> Bool {
        for declared in spec.layout.columns where declared.nameInFile == column.name {
            switch column.content {
            case .nulls: return true
            case .values(let type) where Conversion.possible(type, declared.type): continue
            case .decimals where declared.type.isNumeric: continue
            case .values, .decimals, .other:
                guard try !parquet.isEmpty(column) else { return true }
                throw .invalid(
                    "column '\(column.name)' is a \(column.type), the contract says \(declared.type)",
                    hint: column.content == .other ? "write it as a plain type" : nil, path: file)
            }
        }
        return false
    }

    private func hand(_ table: Table, _ decimals: Set<String>, _ line: inout Int) throws(KeelError) {
        let rows = table.rowCount
        var issues: [Int: RowIssue] = [:]
        let typed = try ParquetReader.columns(of: table, spec, decimals: decimals, file: file, firstLine: line, &issues)
        let kept = (0..<rows).filter { issues[$0] == nil }
        for row in issues.keys.sorted() { if let issue = issues[row] { try sink.reject(issue) } }
        try sink.accept(RawBatch(columns: kept.count == rows ? typed : typed.map { $0.taking(kept) }, lines: kept.map { line + $0 }))
        line += rows
    }

    /// The contract's read columns out of a table with the file's names and types; rows whose values do not fit are issues.
    /// - Parameter decimals: the columns of exact numbers, which are texts in the table.
    static func columns(
        of table: Table, _ spec: DatasetSpec, decimals: Set<String> = [], file: String, firstLine: Int, _ issues: inout [Int: RowIssue]
    ) throws(KeelError) -> [Column] {
        var out: [Column] = []
        for column in spec.layout.columns {
            let (name, type) = (column.name, column.type)
            let given = try table.column(column.nameInFile)
            guard Conversion.possible(given.type, type) || decimals.contains(column.nameInFile) || given.nullCount == given.count else {
                throw .invalid("column '\(column.nameInFile)' is a \(given.type), the contract says \(type)", path: file)
            }
            var misfits: [Int] = []
            var long: [Int] = []
            var values = try Conversion.column(given, to: type) { misfits.append($0) }
            if case .text(let texts) = values.buffer {
                for row in 0..<texts.count where texts.offsets[row + 1] - texts.offsets[row] > RowBatcher.fieldBytesMax { long.append(row) }
                if type == .string, texts.bytes.contains(where: { $0 >= 0x80 }) {
                    for row in 0..<texts.count where String(validating: texts.bytes(row), as: UTF8.self) == nil { misfits.append(row) }
                }
            }
            for row in long where issues[row] == nil {
                issues[row] = RowIssue(
                    line: firstLine + row, rule: "\(name): at most \(RowBatcher.fieldBytesMax) bytes",
                    message: "column '\(name)': a field of more than the \(RowBatcher.fieldBytesMax) bytes that are allowed",
                    raw: RowPipeline.raw(table.names, table.columns, row))
            }
            for row in misfits where issues[row] == nil {
                issues[row] = RowIssue(
                    line: firstLine + row, rule: "\(name): \(type)",
                    message: "column '\(name)': \(given[row].description.prefix(60)) does not fit in \(type)\(Conversion.limits(type))",
                    raw: RowPipeline.raw(table.names, table.columns, row))
            }
            if let zoneName = column.zone, var zone = ClockZone(zoneName), case .int64(let clocks) = values.buffer, given.type != .timestamp
            {
                let instants = clocks.map { Timestamp(microseconds: zone.instant(ofClock: $0)).microseconds }
                values = Column(.timestamp, .int64(instants), validity: values.validity)
            }
            out.append(values)
        }
        return out
    }
}
