import Contracts
import Engines
import Expressions

/// A training set's request, checked against the catalogue, as SQL.
///
/// Inside, columns have names of ours: `rid` (the row's number), `t` (µs), `r…` (the service's request columns), `f…` (its features), `p…` (columns that are
/// features), `e…` (those to keep) and `label`.
struct TrainingSetPlan {
    let service: ResolvedService?
    /// What the result has, in order.
    private(set) var outputs: [(sql: String, name: String)] = []
    private let request: TrainingSetRequest
    private let schema: Schema
    private let at: String?
    private let label: TypedExpression?

    init(_ request: TrainingSetRequest, _ catalog: FeatureCatalog) throws(KeelError) {
        guard let schema = catalog.datasets[request.labels] else {
            throw FeatureCatalog.unknown("dataset", request.labels, catalog.datasets.keys.sorted(), at: "labels")
        }
        self.request = request
        self.schema = schema
        service = try request.service.map { name throws(KeelError) in try catalog.resolved(name) }
        at = try TrainingSetPlan.timeColumn(request, service, schema)
        label = try request.label.map { text throws(KeelError) in
            let typed = try placed("label") { () throws(KeelError) in try Expression(parsing: text).typed(schema) }
            guard typed.type.isNumeric || typed.type == .bool else {
                throw .invalid("the label is a \(typed.type), not a number or a condition", path: "label")
            }
            return typed
        }
        if let at { _ = try time(at, at: "at") }
        if let knownAt = request.knownAt { _ = try time(knownAt, at: "knownAt") }
        for field in service?.requestFields ?? [] { _ = try column(field.name, at: "labels") }
        for (i, name) in request.columns.enumerated() { _ = try column(name, at: "columns[\(i)]") }
        for (i, name) in request.keep.enumerated() { _ = try column(name, at: "keep[\(i)]") }
        try collectOutputs()
    }

    /// Training and serving have to read as of the same column.
    private static func timeColumn(_ request: TrainingSetRequest, _ service: ResolvedService?, _ schema: Schema) throws(KeelError)
        -> String?
    {
        if let service, let time = service.spec.time, let at = request.at, at != time {
            throw .invalid(
                "feature service '\(service.name)' is read as of '\(time)' when serving, the examples as of '\(at)'",
                hint: "use at: \(time), or change the service's at:", path: "at")
        }
        let at = request.at ?? service?.spec.time ?? schema.eventTime
        guard at != nil || service?.uses.isEmpty ?? true else {
            throw .invalid("the examples have no time", hint: "name the column as of which features are read", path: "at")
        }
        guard at != nil || (request.from == nil && request.until == nil && request.knownAt == nil) else {
            throw .invalid("the examples have no time to be between two instants", hint: "name the column with at:", path: "at")
        }
        return at
    }

    private func column(_ name: String, at place: String) throws(KeelError) -> Field {
        if let field = schema[name] { return field }
        throw .invalid(
            "dataset '\(request.labels)' has no column '\(name)'",
            hint: nearest(name, in: schema.names).map { "did you mean '\($0)'?" } ?? "columns: \(schema.names.joined(separator: ", "))",
            path: place)
    }

    private func time(_ name: String, at place: String) throws(KeelError) -> Field {
        let field = try column(name, at: place)
        guard field.type == .timestamp || field.type == .date else {
            throw .invalid("'\(name)' is a \(field.type), not a timestamp or date", path: place)
        }
        return field
    }

    private mutating func collectOutputs() throws(KeelError) {
        for (i, field) in (service?.requestFields ?? []).enumerated() { try add("j.r\(i)", field.name, "labels") }
        if let at, !has(at) { try add("make_timestamp(j.t)", at, "at") }
        for output in service?.outputs ?? [] {
            try add("CAST(j.f\(output.slot) AS \(output.type.duckDBName))", output.name, "features")
        }
        for (i, name) in request.columns.enumerated() where !has(name) { try add("j.p\(i)", name, "columns[\(i)]") }
        for (i, name) in request.keep.enumerated() where !has(name) { try add("j.e\(i)", name, "keep[\(i)]") }
        if label != nil {
            guard !has("label") else {
                throw .invalid("a column named 'label' is there already", hint: "rename the feature or column", path: "label")
            }
            try add("j.label", "label", "label")
        }
    }

    private func has(_ name: String) -> Bool { outputs.contains { $0.name == name } }

    /// Tables and files do not tell names apart that differ in case alone.
    private mutating func add(_ sql: String, _ name: String, _ place: String) throws(KeelError) {
        if let other = outputs.first(where: { $0.name.isEqualIgnoringCase(name) }) {
            throw .invalid(
                "the training set would have two columns named '\(other.name)' and '\(name)'",
                hint: "names must differ in more than case: rename the feature, or leave the column out", path: place)
        }
        outputs.append((sql, name))
    }

    /// The rows of the examples.
    func questions(_ files: [String]) throws(KeelError) -> String {
        let rows = ParquetRows(files, schema.fields, number: "rid")
        func time(_ name: String) -> String { BatchQuery.microseconds(rows.column(name)) }
        var conditions: [String] = []
        var columns = ["rid", "\(at.map(time) ?? "CAST(0 AS BIGINT)") AS t"]
        if let at {
            conditions.append("(\(time(at))) IS NOT NULL")
            if let from = request.from { conditions.append("(\(time(at))) >= \(from.microseconds)") }
            if let until = request.until { conditions.append("(\(time(at))) < \(until.microseconds)") }
        }
        if let knownAt = request.knownAt, let until = request.until { conditions.append("(\(time(knownAt))) <= \(until.microseconds)") }
        for (i, field) in (service?.requestFields ?? []).enumerated() {
            columns.append("CAST(\(rows.column(field.name)) AS \(field.type.duckDBName)) AS r\(i)")
        }
        for (i, name) in request.columns.enumerated() { columns.append("\(rows.column(name)) AS p\(i)") }
        for (i, name) in request.keep.enumerated() { columns.append("\(rows.column(name)) AS e\(i)") }
        if let label {
            let value = label.sql(rows.column)
            conditions.append("(\(value)) IS NOT NULL")
            columns.append("CAST((\(value)) AS DOUBLE) AS label")
        }
        let filter = conditions.isEmpty ? "" : " WHERE \(conditions.joined(separator: " AND "))"
        return "SELECT \(columns.joined(separator: ", ")) FROM \(rows.sql)\(filter)"
    }
}
