import Contracts

/// How to turn requests into the rows of a model's input: immutable, safe to use from any thread, and never waiting for I/O.
///
/// It refers into the online state: it sees every event applied before a call. A plan stays valid after the catalogue changed
/// (it goes on reading the views it was made for); make a new one to follow the change.
public struct OnlinePlan: Sendable {
    private enum Source: Sendable {
        case number(slot: Int)
        case category(slot: Int, codes: [String: Float])
    }

    let service: ResolvedService
    let views: [OnlineView]
    let clock: any Clock
    private let inputs: [Source]

    /// What a request has to carry.
    public var requestFields: [Field] { service.requestFields }
    /// How many values a row of the matrix has.
    public var width: Int { inputs.count }

    init(_ service: ResolvedService, views: [OnlineView], inputs wanted: [Signature.Input], clock: any Clock) throws(KeelError) {
        self.service = service
        self.views = views
        self.clock = clock
        var inputs: [Source] = []
        for (i, input) in wanted.enumerated() { inputs.append(try OnlinePlan.source(input, service, at: "inputs[\(i)]")) }
        self.inputs = inputs
    }

    private static func source(_ input: Signature.Input, _ service: ResolvedService, at place: String) throws(KeelError) -> Source {
        let slot: Int
        let type: DataType
        if let output = service.outputs.first(where: { $0.name == input.name }) {
            (slot, type) = (output.slot, output.type)
        } else if let index = service.requestFields.firstIndex(where: { $0.name == input.name }) {
            (slot, type) = (index, service.requestFields[index].type)
        } else {
            let known = service.outputs.map(\.name) + service.requestFields.map(\.name)
            throw .invalid(
                "feature service '\(service.name)' has no feature '\(input.name)'",
                hint: nearest(input.name, in: known).map { "did you mean '\($0)'?" } ?? "features: \(known.joined(separator: ", "))",
                path: place)
        }
        switch type {
        case .bool, .int32, .int64, .float32, .float64: return .number(slot: slot)
        case .string:
            guard let categories = input.categories else {
                throw .invalid(
                    "input '\(input.name)' is a text without categories", hint: "a model takes a text as its position in a list",
                    path: place)
            }
            var codes: [String: Float] = [:]
            for (i, category) in categories.enumerated() { codes[category] = Float(i) }
            return .category(slot: slot, codes: codes)
        default:
            throw .invalid(
                "input '\(input.name)' is a \(type), which a model cannot take", hint: "derive a number from it in a request view",
                path: place)
        }
    }

    /// Computes the inputs of every row: `rowCount × width` values, row-major; what is missing is NaN, booleans are 0 and 1, texts the
    /// position in the input's categories (NaN when it is not there).
    ///
    /// - Returns: as of when each row was read; nil when the service names no time column (it reads as of now).
    /// - Throws: `contractViolation` that names the column; the matrix is then as it was.
    @discardableResult
    public func fill(_ request: Table, into matrix: UnsafeMutableBufferPointer<Float>) throws(KeelError) -> [Timestamp]? {
        guard matrix.count >= request.rowCount * inputs.count else {
            throw .invalid("a matrix of \(matrix.count) values for \(request.rowCount) rows of \(inputs.count)")
        }
        let columns = try RequestColumns(request, service)
        let now = service.timeSlot == nil ? clock.now().microseconds : 0
        var reader = RowReader(service, views)
        for row in 0..<columns.rowCount {
            reader.load(columns, row, now: now)
            let base = row * inputs.count
            for (i, source) in inputs.enumerated() { matrix[base + i] = OnlinePlan.float(source, reader.slots) }
        }
        return columns.times(service)?.map { Timestamp(microseconds: $0) }
    }

    @inline(__always) private static func float(_ source: Source, _ slots: [Value]) -> Float {
        switch source {
        case .number(let slot):
            switch slots[slot] {
            case .double(let v): Float(v)
            case .int(let v): Float(v)
            case .bool(let v): v ? 1 : 0
            default: .nan
            }
        case .category(let slot, let codes):
            if case .string(let text) = slots[slot] { codes[text] ?? .nan } else { .nan }
        }
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
            reader.load(columns, row, now: now)
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

    mutating func load(_ columns: RequestColumns, _ row: Int, now: Int64) {
        for slot in columns.columns.indices { slots[slot] = columns.columns[slot][row].finite }
        let time = columns.time(row, service, now: now)
        for (use, view) in zip(service.uses, views) {
            key.removeAll(keepingCapacity: true)
            var known = true
            for slot in use.keySlots where !KeyEncoding.append(slots[slot], to: &key) { known = false }
            view.read(known ? key : nil, asOf: time, use.features, into: &slots)
        }
        for computed in service.computed {
            let value = slots.withUnsafeBufferPointer { slots in computed.expression.evaluate { slots[computed.slots[$0]] } }
            slots[computed.slot] = value
        }
    }
}
