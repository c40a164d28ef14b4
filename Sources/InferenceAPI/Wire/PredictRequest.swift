import Contracts

/// A request of Keel's own (`POST /api/v1/endpoints/NAME/predict`): rows as objects of what the endpoint takes, which are a feature service's keys and request
/// columns, or the model's inputs. Bytes are Base64.
///
///     {"rows": [{"user": "u1", "at": "2026-01-01T10:00:00Z"}], "ids": ["a"], "params": {"limit": 3}, "features": true}
public struct PredictRequest: Sendable {
    public let table: Table
    /// One prediction id a row.
    public let ids: [String]?
    public let params: JSON
    /// A model version; nil leaves it to the rollout.
    public let version: String?
    /// Whether the answer shows what the model was given.
    public let showsFeatures: Bool

    /// - Parameters:
    ///   - fields: the columns that the endpoint takes.
    ///   - optional: those of them that a row may leave out.
    /// - Throws: `invalidArgument` that names the place.
    public init(parsing bytes: [UInt8], fields: [Field], optional: [String] = []) throws(KeelError) {
        let reader = try FieldReader(try JSON.parse(bytes), path: "")
        let rows = try reader.required("rows")
        ids = try reader.strings("ids")
        params = reader.optional("params") ?? .null
        version = try reader.optionalString("version")
        showsFeatures = try reader.optionalBool("features") ?? false
        try reader.finish()
        guard params.isNull || params.members != nil else { throw .invalid("must be an object, not \(params.kind)", path: "params") }
        table = try JSONTable(fields: fields, optional: optional, bytes: .base64).records(rows, "rows")
    }

    /// The place of an error about a column (`x`, `x[3]`) in the request.
    static func locate(_ error: KeelError, in table: Table) -> KeelError {
        guard let path = error.path else { return error }
        let name = path.hasSuffix("]") ? path[..<(path.lastIndex(of: "[") ?? path.endIndex)] : path[...]
        guard table.names.contains(where: { $0 == name }) else { return error }
        let row = path[name.endIndex...]
        let place = row.isEmpty && table.rowCount == 1 ? "rows[0]" : "rows\(row)"
        return KeelError(error.code, error.message, hint: error.hint, path: "\(place).\(name)")
    }

    /// Predictions: the id, the outputs by name, and what the model was given if that was asked for. An output that is called `id` or `features` too has a
    /// line below before its name.
    func answer(endpoint: String, release: Int, model: String, version: String, ids: [String], inputs: Table, outputs: Table) -> JSON {
        let names = outputs.names.map { $0 == "id" || $0 == "features" ? "_" + $0 : $0 }
        let predictions = (0..<outputs.rowCount).map { i -> JSON in
            var members = [JSON.Member("id", .string(ids[i]))]
            for (name, column) in zip(names, outputs.columns) { members.append(JSON.Member(name, JSONTable.json(column, i))) }
            if showsFeatures { members.append(JSON.Member("features", .object(JSONTable.object(inputs, i)))) }
            return .object(members)
        }
        return [
            "predictions": .array(predictions), "endpoint": .string(endpoint), "release": .int(Int64(release)), "model": .string(model),
            "version": .string(version),
        ]
    }
}
