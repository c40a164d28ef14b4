import Contracts
import Expressions

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

    /// What is computed, with the places of the columns it reads. Columns stand in the order of the layout, computed ones after them.
    private struct Step: Sendable {
        var expression: TypedExpression
        var inputs: [Int]
        var name: String
        var type: DataType
        var zone: String?
    }

    private let spec: DatasetSpec
    private let names: [String]
    private let steps: [Step]
    private let filter: Step?
    /// Of each column of the contract, its place.
    private let kept: [Int]
    private let eventTime: Int?
    private let validator: RowValidator
    private let from: Int64
    private let until: Int64
    /// Below this, building a table to evaluate over costs more than it saves.
    private static let fewRows = 32

    init(_ spec: DatasetSpec, from: Timestamp? = nil, until: Timestamp? = nil) {
        self.spec = spec
        let names = spec.layout.names + spec.computed.map { spec.columns[$0.column].field.name }
        func place(_ name: String) -> Int? { names.firstIndex(of: name) }
        func step(_ expression: TypedExpression, _ name: String, _ type: DataType, _ zone: String?) -> Step {
            Step(expression: expression, inputs: expression.columns.compactMap(place), name: name, type: type, zone: zone)
        }
        steps = spec.computed.map {
            step($0.expression, spec.columns[$0.column].field.name, spec.columns[$0.column].field.type, spec.columns[$0.column].zone)
        }
        filter = spec.typedFilter.map { step($0, "where", .bool, nil) }
        kept = spec.schema.names.compactMap(place)
        eventTime = spec.eventTime.flatMap(place)
        self.names = names
        validator = RowValidator(spec.schema.fields, at: kept)
        self.from = from?.microseconds ?? .min
        self.until = until?.microseconds ?? .max
    }

    func run(_ batch: RawBatch) throws(KeelError) -> Outcome {
        var faults: [Int: RowValidator.Fault] = [:]
        let rows = batch.lines.count
        var columns = batch.columns
        for step in steps { columns.append(try compute(step, columns, rows, &faults)) }
        let wanted = try wantedRows(columns, rows)
        validator.check(columns, faults: &faults)
        var pairs: [(name: String, column: Column)] = []
        pairs.reserveCapacity(kept.count)
        for place in kept { pairs.append((names[place], columns[place])) }
        let table = try Table(pairs)
        if wanted == nil, faults.isEmpty { return Outcome(table: table, lines: batch.lines, filtered: 0, issues: []) }
        var (good, issues, filtered) = ([Int](), [RowIssue](), 0)
        for row in 0..<rows {
            if let wanted, !wanted[row] {
                filtered += 1
            } else if let fault = faults[row] {
                let raw = RowPipeline.raw(spec.layout.names, batch.columns, row)
                issues.append(RowIssue(line: batch.lines[row], rule: fault.rule, message: fault.message, raw: raw))
            } else {
                good.append(row)
            }
        }
        return Outcome(table: table.taking(rows: good), lines: good.map { batch.lines[$0] }, filtered: filtered, issues: issues)
    }

    private func evaluate(_ step: Step, _ columns: [Column], _ rows: Int) throws(KeelError) -> Column {
        if rows <= RowPipeline.fewRows {
            var out = Column(step.expression.type)
            for row in 0..<rows { try out.append(step.expression.evaluate { columns[step.inputs[$0]][row] }) }
            return out
        }
        return try step.expression.evaluate(over: try Table(step.inputs.map { (names[$0], columns[$0]) }))
    }

    private func compute(_ step: Step, _ columns: [Column], _ rows: Int, _ faults: inout [Int: RowValidator.Fault]) throws(KeelError)
        -> Column
    {
        var misfits: [Int] = []
        let values: Column
        if step.inputs.isEmpty {
            // A constant: there is no column to take the number of rows from.
            let value = step.expression.evaluate { _ in .null }
            values = try Conversion.column(try Column(step.expression.type, values: repeatElement(value, count: rows)), to: step.type) {
                misfits.append($0)
            }
        } else {
            values = try Conversion.column(try evaluate(step, columns, rows), to: step.type) { misfits.append($0) }
        }
        for row in misfits where faults[row] == nil {
            faults[row] = RowValidator.Fault(
                rule: "\(step.name): \(step.type)",
                message: "column '\(step.name)': the computed value does not fit in \(step.type)\(Conversion.limits(step.type))")
        }
        guard let zoneName = step.zone, var zone = ClockZone(zoneName), case .int64(let clocks) = values.buffer else { return values }
        return Column(
            .timestamp, .int64(clocks.map { Timestamp(microseconds: zone.instant(ofClock: $0)).microseconds }), validity: values.validity)
    }

    /// Nil when every row is wanted. A row without event time is left to the rules.
    private func wantedRows(_ columns: [Column], _ rows: Int) throws(KeelError) -> [Bool]? {
        let bounded = from != .min || until != .max
        guard filter != nil || bounded else { return nil }
        var wanted = [Bool](repeating: true, count: rows)
        if let filter {
            var faults: [Int: RowValidator.Fault] = [:]
            let holds = try compute(filter, columns, rows, &faults)
            if case .bool(let values) = holds.buffer { for i in wanted.indices { wanted[i] = values[i] && holds.isValid(i) } }
        }
        guard bounded, let eventTime else { return wanted }
        let times = columns[eventTime]
        switch times.buffer {
        case .int64(let values):
            for i in wanted.indices where times.isValid(i) && (values[i] < from || values[i] >= until) { wanted[i] = false }
        case .int32(let days):
            for i in wanted.indices where times.isValid(i) {
                let time = Timestamp(day: days[i]).microseconds
                if time < from || time >= until { wanted[i] = false }
            }
        default: break
        }
        return wanted
    }

    static func raw(_ names: [String], _ columns: [Column], _ row: Int) -> String {
        let members = zip(names, columns).map { JSON.Member($0, JSON($1[row])) }
        return String(decoding: JSON.object(members).bytes.prefix(RowIssue.rawBytesMax), as: UTF8.self)
    }
}

extension RowPipeline {
    static func duplicate(_ key: [String], _ table: Table, _ row: Int) -> String {
        let values = key.map { "\($0) = \(table[$0].map { $0[row].description.prefix(60) } ?? "")" }
        return "a row with the key \(values.joined(separator: ", ")) is there already"
    }
}
