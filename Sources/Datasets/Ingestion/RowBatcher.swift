import Contracts

/// Why a row is not kept.
package struct RowIssue: Sendable {
    /// The line (of Parquet and pushes: the number) of the row, from 1.
    package var line: Int
    /// The same for all rows that break the same rule, for counting.
    package var rule: String
    /// What is wrong with this row.
    package var message: String
    /// The beginning of the row as it was.
    package var raw: String

    static let rawBytesMax = 4096

    static func raw(_ bytes: UnsafeBufferPointer<UInt8>) -> String { String(decoding: bytes.prefix(rawBytesMax), as: UTF8.self) }
}

/// Rows as they were read, typed, before computed columns and validation.
package struct RawBatch {
    /// The columns that are in the file, in the order of the layout.
    package var columns: [Column]
    /// Of each row, its line.
    package var lines: [Int]
}

/// Receives what a reader finds, in the order of the file.
package protocol RowSink: AnyObject {
    func accept(_ batch: RawBatch) throws(KeelError)
    func reject(_ issue: RowIssue) throws(KeelError)
}

/// Collects fields into typed columns and hands them on in batches, so that a file of any size takes little memory.
final class RowBatcher {
    static let rowsMax = 131_072
    /// Of the rows of a batch, as they were written.
    static let bytesMax = 16 << 20
    /// The largest field that a dataset holds.
    static let fieldBytesMax = 1 << 20

    let layout: FileLayout
    let builders: [ColumnBuilder]
    private var lines: [Int] = []
    private var bytes = 0
    private let sink: any RowSink

    init(_ spec: DatasetSpec, sink: any RowSink) {
        layout = spec.layout
        builders = layout.columns.map { ColumnBuilder($0.type, zone: $0.zone) }
        self.sink = sink
    }

    /// Appends a field of the row under way; returns the issue, after which the row must be abandoned.
    @inline(__always) func append(_ text: UnsafeBufferPointer<UInt8>, quoted: Bool, to column: Int) -> (rule: String, message: String)? {
        let builder = builders[column]
        if text.count <= layout.nullLengthMax, !(quoted && builder.type == .string), isNull(text) {
            builder.appendNull()
            return nil
        }
        guard text.count <= RowBatcher.fieldBytesMax else { return tooLong(column, text.count) }
        guard let problem = builder.append(text: text) else { return nil }
        return (
            "\(layout.names[column]): \(problem.hasPrefix("text that") ? "valid UTF-8" : builder.type.description)",
            "column '\(layout.names[column])': \(problem)"
        )
    }

    func tooLong(_ column: Int, _ bytes: Int) -> (rule: String, message: String) {
        (
            "\(layout.names[column]): at most \(RowBatcher.fieldBytesMax) bytes",
            "column '\(layout.names[column])': a field of \(bytes) bytes, at most \(RowBatcher.fieldBytesMax) are allowed"
        )
    }

    private func isNull(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        for word in layout.nulls where word.count == text.count {
            var same = true
            for i in 0..<word.count where word[i] != text[i] { same = false }
            if same { return true }
        }
        return false
    }

    /// The row under way, which took `bytes` as it was written, is whole. A column that got no value is null.
    func commitRow(line: Int, bytes: Int) throws(KeelError) {
        lines.append(line)
        for builder in builders where builder.count < lines.count { builder.appendNull() }
        self.bytes += bytes
        if lines.count >= RowBatcher.rowsMax || self.bytes >= RowBatcher.bytesMax { try flush() }
    }

    /// The row under way is refused.
    func abandonRow(_ issue: RowIssue) throws(KeelError) {
        for builder in builders { builder.truncate(to: lines.count) }
        try sink.reject(issue)
    }

    var rowCount: Int { lines.count }

    /// Hands on what is there.
    func flush() throws(KeelError) {
        guard !lines.isEmpty else { return }
        let batch = RawBatch(columns: builders.map { $0.take() }, lines: lines)
        lines.removeAll(keepingCapacity: true)
        bytes = 0
        try sink.accept(batch)
    }
}
