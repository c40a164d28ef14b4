import Contracts
import Engines
import Synchronization

/// Which examples to join features to.
public struct TrainingSetRequest: Sendable, Hashable {
    /// The dataset that has a row for each example.
    public var labels: String
    /// What to predict, an expression over its columns; rows where it is null are left out. Nil = no label.
    public var label: String?
    /// The column that says as of when features are read; nil = the service's time column.
    public var at: String?
    public var service: String
    /// Half open on `at`: `from <= at < until`.
    public var from: Timestamp?
    public var until: Timestamp?
    /// The column when the label becomes known: rows whose label was not known by `until` are left out.
    public var knownAt: String?
    /// Further columns of the labels dataset to keep, such as slices.
    public var keep: [String]

    public init(
        labels: String, label: String?, at: String? = nil, service: String, from: Timestamp? = nil, until: Timestamp? = nil,
        knownAt: String? = nil, keep: [String] = []
    ) {
        self.labels = labels
        self.label = label
        self.at = at
        self.service = service
        self.from = from
        self.until = until
        self.knownAt = knownAt
        self.keep = keep
    }
}

extension FeatureStore {
    private static let queryNumber = Atomic<UInt64>(0)

    static func temporaryPrefix() -> String { "keel_features_\(queryNumber.add(1, ordering: .relaxed).newValue)" }

    /// Examples with every feature as it was known at the example's time: never a value from after it.
    ///
    /// Columns: the service's request columns, the time, the service's features in order, the columns to keep, `label` (float64; a condition
    /// gives 0 and 1). Rows are in order of time, then of the labels dataset.
    ///
    /// - Parameter files: the Parquet files of a dataset's snapshot, in order of arrival; asked for the labels and for every source.
    /// - Throws: `invalidArgument` that names what is wrong in the request; what the connection throws. Blocks: keep it off event loops.
    public func trainingSet(
        _ request: TrainingSetRequest, on connection: DuckDBConnection, files: (String) throws(KeelError) -> [String]
    ) throws(KeelError) -> Table {
        let catalog = self.catalog
        let service = try catalog.resolved(request.service)
        guard let schema = catalog.datasets[request.labels] else {
            throw FeatureCatalog.unknown("dataset", request.labels, catalog.datasets.keys.sorted(), at: "labels")
        }
        let at = try FeatureStore.timeColumn(request, service, schema)
        let prefix = FeatureStore.temporaryPrefix()
        let questions = "\(prefix)_questions"
        try connection.execute(
            try FeatureStore.questionsSQL(request, service, schema, at: at, table: questions, files: try files(request.labels)))
        defer { FeatureStore.drop([questions] + service.uses.indices.map { "\(prefix)_view\($0)" }, on: connection) }
        let joined = try BatchQuery(service: service, connection: connection, prefix: prefix).features(questions: questions, files: files)
        var columns: [(sql: String, name: String)] = []
        for (i, field) in service.requestFields.enumerated() { columns.append(("r\(i)", field.name)) }
        if !columns.contains(where: { $0.name == at }) { columns.append(("make_timestamp(t)", at)) }
        for output in service.outputs { columns.append(("CAST(f\(output.slot) AS \(output.type.duckDBName))", output.name)) }
        for (i, name) in request.keep.enumerated() where !columns.contains(where: { $0.name == name }) { columns.append(("e\(i)", name)) }
        if request.label != nil {
            guard !columns.contains(where: { $0.name == "label" }) else {
                throw .invalid("a column named 'label' is there already", hint: "rename the feature or column", path: "label")
            }
            columns.append(("label", "label"))
        }
        let list = columns.map { "\($0.sql) AS \(BatchQuery.quoted($0.name))" }.joined(separator: ", ")
        return try connection.query("SELECT \(list) FROM (\(joined)) ORDER BY t, rid")
    }

    /// Training and serving have to read as of the same column.
    private static func timeColumn(_ request: TrainingSetRequest, _ service: ResolvedService, _ schema: Schema) throws(KeelError) -> String
    {
        if let time = service.spec.time, let at = request.at, at != time {
            throw .invalid(
                "feature service '\(service.name)' is read as of '\(time)' when serving, the examples as of '\(at)'",
                hint: "use at: \(time), or change the service's at:", path: "at")
        }
        guard let at = request.at ?? service.spec.time ?? schema.eventTime else {
            throw .invalid("the examples have no time", hint: "name the column as of which features are read", path: "at")
        }
        return at
    }

    private static func questionsSQL(
        _ request: TrainingSetRequest, _ service: ResolvedService, _ schema: Schema, at: String, table: String, files: [String]
    ) throws(KeelError) -> String {
        func column(_ name: String, at place: String) throws(KeelError) -> Field {
            if let field = schema[name] { return field }
            throw .invalid(
                "dataset '\(request.labels)' has no column '\(name)'",
                hint: nearest(name, in: schema.names).map { "did you mean '\($0)'?" } ?? "columns: \(schema.names.joined(separator: ", "))",
                path: place)
        }
        func time(_ name: String, at place: String) throws(KeelError) -> String {
            let field = try column(name, at: place)
            guard field.type == .timestamp || field.type == .date else {
                throw .invalid("'\(name)' is a \(field.type), not a timestamp or date", path: place)
            }
            return "epoch_us(CAST(\(BatchQuery.quoted(name)) AS TIMESTAMP))"
        }
        guard !files.isEmpty else { throw .notFound("dataset '\(request.labels)' has no data yet", hint: "ingest it first") }
        let t = try time(at, at: "at")
        var conditions = ["\(t) IS NOT NULL"]
        if let from = request.from { conditions.append("\(t) >= \(from.microseconds)") }
        if let until = request.until { conditions.append("\(t) < \(until.microseconds)") }
        if let knownAt = request.knownAt {
            let known = try time(knownAt, at: "knownAt")
            if let until = request.until { conditions.append("\(known) <= \(until.microseconds)") }
        }
        var columns = ["rid", "\(t) AS t"]
        for (i, field) in service.requestFields.enumerated() {
            _ = try column(field.name, at: "labels")
            columns.append("CAST(\(BatchQuery.quoted(field.name)) AS \(field.type.duckDBName)) AS r\(i)")
        }
        for (i, name) in request.keep.enumerated() {
            _ = try column(name, at: "keep[\(i)]")
            columns.append("\(BatchQuery.quoted(name)) AS e\(i)")
        }
        if let text = request.label {
            let typed = try placed("label") { () throws(KeelError) in try Expression(parsing: text).typed(schema) }
            guard typed.type.isNumeric || typed.type == .bool else {
                throw .invalid("the label is a \(typed.type), not a number or a condition", path: "label")
            }
            let value = typed.sql(BatchQuery.quoted)
            conditions.append("(\(value)) IS NOT NULL")
            columns.append("CAST((\(value)) AS DOUBLE) AS label")
        }
        return """
            CREATE OR REPLACE TEMP TABLE \(table) AS SELECT \(columns.joined(separator: ", "))
            FROM (SELECT *, row_number() OVER () AS rid FROM \(DuckDBConnection.parquet(files))) WHERE \(conditions.joined(separator: " AND "))
            """
    }

    /// Drops what a query left; the connection's own end does so too, hence an error here changes nothing.
    static func drop(_ tables: [String], on connection: DuckDBConnection) {
        for table in tables {
            for suffix in ["", "_events", "_keys"] { _ = try? connection.execute("DROP TABLE IF EXISTS \(table)\(suffix)") }
        }
    }
}
