import Contracts

/// What every row goes through on its way into a dataset, from a file or a push alike: computed columns, `where`, time bounds, the rules.
struct RowPipeline: Sendable {
    struct Outcome {
        /// The rows that keep the contract, in its columns.
        var table: Table
        /// Of each of them, its line.
        var lines: [Int]
        var filtered: Int
        var issues: [RowIssue]
    }

    private let spec: DatasetSpec
    private let validator: RowValidator
    private let from: Int64
    private let until: Int64

    init(_ spec: DatasetSpec, from: Timestamp? = nil, until: Timestamp? = nil) {
        self.spec = spec
        validator = RowValidator(spec.schema.fields)
        self.from = from?.microseconds ?? .min
        self.until = until?.microseconds ?? .max
    }

    func run(_ batch: RawBatch) throws(KeelError) -> Outcome {
        var faults: [Int: RowValidator.Fault] = [:]
        let table = try compute(batch.table, &faults)
        let wanted = try wantedRows(table)
        try validator.check(table, faults: &faults)
        var (kept, issues, filtered) = ([Int](), [RowIssue](), 0)
        kept.reserveCapacity(table.rowCount)
        for row in 0..<table.rowCount {
            if let wanted, !wanted[row] {
                filtered += 1
            } else if !faults.isEmpty, let fault = faults[row] {
                issues.append(RowIssue(line: batch.lines[row], rule: fault.rule, message: fault.message, raw: RowPipeline.raw(batch.table, row)))
            } else {
                kept.append(row)
            }
        }
        let selected = try table.selecting(spec.schema.names)
        if kept.count == table.rowCount { return Outcome(table: selected, lines: batch.lines, filtered: 0, issues: []) }
        return Outcome(table: selected.taking(rows: kept), lines: kept.map { batch.lines[$0] }, filtered: filtered, issues: issues)
    }

    private func compute(_ table: Table, _ faults: inout [Int: RowValidator.Fault]) throws(KeelError) -> Table {
        var table = table
        for (index, expression) in spec.computed {
            let column = spec.columns[index]
            let name = column.field.name
            var misfits: [Int] = []
            var values = try Conversion.column(try expression.evaluate(over: table), to: column.field.type) { misfits.append($0) }
            for row in misfits where faults[row] == nil {
                faults[row] = RowValidator.Fault(rule: "\(name): \(column.field.type)", message: "column '\(name)': the computed value does not fit in \(column.field.type)")
            }
            if let zoneName = column.zone, var zone = ClockZone(zoneName), case .int64(let clocks) = values.buffer {
                values = Column(.timestamp, .int64(clocks.map { zone.instant(ofClock: $0) }), validity: values.validity)
            }
            table = try table.with(name, values)
        }
        return table
    }

    /// Nil when every row is wanted. A row without event time is left to the rules.
    private func wantedRows(_ table: Table) throws(KeelError) -> [Bool]? {
        let bounded = from != .min || until != .max
        guard spec.typedFilter != nil || bounded else { return nil }
        var wanted = [Bool](repeating: true, count: table.rowCount)
        if let filter = spec.typedFilter {
            let holds = try filter.evaluate(over: table)
            if case .bool(let values) = holds.buffer { for i in wanted.indices { wanted[i] = values[i] && holds.isValid(i) } }
        }
        if bounded, let name = spec.eventTime {
            let times = try table.column(name)
            switch times.buffer {
            case .int64(let values): for i in wanted.indices where times.isValid(i) && (values[i] < from || values[i] >= until) { wanted[i] = false }
            case .int32(let days):
                for i in wanted.indices where times.isValid(i) {
                    let time = Int64(days[i]) * 86_400_000_000
                    if time < from || time >= until { wanted[i] = false }
                }
            default: break
            }
        }
        return wanted
    }

    static func raw(_ table: Table, _ row: Int) -> String {
        let members = zip(table.names, table.columns).map { JSON.Member($0, JSON($1[row])) }
        return String(decoding: JSON.object(members).bytes.prefix(RowIssue.rawBytesMax), as: UTF8.self)
    }
}

extension RowPipeline {
    static func duplicate(_ key: [String], _ table: Table, _ row: Int) -> String {
        let values = key.map { "\($0) = \(table[$0].map { $0[row].description.prefix(60) } ?? "")" }
        return "a row with the key \(values.joined(separator: ", ")) is there already"
    }
}
