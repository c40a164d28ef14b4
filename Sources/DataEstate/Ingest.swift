import Contracts
import Engines
import Foundation

/// Reads one file into the files of a new snapshot. Blocking: run it away from the cooperative threads.
final class Ingest: RowSink {
    private let spec: DatasetSpec
    private let pipeline: RowPipeline
    private let writer: SnapshotWriter
    private let uniqueKeys: ([SIMD2<UInt64>]) throws -> [Bool]
    private let source: String
    private let progress: @Sendable (IngestProgress) -> Void
    private var counts: [String: (count: Int, firstLine: Int)] = [:]
    private var nullCounts: [Int]
    private(set) var filtered = 0

    /// - Parameter uniqueKeys: of each row, whether its key is new; it then knows it.
    init(
        _ spec: DatasetSpec, source: String, from: Timestamp?, until: Timestamp?, writer: SnapshotWriter,
        uniqueKeys: @escaping ([SIMD2<UInt64>]) throws -> [Bool], progress: @escaping @Sendable (IngestProgress) -> Void
    ) {
        (self.spec, self.source, self.writer, self.uniqueKeys, self.progress) = (spec, source, writer, uniqueKeys, progress)
        pipeline = RowPipeline(spec, from: from, until: until)
        nullCounts = Array(repeating: 0, count: spec.schema.fields.count)
    }

    var reasons: [IngestReport.Reason] {
        counts.map { IngestReport.Reason(reason: $0.key, count: $0.value.count, firstLine: $0.value.firstLine) }
            .sorted { ($1.count, $0.firstLine, $0.reason) < ($0.count, $1.firstLine, $1.reason) }
    }

    /// Reads the whole file and checks the expectations.
    /// - Returns: the breached expectations that only warn.
    func run(file: String, format given: DatasetSpec.Format?, connection: DuckDBConnection) throws -> [String] {
        let data = try DataFile(path: file)
        guard let format = given ?? spec.format ?? data.format else {
            throw KeelError.invalid("the name of '\(file)' does not say what it holds", hint: "give the format: csv, jsonl or parquet")
        }
        let total = data.packed ? nil : data.size
        let report = { (bytes: Int) throws(KeelError) in
            if Task.isCancelled { throw KeelError(.cancelled, "the ingest was cancelled") }
            self.progress(IngestProgress(bytes: bytes, bytesTotal: total, rows: self.writer.rows, quarantined: self.writer.quarantined))
        }
        switch format {
        case .csv:
            var reader = CSVReader(spec, file: source, window: data.window, sink: self)
            try reader.run(progress: report)
        case .jsonl: try JSONLinesReader(spec, window: data.window, sink: self).run(progress: report)
        case .parquet:
            guard !data.packed else {
                throw KeelError.invalid("'\(file)' is packed Parquet", hint: "unpack it first: Parquet is compressed already")
            }
            try ParquetReader(spec, file: file, connection: connection, sink: self).run(progress: report)
        }
        try writer.finish()
        try report(total ?? 0)
        return try checkExpectations()
    }

    func accept(_ batch: RawBatch) throws(KeelError) {
        var outcome = try pipeline.run(batch)
        filtered += outcome.filtered
        for issue in outcome.issues { try reject(issue) }
        if !spec.key.isEmpty { try dropDuplicates(&outcome) }
        for (i, column) in outcome.table.columns.enumerated() { nullCounts[i] += column.nullCount }
        do { try writer.append(outcome.table) } catch { throw KeelError.wrapping(error) }
    }

    func reject(_ issue: RowIssue) throws(KeelError) {
        if spec.onViolation == .reject {
            throw KeelError(
                .contractViolation, issue.message, hint: "the dataset refuses batches with such rows (onViolation: reject)",
                path: "\(source):\(issue.line)")
        }
        counts[issue.rule, default: (0, issue.line)].count += 1
        do { try writer.quarantine(QuarantinedRow(source: source, issue: issue)) } catch { throw KeelError.wrapping(error) }
    }

    private func dropDuplicates(_ outcome: inout RowPipeline.Outcome) throws(KeelError) {
        let hashes = try KeySet.hashes(outcome.table, spec.key)
        let fresh: [Bool]
        do { fresh = try uniqueKeys(hashes) } catch { throw KeelError.wrapping(error) }
        guard fresh.contains(false) else { return }
        for row in fresh.indices where !fresh[row] {
            try reject(
                RowIssue(
                    line: outcome.lines[row], rule: "key \(spec.key.joined(separator: ", ")): unique",
                    message: RowPipeline.duplicate(spec.key, outcome.table, row),
                    raw: RowPipeline.raw(outcome.table.names, outcome.table.columns, row)))
        }
        let kept = fresh.indices.filter { fresh[$0] }
        outcome.table = outcome.table.taking(rows: kept)
        outcome.lines = kept.map { outcome.lines[$0] }
    }

