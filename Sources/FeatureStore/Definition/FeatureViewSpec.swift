import Contracts

/// How events of a window become one value. Nulls of the expression are left out, as in SQL.
public enum Aggregate: String, Sendable, Hashable, CaseIterable {
    /// Rows, or with `of` rows whose expression is not null. 0 when there are none.
    case count
    case sum, mean, min, max
    /// Sample standard deviation (n − 1); null for fewer than two values.
    case stddev
    /// 0 when there are none.
    case countDistinct = "count_distinct"
    /// The value of the latest and of the earliest row (by time, created time, arrival).
    case last, first
}

/// One feature of a view.
public struct FeatureSpec: Sendable, Hashable {
    public enum Definition: Sendable, Hashable {
        /// Over the rows of a window; `of` may be absent for `count` only. Booleans count as 0 and 1.
        case windowed(Aggregate, of: String?, TimeSpan)
        /// The expression over the latest row known, subject to the view's ttl.
        case latest(String)
        /// Over columns of the request and other features.
        case request(String)
    }
    public var name: String
    public var definition: Definition

    public init(_ name: String, _ definition: Definition) { (self.name, self.definition) = (name, definition) }
}

/// A set of features computed from one dataset for one entity, or (`from: request`) from the question itself.
public struct FeatureViewSpec: Sendable, Hashable {
    public static let kind = "FeatureView"

    public enum Source: Sendable, Hashable {
        case dataset(String, entity: String)
        case request
    }

    public var name: String
    public var source: Source
    /// The column when a row becomes known; nil = the dataset's event time.
    public var at: String?
    /// The column when a row was written: decides between rows of one key at one time. After it, the later arrival wins.
    public var created: String?
    /// Join key of the entity → column of the dataset, where they differ.
    public var keys: [String: String]
    /// Only rows for which this expression is true count.
    public var filter: String?
    /// The latest row counts until `at + ttl`, inclusive; nil = for ever. Not shorter than the longest window.
    public var ttl: TimeSpan?
    /// For `from: request`: types of request columns that no dataset has.
    public var columns: [Field]
    public var features: [FeatureSpec]

    public init(
        name: String, source: Source, at: String? = nil, created: String? = nil, keys: [String: String] = [:], filter: String? = nil,
        ttl: TimeSpan? = nil, columns: [Field] = [], features: [FeatureSpec]
    ) {
        self.name = name
        self.source = source
        self.at = at
        self.created = created
        self.keys = keys
        self.filter = filter
        self.ttl = ttl
        self.columns = columns
        self.features = features
    }

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        at = nil
        created = nil
        keys = [:]
        filter = nil
        ttl = nil
        columns = []
        features = []
        let reader = try FieldReader(resource.spec, path: "spec")
        if let from = try reader.optionalString("from") {
            guard from == "request" else {
                throw reader.failure(
                    "from", "'\(from)' is not known here", hint: "from: request, or source: and entity: for features of a dataset")
            }
            source = .request
            if let declared = try reader.optionalObject("columns") {
                for column in declared.keys {
                    let type = try placed("spec.columns.\(column)") { () throws(KeelError) in
                        try DataType(parsing: try declared.string(column))
                    }
                    columns.append(Field(column, type, nullable: true))
                }
            }
        } else {
            source = .dataset(try reader.string("source"), entity: try reader.string("entity"))
            at = try reader.optionalString("at")
            created = try reader.optionalString("created")
            if let map = try reader.optionalObject("keys") { for key in map.keys { keys[key] = try map.string(key) } }
            filter = try reader.optionalString("where")
            ttl = try reader.optionalSpan("ttl")
        }
        let isRequest = source == .request
        features = try reader.objects("features").mapAll { item throws(KeelError) in
            let feature = try FeatureViewSpec.feature(item, request: isRequest)
            try item.finish()
            return feature
        }
        guard !features.isEmpty else { throw reader.failure("features", "a view needs at least one feature") }
        try reader.finish()
    }

    private static func feature(_ reader: FieldReader, request: Bool) throws(KeelError) -> FeatureSpec {
        let name = try reader.string("name")
        if request { return FeatureSpec(name, .request(try reader.string("expression"))) }
        let of = try reader.optionalString("of")
        guard reader.optional("aggregate") != nil else {
            guard let of else {
                throw reader.failure("of", "a feature needs 'aggregate' and 'window', or 'of' for the latest value")
            }
            return FeatureSpec(name, .latest(of))
        }
        let aggregate: Aggregate = try reader.word("aggregate")
        if of == nil, aggregate != .count { throw reader.failure("of", "\(aggregate.rawValue) needs 'of': the expression to aggregate") }
        return FeatureSpec(name, .windowed(aggregate, of: of, try reader.span("window")))
    }
}
