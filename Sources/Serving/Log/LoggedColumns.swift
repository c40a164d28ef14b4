import Contracts
import Storage

/// How a logged prediction is laid out as columns: those of the log itself, then the model's inputs and outputs under the names of its signature.
///
/// No name of the log is a word that SQL keeps for itself, as `at` is. DuckDB does not tell names apart by their case. An input or output whose name a
/// column of the log has is `input_NAME` or `output_NAME`; so is an output that is named as an input. A model whose signature names no outputs has what
/// it gave in one column `outputs`, as JSON.
struct LoggedColumns: Sendable {
    /// The columns of the log, which are before those of the signature.
    static let own: [Field] = [
        Field("id", .string), Field("release", .int64), Field("model", .string), Field("version", .string), Field("event_time", .timestamp),
        Field("asked_at", .timestamp), Field("shadow", .bool), Field("score", .float64), Field("latency_ns", .int64), Field("request", .string),
    ]
    /// Those of files of labels; `part` says which of two labels of a prediction came later.
    static func ofLabels(_ kind: Label.Kind) -> [Field] {
        [Field("id", .string), Field("release", .int64), Field("label", kind.type), Field("label_at", .timestamp), Field("part", .int64)]
    }

    private let release: Int
    private let model: String
    private let version: String
    private let inputs: [Wanted]
    /// Nil when the signature names none.
    private let outputs: [Wanted]?
    private let fields: [Field]

    /// What the column of an input or output takes.
    fileprivate struct Wanted {
        let type: DataType
        var categories: [String]?
    }

    init(_ release: Release, _ signature: Signature) {
        self.release = release.number
        model = release.model
        version = release.modelVersion
        inputs = signature.inputs.map { Wanted(type: LoggedColumns.stored($0.type), categories: $0.categories) }
        outputs = signature.outputs.isEmpty ? nil : signature.outputs.map { Wanted(type: LoggedColumns.stored($0.type)) }
        var taken = Set(LoggedColumns.own.map(\.name) + ["label", "label_at"])
        func name(_ name: String, _ kind: String) -> String {
            var candidate = name
            var number = 1
            while !taken.insert(candidate.lowercased()).inserted {
                candidate = number == 1 ? "\(kind)_\(name)" : "\(kind)_\(name)_\(number)"
                number += 1
            }
            return candidate
        }
        var fields = LoggedColumns.own
        for (input, wanted) in zip(signature.inputs, inputs) { fields.append(Field(name(input.name, "input"), wanted.type)) }
        for (output, wanted) in zip(signature.outputs, outputs ?? []) { fields.append(Field(name(output.name, "output"), wanted.type)) }
        if outputs == nil { fields.append(Field(name("outputs", "output"), .string)) }
        self.fields = fields
    }

    var empty: Table { Table(emptyOf: fields) }

    /// A tensor is a flat list in a file.
    private static func stored(_ type: DataType) -> DataType {
        if case .tensor(let element, _) = type { return .list(element) }
        return type
    }

    /// The columns of the table `predictions` that `append` reads, in the order of `Place`.
    static let read = "id, event_time, at, shadow, score, inputs, outputs, request, latency_ns"
    private enum Place: Int {
        case seq, id, eventTime, at, shadow, score, inputs, outputs, request, latency
    }

    /// Appends a row of the table `predictions`: its number, and then the columns `read`.
    /// - Returns: the bytes that it had there, and whether every value was one of its column; one that is not is null in the column, and as it was asked
    ///   in `request`.
    func append(_ row: SQLCells, to table: inout Table) throws(KeelError) -> (bytes: Int, isWhole: Bool) {
        func time(_ place: Place) -> Value { .timestamp(Timestamp(microseconds: row.int(place.rawValue))) }
        let asked = row.bytes(Place.inputs.rawValue)
        let answered = row.optionalBytes(Place.outputs.rawValue)
        let request = row.text(Place.request.rawValue)
        let score = row.optionalDouble(Place.score.rawValue).map(Value.double) ?? .null
        var values: [Value] = []
        values.reserveCapacity(fields.count)
        values += [
            .string(row.text(Place.id.rawValue)), .int(Int64(release)), .string(model), .string(version), time(.eventTime), time(.at),
            .bool(row.int(Place.shadow.rawValue) != 0), score, .int(row.int(Place.latency.rawValue)), .string(request),
        ]
        var isWhole = true
        func add(_ found: [Value]?, _ wanted: [Wanted]) {
            guard let found, found.count == wanted.count else {
                isWhole = false
                return values.append(contentsOf: repeatElement(.null, count: wanted.count))
            }
            for (value, wanted) in zip(found, wanted) {
                let fitting = wanted.fit(value)
                if fitting == nil { isWhole = false }
                values.append(fitting ?? .null)
            }
        }
        // Rows of a version before inputs had types have no outputs but the score.
        let inputs = answered == nil ? PredictionStore.floats(asked) : try? PackedRow(bytes: asked).values()
        let outputs = answered.map { try? PackedRow(bytes: $0).values() } ?? [score]
        add(inputs, self.inputs)
        if let wanted = self.outputs { add(outputs, wanted) } else { values.append(.string(JSON.array((outputs ?? []).map { JSON($0) }).text)) }
        try table.append(row: values)
        return (asked.count + (answered?.count ?? 0) + request.utf8.count, isWhole)
    }

}

extension LoggedColumns.Wanted {
    /// The value as the column takes it: rows of older versions have numbers where the signature has whole numbers, truths or categories.
    fileprivate func fit(_ value: Value) -> Value? {
        if (try? type.check(value)) != nil { return value }
        switch (type, value) {
        case (.int32, .double(let number)): return Int32(exactly: number).map { .int(Int64($0)) }
        case (.int64, .double(let number)): return Int64(exactly: number).map(Value.int)
        case (.bool, .double(let number)): return number == 0 || number == 1 ? .bool(number == 1) : nil
        case (.string, .double(let number)):
            guard let categories, let position = Int(exactly: number), categories.indices.contains(position) else { return nil }
            return .string(categories[position])
        default: return nil
        }
    }
}
