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
    func run(file: String, member: String?, format given: DatasetSpec.Format?, connection: DuckDBConnection) throws -> [String] {
        let data = try DataFile(path: file, member: member, name: source)
        guard let format = given ?? spec.format ?? data.format else {
            throw KeelError.invalid(
                "the name of '\(source)' does not say what it holds",
                hint: "give it the ending .csv, .jsonl or .parquet, or declare the format in the Dataset")
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
        case .jsonl: try JSONReader(spec, file: source, window: data.window, sink: self).run(progress: report)
        case .parquet:
            guard !data.packed else {
                throw KeelError.invalid("'\(source)' is packed Parquet", hint: "unpack it first: Parquet is compressed already")
            }
            try ParquetReader(spec, path: file, file: source, connection: connection, sink: self).run(progress: report)
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
