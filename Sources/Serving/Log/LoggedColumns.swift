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
    private let signature: Signature
    private let fields: [Field]

    init(_ release: Release, _ signature: Signature) {
        self.release = release.number
        model = release.model
        version = release.modelVersion
        self.signature = signature
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
        let inputs = signature.inputs.map { Field(name($0.name, "input"), LoggedColumns.stored($0.type)) }
        let outputs =
            signature.outputs.isEmpty
            ? [Field(name("outputs", "output"), .string)]
            : signature.outputs.map { Field(name($0.name, "output"), LoggedColumns.stored($0.type)) }
        fields = LoggedColumns.own + inputs + outputs
    }

    var empty: Table { Table(emptyOf: fields) }

    /// A tensor is a flat list in a file.
    private static func stored(_ type: DataType) -> DataType {
        if case .tensor(let element, _) = type { return .list(element) }
        return type
    }

    /// Appends a row of the table `predictions`.
    /// - Returns: whether every value was one of its column; one that is not is null in the column, and as it was asked in `request`.
    func append(_ row: SQLRow, to table: inout Table) throws(KeelError) -> Bool {
        var values: [Value] = [
            .string(row.text("id")), .int(Int64(release)), .string(model), .string(version), .timestamp(row.time("event_time")),
            .timestamp(row.time("at")), .bool(row.bool("shadow")), row.optionalDouble("score").map(Value.double) ?? .null,
            .int(row.int("latency_ns")), .string(row.text("request")),
        ]
        var isWhole = true
        let inputs: [Value]?
        let outputs: [Value]?
        if let bytes = row.optionalBytes("outputs") {
            inputs = try? PackedRow(bytes: row.bytes("inputs")).values()
            outputs = try? PackedRow(bytes: bytes).values()
        } else {
            // Rows of a version before inputs had types have no outputs but the score.
            inputs = PredictionStore.floats(row.bytes("inputs"))
            outputs = [values[7]]
        }
        func add(_ found: [Value]?, _ types: [(type: DataType, categories: [String]?)]) {
            if found?.count != types.count { isWhole = false }
            for (i, wanted) in types.enumerated() {
                let value = found.flatMap { $0.count == types.count ? $0[i] : nil } ?? .null
                let fitting = LoggedColumns.fit(value, LoggedColumns.stored(wanted.type), wanted.categories)
                if fitting == nil { isWhole = false }
                values.append(fitting ?? .null)
            }
        }
        add(inputs, signature.inputs.map { ($0.type, $0.categories) })
        if signature.outputs.isEmpty {
            values.append(.string(JSON.array((outputs ?? []).map { JSON($0) }).text))
        } else {
            add(outputs, signature.outputs.map { ($0.type, nil) })
        }
        try table.append(row: values)
        return isWhole
    }

    /// The value as its column takes it: rows of older versions have numbers where the signature has whole numbers, truths or categories.
    private static func fit(_ value: Value, _ type: DataType, _ categories: [String]?) -> Value? {
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
