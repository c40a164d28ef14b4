import Contracts
import Engines

/// The rows of a dataset as Parquet files, with what says when each became known.
public struct SourceRows: Sendable, Hashable {
    /// Files whose rows came in one way.
    public struct Part: Sendable, Hashable {
        /// Absolute paths.
        public let files: [String]
        /// When their rows came, for rows that do not say it themselves; nil when that is not known.
        public let acceptedAt: Timestamp?

        public init(files: [String], acceptedAt: Timestamp? = nil) {
            self.files = files
            self.acceptedAt = acceptedAt
        }
    }

    /// In order of arrival.
    public let parts: [Part]
    /// The column of the files, beside those of the contract, that holds when a row was accepted; rows without a value were known when they happened.
    public let accepted: String?
    /// The column of the contract that says when a row became known, where there is one.
    public let knownAt: String?

    public init(_ parts: [Part], accepted: String? = nil, knownAt: String? = nil) {
        self.parts = parts
        self.accepted = accepted
        self.knownAt = knownAt
    }

    /// Rows that were known when they happened.
    public init(_ files: [String]) { self.init([Part(files: files)]) }

    var files: [String] { parts.flatMap(\.files) }

    /// The columns of a view and those that say when a row became known.
    func fields(of view: DatasetView) -> [Field] {
        var fields = view.identity.columns
        for name in [knownAt, accepted].compactMap({ $0 }) where !fields.contains(where: { $0.name == name }) {
            fields.append(Field(name, view.schema[name]?.type ?? .timestamp, nullable: true))
        }
        return fields
    }
}

/// Which of a row's times is compared with the known bound of a question.
enum KnownTime {
    /// When the row became known: what a model could have been told.
    case known
    /// When the row came to Keel: what the online features can have seen.
    case accepted
}

/// What a training set's rows say of when they became known.
public struct KnownTimes: Sendable, Hashable {
    public let rows: Int
    /// Rows that do not say it: they are taken as known when they happened.
    public let assumed: Int
    /// Rows that say that they become known after the clock's time: no example has them.
    public let ahead: Int

    public init(rows: Int, assumed: Int, ahead: Int = 0) {
        self.rows = rows
        self.assumed = assumed
        self.ahead = ahead
    }
}

extension FeatureStore {
    /// What the rows of a dataset say of when they became known. Blocks.
    /// - Returns: nil when no column can say it.
    public func knownTimes(_ source: SourceRows, on connection: DuckDBConnection) throws(KeelError) -> KnownTimes? {
        let columns = [source.knownAt, source.accepted].compactMap { $0 }
        guard !columns.isEmpty else { return nil }
        let rows = ParquetRows(source.files, columns.map { Field($0, .timestamp, nullable: true) })
        let isAssumed = columns.map { "\(rows.column($0)) IS NULL" }.joined(separator: " AND ")
        let known = "coalesce(\(columns.map(rows.column).joined(separator: ", ")))"
        let found = try connection.query(
            """
            SELECT count(*) AS n, count(*) FILTER (WHERE \(isAssumed)) AS assumed,
                count(*) FILTER (WHERE \(known) > make_timestamp(\(clock.now().microseconds))) AS ahead FROM \(rows.sql)
            """)
        func number(_ i: Int) -> Int { Int(saturating: found.columns[i][0].number ?? 0) }
        return KnownTimes(rows: number(0), assumed: number(1), ahead: number(2))
    }
}
