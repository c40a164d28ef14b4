import Contracts

/// A request of the V1 protocol (`POST /v1/models/NAME:predict`), as KServe's and TensorFlow Serving's clients send it: `instances`, a list of rows that are
/// values, lists or objects; or `inputs`, columns. Bytes are objects `{"b64": …}`.
public struct V1Request: Sendable {
    public let table: Table
    /// Whether it was sent by columns, and is answered so.
    public let isColumnar: Bool

    /// - Parameters:
    ///   - fields: the columns that the endpoint takes.
    ///   - optional: those of them that a row may leave out.
    /// - Throws: `invalidArgument` that names the place.
    public init(parsing bytes: [UInt8], fields: [Field], optional: [String] = []) throws(KeelError) {
        let reader = try FieldReader(try JSON.parse(bytes), path: "")
        let name = try reader.optionalString("signature_name") ?? ""
        guard name.isEmpty || name == "serving_default" else { throw reader.failure("signature_name", "there is one signature here, serving_default") }
        let instances = reader.optional("instances")
        let inputs = reader.optional("inputs")
        try reader.finish()
        let shapes = JSONTable(fields: fields, optional: optional, bytes: .objects)
        switch (instances, inputs) {
        case (let rows?, nil):
            guard rows.array != nil else { throw .invalid("must be a list of rows, not \(rows.kind)", path: "instances") }
            table = try shapes.unnamed(rows, "instances")
            isColumnar = false
        case (nil, let columns?):
            table = try shapes.named(columns, "inputs")
            isColumnar = true
        default: throw .invalid("exactly one of instances and inputs is needed")
        }
    }

    /// The outputs: by row, of one output the values and of several an object a row; by column, of one output its list and of several an object of lists.
    func answer(_ outputs: Table) -> JSON {
        guard isColumnar else { return ["predictions": Invocation.predictions(outputs)] }
        let columns = zip(outputs.names, outputs.columns).map { name, column in
            JSON.Member(name, .array((0..<outputs.rowCount).map { JSONTable.json(column, $0) }))
        }
        return ["outputs": columns.count == 1 ? columns[0].value : .object(columns)]
    }
}
