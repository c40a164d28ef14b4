import Contracts
import Engines
import Synchronization

/// Which examples to join features to.
public struct TrainingSetRequest: Sendable, Hashable {
    /// The dataset that has a row for each example.
    public var labels: String
    /// What to predict, an expression over its columns; rows where it is null are left out. Nil = no label.
    public var label: String?
    /// The column that says as of when features are read; nil = the service's time column, else the dataset's event time.
    public var at: String?
    /// Nil when the columns of the dataset are features enough.
    public var service: String?
    /// Columns of the labels dataset that are features as they are.
    public var columns: [String]
    /// Half open on `at`: `from <= at < until`.
    public var from: Timestamp?
    public var until: Timestamp?
    /// The column when the label becomes known: rows whose label was not known by `until` are left out.
    public var knownAt: String?
    /// Further columns of the labels dataset to keep, such as slices.
    public var keep: [String]

    public init(
        labels: String, label: String?, at: String? = nil, service: String? = nil, columns: [String] = [], from: Timestamp? = nil,
        until: Timestamp? = nil, knownAt: String? = nil, keep: [String] = []
    ) {
        self.labels = labels
        self.label = label
        self.at = at
        self.service = service
        self.columns = columns
        self.from = from
        self.until = until
        self.knownAt = knownAt
        self.keep = keep
    }
}

extension FeatureStore {
    private static let queryNumber = Atomic<UInt64>(0)

    static func temporaryPrefix() -> String { "keel_features_\(queryNumber.add(1, ordering: .relaxed).newValue)" }

    /// Examples with every feature as it was known at the example's time: never a value from after it, nor one that became known after it.
    ///
    /// Columns: the service's request columns, the time, the service's features in order, the dataset's columns, those to keep, `label` (float64; a
    /// condition gives 0 and 1). Rows are in order of time, then of the labels dataset. Examples without a time can have features that need none: columns
    /// of the dataset, and expressions over them.
    ///
    /// - Parameter source: the rows of a dataset's snapshot; asked for the labels and for every source.
    /// - Throws: `invalidArgument` that names what is wrong in the request; what the connection throws. Blocks: keep it off event loops.
    public func trainingSet(
        _ request: TrainingSetRequest, on connection: DuckDBConnection, source: (String) throws(KeelError) -> SourceRows
    ) throws(KeelError) -> Table {
        let catalog = self.catalog
        let plan = try TrainingSetPlan(request, catalog)
        let prefix = FeatureStore.temporaryPrefix()
        let questions = "\(prefix)_questions"
        let labels = try source(request.labels).files
        guard !labels.isEmpty else { throw .notFound("dataset '\(request.labels)' has no data yet", hint: "ingest it first") }
        try connection.execute("CREATE OR REPLACE TEMP TABLE \(questions) AS SELECT *, t AS k FROM (\(try plan.questions(labels)))")
        let uses = plan.service?.uses ?? []
        defer { FeatureStore.drop([questions] + uses.indices.map { "\(prefix)_view\($0)" }, on: connection) }
        var joined = "SELECT * FROM \(questions)"
        if let service = plan.service {
            joined = try BatchQuery(service: service, connection: connection, prefix: prefix, time: .known)
                .features(questions: questions, source: source)
        }
        let list = plan.outputs.map { "\($0.sql) AS \(BatchQuery.quoted($0.name))" }.joined(separator: ", ")
        // Qualified, so that no user's name in the list is taken for the order.
        return try connection.query("SELECT \(list) FROM (\(joined)) j ORDER BY j.t, j.rid")
    }

    /// Drops what a query left; the connection's own end does so too, hence an error here changes nothing.
    static func drop(_ tables: [String], on connection: DuckDBConnection) {
        for table in tables {
            for suffix in ["", "_events", "_keys"] + LateQuestions.suffixes { _ = try? connection.execute("DROP TABLE IF EXISTS \(table)\(suffix)") }
        }
    }
}
