import Contracts
import Storage

/// The SQL of the prediction tables.
enum PredictionStore {
    enum Step: Sendable {
        case predictions(LoggedBatch)
        /// - Parameter binary: the endpoints whose labels are 0 or 1.
        case labels([LabelInput], binary: Set<String>)
        case nothing
    }

    struct Outcome: Sendable {
        var records: [PredictionRecord] = []
        var labelled: [LabelledPrediction] = []
        var counts = LabelCounts()
        var repeated = 0
    }

    private static let insert = """
        INSERT INTO predictions (id, endpoint, release_number, event_time, at, shadow, score, features, request, latency_ns)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, endpoint, release_number) DO NOTHING
        """

    /// The offset of the journal before which everything is in the table.
    static func drained(in db: some Querying) throws -> UInt64 {
        try db.row("SELECT drained FROM prediction_journal").map { UInt64(max(0, $0.int("drained"))) } ?? 0
    }

    static func setDrained(_ offset: UInt64, in transaction: Transaction) throws {
        try transaction.execute(
            "INSERT INTO prediction_journal (id, drained) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET drained = excluded.drained",
            [.int(Int64(offset))])
    }

    /// - Parameter drained: the journal's offset behind the last of the predictions, noted in the same transaction.
    static func write(_ steps: [Step], drained: UInt64?, in transaction: Transaction) throws -> [Outcome] {
        if let drained { try setDrained(drained, in: transaction) }
        var early = try transaction.row("SELECT id FROM early_labels LIMIT 1") != nil
        var outcomes: [Outcome] = []
        for step in steps {
            var outcome = Outcome()
            switch step {
            case .nothing: break
            case .predictions(let batch):
                try write(batch, &outcome, transaction)
                if early { try joinEarly(&outcome, transaction) }
            case .labels(let labels, let binary):
                for (i, label) in labels.enumerated() {
                    if let reason = try refusal(of: label, binary, transaction) {
                        outcome.counts.rejected.append(RejectedLabel(index: i, reason: reason))
                        continue
                    }
                    let joined = try join(label, transaction)
                    outcome.labelled += joined
                    if joined.isEmpty {
                        try keepEarly(label, transaction)
                        early = true
                        outcome.counts.unknown += 1
                    } else {
                        outcome.counts.joined += 1
                    }
                }
            }
            outcomes.append(outcome)
        }
        return outcomes
    }

    private static func write(_ batch: LoggedBatch, _ outcome: inout Outcome, _ transaction: Transaction) throws {
        for row in batch.rows {
            let record = batch.record(row)
            let changed = try transaction.execute(
                insert,
                [
                    .string(record.id), .string(record.endpoint), .int(Int64(record.release)), .timestamp(record.eventTime),
                    .timestamp(record.at),
                    .int(record.shadow ? 1 : 0), .double(Double(record.score)), .bytes(littleEndian(record.features)), .string(row.request),
                    .int(Int64(record.latencyNanoseconds)),
                ])
            if changed == 0 { outcome.repeated += 1 } else { outcome.records.append(record) }
        }
    }

    /// Why a label cannot be one of its prediction's endpoint. Of an id that is not logged it is not known which that is.
    private static func refusal(of label: LabelInput, _ binary: Set<String>, _ transaction: Transaction) throws -> String? {
        guard label.value != 0, label.value != 1, !binary.isEmpty else { return nil }
        let endpoints = try transaction.rows(
            "SELECT DISTINCT endpoint FROM predictions WHERE id = ? ORDER BY endpoint", [.string(label.id)])
        return endpoints.map { $0.text("endpoint") }.first(where: binary.contains).map {
            "\(label.value) is neither 0 nor 1, which a monitor of the endpoint '\($0)' measures its performance by"
        }
    }

    /// Labels every logged score of the id: those of callers and those in shadow.
    private static func join(_ label: LabelInput, _ transaction: Transaction) throws -> [LabelledPrediction] {
        let at = label.at ?? transaction.now
        let changed = try transaction.execute(
            "UPDATE predictions SET label = ?, label_at = ? WHERE id = ?", [.double(label.value), .timestamp(at), .string(label.id)])
        guard changed > 0 else { return [] }
        return try transaction.rows(
            "SELECT endpoint, release_number, event_time, shadow, score FROM predictions WHERE id = ? ORDER BY endpoint, release_number",
            [.string(label.id)]
        ).map { row in
            LabelledPrediction(
                endpoint: row.text("endpoint"), id: label.id, release: Int(row.int("release_number")), eventTime: row.time("event_time"),
                shadow: row.bool("shadow"), score: row.double("score"), label: label.value, labelAt: at)
        }
    }

    private static func keepEarly(_ label: LabelInput, _ transaction: Transaction) throws {
        try transaction.execute(
            "DELETE FROM early_labels WHERE received_at < ?", [.timestamp(transaction.now - LabelCounts.unknownKept)])
        try transaction.execute(
            """
            INSERT INTO early_labels (id, label, label_at, received_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET label = excluded.label, label_at = excluded.label_at, received_at = excluded.received_at
            """,
            [.string(label.id), .double(label.value), .timestamp(label.at ?? transaction.now), .timestamp(transaction.now)])
    }

    private static func joinEarly(_ outcome: inout Outcome, _ transaction: Transaction) throws {
        for record in outcome.records {
            guard let row = try transaction.row("SELECT label, label_at FROM early_labels WHERE id = ?", [.string(record.id)]) else {
                continue
            }
            outcome.labelled += try join(LabelInput(id: record.id, value: row.double("label"), at: row.time("label_at")), transaction)
            try transaction.execute("DELETE FROM early_labels WHERE id = ?", [.string(record.id)])
        }
    }

    static func littleEndian(_ values: [Float]) -> [UInt8] {
        #if _endian(little)
            return values.withUnsafeBytes { Array($0) }
        #else
            return values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
        #endif
    }

    static func floats(_ bytes: [UInt8]) -> [Float] {
        (0..<bytes.count / 4).map { i in
            Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[i * 4 + $1]) << UInt32($1 * 8) })
        }
    }
}

/// Writes rows of a request as JSON objects.
struct RequestText {
    private let table: Table
    private var out: [UInt8] = []

    init(_ table: Table) {
        self.table = table
        out.reserveCapacity(table.names.count * 32)
    }

    mutating func row(_ i: Int) -> String {
        out.removeAll(keepingCapacity: true)
        out.append(0x7b)
        for (j, name) in table.names.enumerated() {
            if j > 0 { out.append(0x2c) }
            JSON.write(string: name, to: &out)
            out.append(0x3a)
            write(table.columns[j], i)
        }
        out.append(0x7d)
        return String(decoding: out, as: UTF8.self)
    }

    private mutating func write(_ column: Column, _ i: Int) {
        switch column.buffer {
        case .float64(let values) where values[i].isFinite && column.isValid(i): out.append(contentsOf: values[i].description.utf8)
        case .int64(let values) where column.type == .int64 && column.isValid(i): out.append(contentsOf: values[i].description.utf8)
        default: JSON(column[i]).write(to: &out)
        }
    }
}
