import Contracts

/// How to turn requests into the rows of a model's input: immutable, safe to use from any thread, and never waiting for I/O.
///
/// It refers into the online state: it sees every event applied before a call. A plan stays valid after the catalogue changed
/// (it goes on reading the views it was made for); make a new one to follow the change.
public struct OnlinePlan: Sendable {
    let service: ResolvedService
    let views: [OnlineView]
    let clock: any Clock
    private let inputs: [Input]
    private let names: [String]

    /// Where an input comes from.
    private struct Input: Sendable {
        let name: String
        let slot: Int
        let type: DataType
    }

    /// What a request has to carry.
    public var requestFields: [Field] { service.requestFields }

    init(_ service: ResolvedService, views: [OnlineView], inputs wanted: [Signature.Input], clock: any Clock) throws(KeelError) {
        self.service = service
        self.views = views
        self.clock = clock
        var inputs: [Input] = []
        for (i, input) in wanted.enumerated() { inputs.append(try OnlinePlan.source(input, service, at: "inputs[\(i)]")) }
        self.inputs = inputs
        names = inputs.map(\.name)
    }

    private static func source(_ input: Signature.Input, _ service: ResolvedService, at place: String) throws(KeelError) -> Input {
        if let output = service.outputs.first(where: { $0.name == input.name }) {
            return Input(name: input.name, slot: output.slot, type: try checked(output.type, input, at: place))
        }
        if let index = service.requestFields.firstIndex(where: { $0.name == input.name }) {
            return Input(name: input.name, slot: index, type: try checked(service.requestFields[index].type, input, at: place))
        }
        let known = service.outputs.map(\.name) + service.requestFields.map(\.name)
        throw .invalid(
            "feature service '\(service.name)' has no feature '\(input.name)'",
            hint: nearest(input.name, in: known).map { "did you mean '\($0)'?" } ?? "features: \(known.joined(separator: ", "))", path: place)
    }

    /// The type in which the model is given a feature: any number as the kind of number that the model takes, all else as it is.
    private static func checked(_ type: DataType, _ input: Signature.Input, at place: String) throws(KeelError) -> DataType {
        let isNumber = { (type: DataType) in type.isNumeric || type == .bool }
        guard type == input.type || isNumber(type) && isNumber(input.type) else {
            throw .invalid(
                "input '\(input.name)' is a \(input.type), the feature a \(type)", hint: "derive a \(input.type) from it in a request view",
                path: place)
        }
        return input.type
    }

    /// Computes the inputs of every row, in the order and of the types of the model's inputs; a missing float is NaN.
    ///
    /// - Returns: the inputs; as of when each row was read, and which rows of the datasets were there, nil when the service names no time column and
    ///   reads no dataset.
    /// - Throws: `contractViolation` that names the column, for a request that lacks it, and for a feature that the model's input cannot hold.
    public func inputs(for request: Table) throws(KeelError) -> (table: Table, times: [Timestamp]?, bounds: ReadBounds?) {
        let columns = try RequestColumns(request, service)
        let now = clock.now().microseconds
        let seen = views.reduce(now) { min($0, $1.arrivals.seen(at: now)) }
        var inexact: [Int] = []
        var reader = RowReader(service, views)
        let rows = columns.rowCount
        var builders = inputs.map { InputBuilder($0.type, rows: rows) }
        for row in 0..<rows {
            if !reader.load(columns, row, now: now) { inexact.append(row) }
            for i in inputs.indices where !builders[i].append(reader.slots[inputs[i].slot]) {
                throw KeelError(
                    .contractViolation, "feature '\(inputs[i].name)' is \(reader.slots[inputs[i].slot]), the model takes a \(inputs[i].type)",
                    path: inputs[i].name)
            }
        }
        let table = Table(distinct: names, columns: builders.map(\.column))
        let times = columns.times(service) ?? (views.isEmpty ? nil : Array(repeating: now, count: rows))
        guard !views.isEmpty else { return (table, times?.map { Timestamp(microseconds: $0) }, nil) }
        let end = clock.now().microseconds
        let shown = views.reduce(end) { max($0, $1.arrivals.shown(at: end)) }
        let bounds = ReadBounds(
            from: Timestamp(microseconds: min(seen, shown)), until: Timestamp(microseconds: shown), inexact: inexact)
        return (table, times?.map { Timestamp(microseconds: $0) }, bounds)
    }

    /// The same values from typed columns (a training set, or `FeatureStore.read`), `rowCount × inputs` row-major.
    ///
    /// - Parameter inputs: as given to `FeatureStore.plan`.
    public static func matrix(_ table: Table, inputs: [Signature.Input]) throws(KeelError) -> [Float] {
        var out = [Float](repeating: .nan, count: table.rowCount * inputs.count)
        for (i, input) in inputs.enumerated() {
            let column = try table.column(input.name)
            if let categories = input.categories, case .text = column.buffer {
                var codes: [String: Float] = [:]
                for (j, category) in categories.enumerated() { codes[category] = Float(j) }
                for row in 0..<table.rowCount {
                    if case .string(let text) = column[row] { out[row * inputs.count + i] = codes[text] ?? .nan }
                }
            } else if let numbers = column.doubles() {
                for row in 0..<table.rowCount { out[row * inputs.count + i] = Float(numbers[row]) }
            } else {
                throw .invalid("'\(input.name)' is a \(column.type) without categories", path: input.name)
            }
        }
        return out
    }

    /// The typed features of every row.
    func read(_ request: Table) throws(KeelError) -> Table {
        let columns = try RequestColumns(request, service)
        let now = service.timeSlot == nil ? clock.now().microseconds : 0
        var reader = RowReader(service, views)
        var outputs = service.outputs.map { Column($0.type) }
        for row in 0..<columns.rowCount {
            _ = reader.load(columns, row, now: now)
            for (i, output) in service.outputs.enumerated() {
                try placed(output.name) { () throws(KeelError) in try outputs[i].append(reader.slots[output.slot]) }
            }
        }
        var pairs = zip(service.requestFields, columns.columns).map { (name: $0.0.name, column: $0.1) }
        for (output, column) in zip(service.outputs, outputs) { pairs.append((output.name, column)) }
        return try Table(pairs)
    }
}

/// Computes the slots of one row after another.
struct RowReader {
    private let service: ResolvedService
    private let views: [OnlineView]
    private var key: [UInt8] = []
    private(set) var slots: [Value]

    init(_ service: ResolvedService, _ views: [OnlineView]) {
        self.service = service
        self.views = views
        slots = Array(repeating: .null, count: service.slotCount)
    }

    /// - Returns: whether every view has all that its features cover.
    mutating func load(_ columns: RequestColumns, _ row: Int, now: Int64) -> Bool {
        var isExact = true
        for slot in columns.columns.indices { slots[slot] = columns.columns[slot][row].finite }
        let time = columns.time(row, service, now: now)
        for (use, view) in zip(service.uses, views) {
            key.removeAll(keepingCapacity: true)
            var known = true
            for slot in use.keySlots where !KeyEncoding.append(slots[slot], to: &key) { known = false }
            if !view.read(known ? key : nil, asOf: time, use.features, into: &slots) { isExact = false }
        }
        for computed in service.computed {
            let value = slots.withUnsafeBufferPointer { slots in computed.expression.evaluate { slots[computed.slots[$0]] } }
            slots[computed.slot] = value
        }
        return isExact
    }
}
