import Contracts

/// A few rows that a model is given before it serves, with the answer it must give.
///
/// A model that another machine, library or environment makes answer differently is found here and not by its users.
public struct ModelExample: Sendable, Hashable {
    public let inputs: Table
    /// Nil when nobody knows the answer yet.
    public let outputs: Table?
    /// Rows that are kept.
    public static let rowsMax = 16
    /// How far a number may be from the expected one, as a share of it, and near zero as a difference.
    private static let relativeMax = 1e-4
    private static let absoluteMax = 1e-6

    public init(inputs: Table, outputs: Table? = nil) {
        let rows = 0..<min(inputs.rowCount, ModelExample.rowsMax)
        self.inputs = inputs.rows(rows)
        self.outputs = outputs?.rows(rows)
    }

    /// Rows of zeros, of ones and of missing floats where the signature allows them: to try a model that has no example. Nil when an input has a free
    /// dimension, or is too large to be tried without a cause.
    package static func made(for signature: Signature) -> Table? {
        var columns: [(name: String, column: Column)] = []
        for input in signature.inputs {
            guard let zero = value(0, input), let one = value(1, input) else { return nil }
            let isFloat = input.type == .float32 || input.type == .float64
            let values: [Value] = [zero, one, input.nullable && isFloat ? .null : zero, one, zero, one, zero, one]
            guard let column = try? Column(input.type, values: values) else { return nil }
            columns.append((input.name, column))
        }
        return try? Table(columns)
    }

    /// Of one row: a picture of 500 × 500 points has fewer.
    private static let valuesMax = 1 << 20

    private static func value(_ number: Int, _ input: Signature.Input) -> Value? {
        switch input.type {
        case .bool: .bool(number == 1)
        case .int32, .int64: .int(Int64(number))
        case .float32, .float64: .double(Double(number))
        case .string: .string(input.categories.map { $0.isEmpty ? "" : $0[number % $0.count] } ?? "\(number)")
        case .bytes: .bytes([UInt8(number)])
        case .date: .date(Int32(number))
        case .timestamp: .timestamp(Timestamp(microseconds: Int64(number)))
        case .list(let element): value(number, Signature.Input(input.name, element)).map { .list([$0]) }
        case .tensor(let element, let shape):
            DataType.valueCount(of: shape).flatMap { count in
                count > valuesMax ? nil : value(number, Signature.Input(input.name, element)).map { .list(Array(repeating: $0, count: count)) }
            }
        }
    }

    public var json: JSON {
        ["inputs": ModelExample.json(inputs), "outputs": outputs.map(ModelExample.json) ?? .null]
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "example")
        inputs = try ModelExample.table(try reader.required("inputs"))
        outputs = try reader.optional("outputs").map { (json) throws(KeelError) in try ModelExample.table(json) }
        try reader.finish()
    }

    /// - Throws: `failedPrecondition` that names the first value that differs, with both.
    public func compare(_ answer: Table) throws(KeelError) {
        guard let outputs else { return }
        guard answer.names == outputs.names, answer.rowCount == outputs.rowCount else {
            throw KeelError(
                .failedPrecondition,
                "the model answers its example with \(answer.rowCount) rows of \(answer.names.joined(separator: ", ")); expected are \(outputs.rowCount) rows of \(outputs.names.joined(separator: ", "))"
            )
        }
        for (name, (seen, expected)) in zip(answer.names, zip(answer.columns, outputs.columns)) {
            for i in 0..<answer.rowCount where !ModelExample.isEqual(seen[i], expected[i]) {
                throw KeelError(
                    .failedPrecondition, "the model answers row \(i) of its example with \(name) = \(seen[i]); expected is \(expected[i])",
                    hint: "the model's code, library or data differ from where the answer was made: log the model again, with its requirements")
            }
        }
    }

    private static func isEqual(_ a: Value, _ b: Value) -> Bool {
        if case .list(let a) = a, case .list(let b) = b { return a.count == b.count && zip(a, b).allSatisfy { isEqual($0, $1) } }
        guard let x = a.number, let y = b.number else { return a == b }
        return x == y || abs(x - y) <= max(absoluteMax, relativeMax * max(abs(x), abs(y))) || x.isNaN && y.isNaN
    }

    /// Exact, whatever the types: the columns by name and type, each row packed and in base 64.
    private static func json(_ table: Table) -> JSON {
        [
            "columns": .array(zip(table.names, table.columns).map { ["name": .string($0), "type": .string($1.type.description)] }),
            "rows": .array((0..<table.rowCount).map { .string(Base64.encode(PackedRow(table, row: $0).bytes)) }),
        ]
    }

    private static func table(_ json: JSON) throws(KeelError) -> Table {
        let reader = try FieldReader(json, path: "example")
        var fields: [Field] = []
        for column in try reader.objects("columns") {
            fields.append(Field(try column.string("name"), try DataType(parsing: try column.string("type"))))
        }
        var table = Table(emptyOf: fields)
        for text in try reader.strings("rows") ?? [] {
            guard let bytes = Base64.decode(text) else { throw reader.failure("rows", "is not base 64") }
            try table.append(row: try PackedRow(bytes: bytes).values())
        }
        return table
    }
}