    private func checkExpectations() throws -> [String] {
        var warnings: [String] = []
        for (i, expectation) in spec.expectations.enumerated() {
            let breach: String?
            switch expectation.rule {
            case .rows(let minimum, let maximum):
                let bounds = "[\(minimum.map(String.init) ?? "null"), \(maximum.map(String.init) ?? "null")]"
                breach =
                    writer.rows < minimum ?? 0 || writer.rows > maximum ?? .max
                    ? "the batch has \(writer.rows) rows, expected are \(bounds)" : nil
            case .nulls(let name, let condition):
                guard writer.rows > 0, let column = spec.schema.index(of: name) else { continue }
                let share = Double(nullCounts[column]) / Double(writer.rows)
                let percent = (share * 10_000).rounded() / 100
                breach =
                    try condition.holds(["nulls": share]) == true
                    ? nil : "\(percent)% of column '\(name)' has no value, expected is \(condition.text)"
            }
            guard let breach else { continue }
            guard expectation.onBreach == .warn else {
                throw KeelError(.contractViolation, breach, hint: "nothing of \(source) was kept", path: "spec.expectations[\(i)]")
            }
            warnings.append(breach)
        }
        return warnings
    }
}

/// Reads Parquet through DuckDB, in chunks. Lines are the numbers of the rows.
struct ParquetReader {
    private let spec: DatasetSpec
    private let file: String
    private let connection: DuckDBConnection
    private let sink: any RowSink

    init(_ spec: DatasetSpec, file: String, connection: DuckDBConnection, sink: any RowSink) {
        (self.spec, self.file, self.connection, self.sink) = (spec, file, connection, sink)
    }

    func run(progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        let source = "read_parquet(\(DataEstate.literal(file)))"
        let head: Table
        do throws(KeelError) { head = try connection.query("SELECT * FROM \(source) LIMIT 0") } catch {
            throw KeelError(
                .corrupted, "'\(file)' is not readable Parquet: \(error.message)",
                hint: "it may be truncated: copy or download the file again")
        }
        _ = try FileColumns.match(head.names, spec, file: file)
        var joiner = TableJoiner()
        var line = 1
        try connection.forEachChunk("SELECT * FROM \(source)") { (chunk) throws(KeelError) in
            _ = joiner.append(chunk)
            guard joiner.rowCount >= RowBatcher.rowsMax else { return true }
            try hand(try joiner.take(), &line)
            try progress(0)
            return true
        }
        if joiner.rowCount > 0 { try hand(try joiner.take(), &line) }
    }

    private func hand(_ table: Table, _ line: inout Int) throws(KeelError) {
        let rows = table.rowCount
        var issues: [Int: RowIssue] = [:]
        let typed = try ParquetReader.columns(of: table, spec, file: file, firstLine: line, &issues)
        let kept = (0..<rows).filter { issues[$0] == nil }
        for row in issues.keys.sorted() { if let issue = issues[row] { try sink.reject(issue) } }
        try sink.accept(RawBatch(columns: kept.count == rows ? typed : typed.map { $0.taking(kept) }, lines: kept.map { line + $0 }))
        line += rows
    }

    /// The contract's read columns out of a table with the file's names and types; rows whose values do not fit are issues.
    static func columns(of table: Table, _ spec: DatasetSpec, file: String, firstLine: Int, _ issues: inout [Int: RowIssue])
        throws(KeelError) -> [Column]
    {
        var out: [Column] = []
        for column in spec.layout.columns {
            let (name, type) = (column.name, column.type)
            let given = try table.column(column.nameInFile)
            guard Conversion.possible(given.type, type) else {
                throw .invalid("column '\(column.nameInFile)' is a \(given.type), the contract says \(type)", path: file)
            }
            var misfits: [Int] = []
            var values = try Conversion.column(given, to: type) { misfits.append($0) }
            if case .text(let texts) = values.buffer {
                for row in 0..<texts.count where texts.offsets[row + 1] - texts.offsets[row] > RowBatcher.fieldBytesMax {
                    misfits.append(row)
                }
                if type == .string, texts.bytes.contains(where: { $0 >= 0x80 }) {
                    for row in 0..<texts.count where String(validating: texts.bytes(row), as: UTF8.self) == nil { misfits.append(row) }
                }
            }
            for row in misfits where issues[row] == nil {
                issues[row] = RowIssue(
                    line: firstLine + row, rule: "\(name): \(type)",
                    message: "column '\(name)': the value does not fit in \(type)\(Conversion.limits(type))",
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
