import Contracts
import Storage

/// The SQL of the prediction tables. One transaction writes what was predicted in all workspaces, so each statement names its workspace.
enum PredictionStore {
    enum Step: Sendable {
        case predictions(LoggedBatch)
        case labels(LabelsInput)
        case nothing
    }

    struct Outcome: Sendable {
        var records: [PredictionRecord] = []
        var labelled: [LabelledPrediction] = []
        var counts = LabelCounts()
        var repeated = 0
    }

    private static let insert = """
        INSERT INTO predictions (seq, workspace, id, endpoint, release_number, event_time, at, shadow, score, inputs, outputs, request, latency_ns,
        known_from, known_until)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, id, endpoint, release_number) DO NOTHING
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
    static func write(_ steps: [Step], _ rules: LabelRules, drained: UInt64?, in transaction: Transaction) throws -> [Outcome] {
        if let drained { try setDrained(drained, in: transaction) }
        var early = try transaction.row("SELECT id FROM early_labels LIMIT 1") != nil
        var outcomes = steps.map { _ in Outcome() }
        var numbers = try RowNumbers(in: transaction)
        for i in order(of: steps) {
            switch steps[i] {
            case .nothing: break
            case .predictions(let batch):
                try write(batch, &outcomes[i], &numbers, transaction)
                if early { try joinEarly(&outcomes[i], rules, transaction) }
            case .labels(let input):
                for (j, label) in input.labels.enumerated() {
                    let target = Target(workspace: input.workspace, endpoint: input.endpoint, id: label.id)
                    if let reason = try refusal(of: label, target, rules, transaction) {
                        outcomes[i].counts.rejected.append(RejectedLabel(index: j, reason: reason))
                        continue
                    }
                    let joined = try join(label, target, transaction)
                    outcomes[i].labelled += joined
                    if joined.isEmpty {
                        try keepEarly(label, target, transaction)
                        early = true
                        outcomes[i].counts.unknown += 1
                    } else {
                        outcomes[i].counts.joined += 1
                    }
                }
            }
        }
        try numbers.note(in: transaction)
        return outcomes
    }

    /// The order in which steps are written: as they came, but what was predicted between two labels release by release, so that the rows of each have
    /// numbers that follow each other.
    private static func order(of steps: [Step]) -> [Int] {
        var order: [Int] = []
        var waiting: [(rows: UnexportedRows, steps: [Int])] = []
        func take() {
            for (_, steps) in waiting { order += steps }
            waiting = []
        }
        for (i, step) in steps.enumerated() {
            if case .predictions(let batch) = step {
                if let known = waiting.firstIndex(where: { $0.rows == batch.unexported }) {
                    waiting[known].steps.append(i)
                } else {
                    waiting.append((batch.unexported, [i]))
                }
            } else {
                take()
                order.append(i)
            }
        }
        take()
        return order
    }

    private static func write(_ batch: LoggedBatch, _ outcome: inout Outcome, _ numbers: inout RowNumbers, _ transaction: Transaction) throws {
        let workspace = Value.string(batch.endpoint.workspace.name)
        let endpoint = Value.string(batch.endpoint.qualifiedName)
        let rows = batch.unexported
        for row in batch.rows {
            let record = batch.record(row)
            let changed = try transaction.execute(
                insert,
                [
                    .int(numbers.next), workspace, .string(record.id), endpoint, .int(Int64(record.release)), .timestamp(record.eventTime),
                    .timestamp(record.at), .int(record.shadow ? 1 : 0), record.score.map { .double(Double($0)) } ?? .null,
                    .bytes(record.inputs.bytes), .bytes(record.outputs.bytes), .string(row.request), .int(Int64(record.latencyNanoseconds)),
                    row.isExact ? batch.known.map { .timestamp($0.lowerBound) } ?? .null : .null,
                    batch.known.map { .timestamp($0.upperBound) } ?? .null,
                ])
            if changed == 0 {
                outcome.repeated += 1
            } else {
                outcome.records.append(record)
                try numbers.use(for: rows, in: transaction)
            }
        }
    }

    /// The predictions that a label is of: those of an id in a workspace, on whichever endpoint unless one is named.
    private struct Target {
        let workspace: WorkspaceID
        let endpoint: ResourceRef?
        let id: String

        var clause: String { endpoint == nil ? "workspace = ? AND id = ?" : "workspace = ? AND id = ? AND endpoint = ?" }
        var parameters: [Value] { [.string(workspace.name), .string(id)] + (endpoint.map { [.string($0.qualifiedName)] } ?? []) }
    }

    /// Why a label cannot be one of its predictions. Of an id that is not logged it is not known whose that is.
    private static func refusal(of label: LabelInput, _ target: Target, _ rules: LabelRules, _ transaction: Transaction) throws -> String? {
        guard !rules.isEmpty else { return nil }
        // Grouped here and not in SQL: SQLite would group by the index on time, and read every prediction of the workspace for each label.
        let found = try transaction.rows(
            "SELECT workspace, endpoint, event_time FROM predictions WHERE \(target.clause) ORDER BY endpoint, release_number", target.parameters)
        var latest: [ResourceRef: Timestamp] = [:]
        for row in found {
            let endpoint = ReleaseStore.endpoint(row)
            latest[endpoint] = max(latest[endpoint] ?? .distantPast, row.time("event_time"))
        }
        let at = label.at ?? transaction.now
        for (endpoint, time) in latest.sorted(by: { $0.key.qualifiedName < $1.key.qualifiedName }) {
            if let reason = rules.refusal(of: label.value, at: at, endpoint, eventTime: time) { return reason }
        }
        return nil
    }

    /// Labels every logged score of the target: those of callers and those in shadow.
    private static func join(_ label: LabelInput, _ target: Target, _ transaction: Transaction) throws -> [LabelledPrediction] {
        let at = label.at ?? transaction.now
        let changed = try transaction.execute(
            """
            UPDATE predictions SET label = ?, label_text = ?, label_type = ?, label_at = ?, label_pending = coalesce(label_pending, 0) + 1
            WHERE \(target.clause)
            """, label.value.stored + [.timestamp(at)] + target.parameters)
        guard changed > 0 else { return [] }
        return try transaction.rows(
            """
            SELECT workspace, endpoint, release_number, event_time, shadow, score, outputs FROM predictions WHERE \(target.clause)
            ORDER BY endpoint, release_number
            """, target.parameters
        ).map { row in
            LabelledPrediction(
                endpoint: ReleaseStore.endpoint(row), id: label.id, release: Int(row.int("release_number")), eventTime: row.time("event_time"),
                shadow: row.bool("shadow"), score: row.optionalDouble("score"), outputs: row.optionalBytes("outputs").map(PackedRow.init),
                label: label.value, labelAt: at)
        }
    }

    private static func keepEarly(_ label: LabelInput, _ target: Target, _ transaction: Transaction) throws {
        try transaction.execute(
            "DELETE FROM early_labels WHERE received_at < ?", [.timestamp(transaction.now - LabelCounts.unknownKept)])
        try transaction.execute(
            """
            INSERT INTO early_labels (workspace, id, endpoint, label, label_text, label_type, label_at, received_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, id, endpoint)
            DO UPDATE SET label = excluded.label, label_text = excluded.label_text, label_type = excluded.label_type,
            label_at = excluded.label_at, received_at = excluded.received_at
            """,
            [.string(target.workspace.name), .string(label.id), .string(target.endpoint?.qualifiedName ?? "")] + label.value.stored
                + [.timestamp(label.at ?? transaction.now), .timestamp(transaction.now)])
    }

    /// A label that its endpoint cannot have is let go: only now it is known whose it is.
    private static func joinEarly(_ outcome: inout Outcome, _ rules: LabelRules, _ transaction: Transaction) throws {
        for record in outcome.records {
            let endpoint = record.endpoint
            let parameters: [Value] = [.string(endpoint.workspace.name), .string(record.id), .string(endpoint.qualifiedName)]
            // The one that came last is true.
            let rows = try transaction.rows(
                """
                SELECT label, label_text, label_type, label_at FROM early_labels
                WHERE workspace = ? AND id = ? AND endpoint IN ('', ?) ORDER BY received_at
                """, parameters)
            guard let row = rows.last else { continue }
            let at = row.time("label_at")
            if let value = Label(row), rules.refusal(of: value, at: at, endpoint, eventTime: record.eventTime) == nil {
                let target = Target(workspace: endpoint.workspace, endpoint: endpoint, id: record.id)
                outcome.labelled += try join(LabelInput(id: record.id, value: value, at: at), target, transaction)
            }
            try transaction.execute("DELETE FROM early_labels WHERE workspace = ? AND id = ? AND endpoint IN ('', ?)", parameters)
        }
    }

    /// The inputs of a prediction of a version before inputs had types: little-endian float32, NaN is missing, a category the number of its place.
    static func floats(_ bytes: [UInt8]) -> [Value] {
        (0..<bytes.count / 4).map { i in
            let value = Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[i * 4 + $1]) << UInt32($1 * 8) })
            return value.isNaN ? .null : .double(Double(value))
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
