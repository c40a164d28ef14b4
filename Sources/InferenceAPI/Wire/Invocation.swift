import Contracts

/// A request of MLflow's scoring protocol (`POST /invocations`): exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`, and `params`;
/// or a table as CSV.
public struct Invocation: Sendable {
    public let table: Table
    public let params: JSON

    private static let forms = ["dataframe_split", "dataframe_records", "instances", "inputs"]

    /// - Parameters:
    ///   - fields: the columns that the endpoint takes, by which values without a name get theirs: `inputs` or `instances` of a model with one tensor.
    ///   - optional: those of them that a row may leave out.
    /// - Throws: `invalidArgument` that names the place.
    public init(parsing bytes: [UInt8], fields: [Field], optional: [String] = []) throws(KeelError) {
        let reader = try FieldReader(try JSON.parse(Invocation.withoutNaN(bytes)), path: "")
        let given = Invocation.forms.filter { reader.optional($0) != nil }
        params = reader.optional("params") ?? .null
        guard params.isNull || params.members != nil else { throw .invalid("must be an object, not \(params.kind)", path: "params") }
        guard given.count == 1, let form = given.first else {
            throw .invalid("exactly one of \(Invocation.forms.joined(separator: ", ")) is needed, not \(given.count)")
        }
        try reader.finish()
        let body = try reader.required(form)
        let shapes = JSONTable(fields: fields, optional: optional, bytes: .base64)
        switch form {
        case "dataframe_split": table = try Invocation.split(body, shapes)
        case "dataframe_records": table = try shapes.records(body, form)
        case "inputs": table = try shapes.named(body, form)
        default: table = try shapes.unnamed(body, form)
        }
    }

    /// A body of the type `text/csv`.
    public init(csv bytes: [UInt8], fields: [Field]) throws(KeelError) {
        table = try CSVTable.parse(bytes, fields)
        params = .null
    }

    /// The outputs as MLflow's server writes them: of one output the values, else a record a row.
    static func predictions(_ outputs: Table) -> JSON {
        .array(
            (0..<outputs.rowCount).map { i in
                outputs.columns.count == 1 ? JSONTable.json(outputs.columns[0], i) : .object(JSONTable.object(outputs, i))
            })
    }

    private static func split(_ body: JSON, _ shapes: JSONTable) throws(KeelError) -> Table {
        let reader = try FieldReader(body, path: "dataframe_split")
        let names = try reader.strings("columns") ?? shapes.fields.map(\.name)
        _ = reader.optional("index")
        guard let rows = try reader.required("data").array else { throw reader.failure("data", "must be a list of rows") }
        try reader.finish()
        return try shapes.rows(rows, of: names, "dataframe_split.data")
    }

    /// Python's `json` writes NaN for what pandas has no value for. It is no JSON, and becomes null here.
    static func withoutNaN(_ bytes: [UInt8]) -> [UInt8] {
        let word = Array("NaN".utf8)
        var out: [UInt8] = []
        var copied = 0
        var isInText = false
        var i = 0
        while i < bytes.count {
            switch bytes[i] {
            case UInt8(ascii: "\\") where isInText: i += 1
            case UInt8(ascii: "\""): isInText.toggle()
            case word[0] where !isInText && bytes[i...].starts(with: word):
                out += bytes[copied..<i]
                out += Array("null".utf8)
                i += 2
                copied = i + 1
            default: break
            }
            i += 1
        }
        return copied == 0 ? bytes : out + bytes[copied...]
    }
}
