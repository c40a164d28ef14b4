import Contracts
import InferenceAPI

/// `ModelInferRequest`, read straight into typed columns.
///
/// Each input is one column, as over REST: the first dimension of its shape is that of the rows. Its values are in `contents`, in the list that goes with the
/// datatype, or, for all inputs of the request together, in `raw_input_contents`, little-endian.
package struct ModelInferRequest {
    package let id: String?
    /// One prediction id a row, from the parameter `ids`.
    package let ids: [String]?
    package let table: Table
    /// The request's parameters that are not the protocol's: those of the model.
    package let params: JSON
    /// The outputs that are asked for; nil is all.
    let wanted: [String]?
    /// Whether the values came in `raw_input_contents`; the answer's are then in `raw_output_contents`.
    package let isRaw: Bool

    /// What a request is for. It is found at the beginning, before the rest is read.
    package struct Target: Equatable {
        package let model: String
        package let version: String?

        /// - Throws: `invalidArgument` when the first fields name no model.
        package init(_ message: UnsafeRawBufferPointer) throws(KeelError) {
            var reader = ProtobufReader(message)
            var model = ""
            var version = ""
            // Fields stand in the order of their numbers, and those behind the id may be large.
            for _ in 0..<Target.fieldsMax {
                let next: ProtobufReader.Field?
                // It may be the beginning of a message alone, which ends within a field.
                do throws(KeelError) { next = try reader.next() } catch  where !model.isEmpty { break }
                guard let field = next, model.isEmpty || field.number <= 3 else { break }
                switch field.number {
                case 1: model = try located("model_name") { () throws(KeelError) in try field.text() }
                case 2: version = try located("model_version") { () throws(KeelError) in try field.text() }
                default: break
                }
            }
            guard !model.isEmpty else { throw .invalid("'model_name' is missing", path: "model_name") }
            self.model = String(model.prefix(200))
            self.version = version.isEmpty ? nil : version
        }

        private static let fieldsMax = 256
    }

    /// - Throws: `invalidArgument` that names the place, down to the element: `inputs[0].data[3]`.
    package init(_ message: UnsafeRawBufferPointer) throws(KeelError) {
        var id = ""
        var parameters = RequestParameters()
        var inputs: [InputTensor] = []
        var raw: [UnsafeRawBufferPointer] = []
        var wanted: [String] = []
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            switch field.number {
            case 3: id = try located("id") { () throws(KeelError) in try field.text() }
            case 4: try located("parameters") { () throws(KeelError) in try parameters.add(try field.bytes()) }
            case 5: inputs.append(try located("inputs[\(inputs.count)]") { () throws(KeelError) in try InputTensor(try field.bytes()) })
            case 6:
                wanted.append(
                    try located("outputs[\(wanted.count)]") { () throws(KeelError) in try ModelInferRequest.output(try field.bytes()) })
            case 7: raw.append(try field.bytes())
            default: break
            }
        }
        guard !inputs.isEmpty else { throw .invalid("'inputs' is empty", path: "inputs") }
        guard raw.isEmpty || raw.count == inputs.count else {
            throw .invalid(
                "\(raw.count) raw contents for \(inputs.count) inputs", hint: "each input has its own, in their order",
                path: "raw_input_contents")
        }
        table = try ModelInferRequest.table(inputs, raw)
        let rows = table.rowCount
        if let ids = parameters.ids, ids.count != rows { throw .invalid("\(ids.count) ids for \(rows) rows", path: "parameters.ids") }
        self.id = id.isEmpty ? nil : id
        ids = parameters.ids ?? (id.isEmpty ? nil : rows == 1 ? [id] : (0..<rows).map { "\(id)/\($0)" })
        params = parameters.model
        self.wanted = wanted.isEmpty ? nil : wanted
        isRaw = !raw.isEmpty
    }

    private static func table(_ inputs: [InputTensor], _ raw: [UnsafeRawBufferPointer]) throws(KeelError) -> Table {
        var columns: [(name: String, column: Column)] = []
        columns.reserveCapacity(inputs.count)
        for (i, input) in inputs.enumerated() {
            let column = try located("inputs[\(i)]") { () throws(KeelError) in
                try raw.isEmpty ? input.column() : input.column(raw: raw[i])
            }
            columns.append((input.name, column))
            guard column.count == columns[0].column.count else {
                throw .invalid(
                    "input '\(input.name.prefix(60))' has \(column.count) rows, '\(columns[0].name.prefix(60))' has \(columns[0].column.count)",
                    path: "inputs[\(i)].shape")
            }
        }
        var names = Set<String>()
        for (i, input) in inputs.enumerated() where !names.insert(input.name).inserted {
            throw .invalid("two inputs are called '\(input.name.prefix(60))'", path: "inputs[\(i)].name")
        }
        return try Table(columns)
    }

    /// The name of an output that is asked for.
    private static func output(_ message: UnsafeRawBufferPointer) throws(KeelError) -> String {
        var name = ""
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            if field.number == 1 { name = try located("name") { () throws(KeelError) in try field.text() } }
            if field.number == 2 { try RequestParameters.refuse(["classification", "shared_memory_region"], in: try field.bytes()) }
        }
        return name
    }
}

/// Runs a part of the reading, and gives an error of it the place.
func located<Value>(_ place: @autoclosure () -> String, _ body: () throws(KeelError) -> Value) throws(KeelError) -> Value {
    do throws(KeelError) { return try body() } catch { throw error.at(place()) }
}
