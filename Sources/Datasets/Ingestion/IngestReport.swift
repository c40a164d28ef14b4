import Contracts

/// A row that broke the contract, as it was kept.
public struct QuarantinedRow: Sendable, Hashable {
    /// The file, or `stream`.
    public let source: String
    /// The line in the file on which the row begins, from 1; of Parquet and the stream the number of the row.
    public let line: Int
    public let reason: String
    /// The beginning of the row as it was, at most 4 KiB.
    public let raw: String

    var json: JSON { ["source": .string(source), "line": .int(Int64(line)), "reason": .string(reason), "raw": .string(raw)] }

    init(source: String, issue: RowIssue) { (self.source, line, reason, raw) = (source, issue.line, issue.message, issue.raw) }

    init?(json: JSON) {
        guard let source = json["source"]?.string, let line = json["line"]?.integer, let reason = json["reason"]?.string,
            let raw = json["raw"]?.string
        else { return nil }
        (self.source, self.line, self.reason, self.raw) = (source, Int(line), reason, raw)
    }
}

/// How far an ingest is.
public struct IngestProgress: Sendable {
    /// Unpacked bytes read so far.
    public let bytes: Int
    /// All of them; nil when the file is packed, as nobody knows before the end.
    public let bytesTotal: Int?
    public let rows: Int
    public let quarantined: Int
}

/// What an ingest did.
public struct IngestReport: Sendable {
    /// Why rows were set aside.
    public struct Reason: Sendable, Hashable {
        public let reason: String
        public let count: Int
        public let firstLine: Int
    }
    public let snapshot: Snapshot
    public let rows: Int
    public let filtered: Int
    public let quarantined: Int
    /// Most frequent first.
    public let reasons: [Reason]
    /// Expectations that were breached and only warn.
    public let warnings: [String]
}

/// What a push did.
public struct PushResult: Sendable {
    /// The rows that are now in the stream, in the contract's columns, with keys and computed columns.
    public let accepted: Table
    /// When the last of them was accepted (`AcceptedTime`); nil when none was.
    public let acceptedAt: Timestamp?
    /// Rows that were refused: their position in the request, from 0, and why.
    public let rejected: [(index: Int, reason: String)]
}
