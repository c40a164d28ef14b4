import Contracts

extension EntitySpec {
    public static let schema = KindSchema(
        kind, "What features are about: the key of feature views.",
        [
            FieldSchema(
                "keys", .map(.text), required: true,
                "The columns of the key with their types: `string`, `int32`, `int64`, `bool`, `date` or `timestamp`.")
        ])
}

extension FeatureViewSpec {
    public static let schema = KindSchema(
        kind,
        """
        A set of features computed from one dataset for one entity, or with `from: request` from the question itself. Online, in training sets and at
        request time the values are the same.
        """,
        [
            FieldSchema("source", .text, "The dataset. Either this and `entity`, or `from`."),
            FieldSchema("entity", .text, "The entity whose keys the dataset has."),
            FieldSchema("from", .word(["request"]), "Computes the features from columns of the request and from other features."),
            FieldSchema(
                "columns", .map(.text), "With `from: request`: the types of request columns that no dataset has."),
            FieldSchema("at", .text, default: "the dataset's eventTime", "The column that says when a row becomes known."),
            FieldSchema(
                "created", .text, "The column that says when a row was written; it decides between rows of one key at one time."),
            FieldSchema("keys", .map(.text), "Keys of the entity that the dataset calls otherwise: `{ origin: dest }`."),
            FieldSchema("where", .expression, "Only rows for which this is true count."),
            FieldSchema("ttl", .span, default: "for ever", "How long the latest row counts. Not shorter than the longest window."),
            FieldSchema("features", .list(.object(featureFields)), required: true, "The features, at least one."),
        ])

    private static let featureFields: [FieldSchema] = [
        FieldSchema("name", .text, required: true, "Its name."),
        FieldSchema(
            "aggregate", .word(Aggregate.allCases.map(\.rawValue)),
            "How the rows of the window become one value. Without it the feature is `of` the latest row."),
        FieldSchema("of", .expression, "What is aggregated, or read from the latest row; `count` may do without."),
        FieldSchema("window", .span, "With `aggregate`: how far back rows count. The tail moves in steps of a sixtieth, at least 1s."),
        FieldSchema("expression", .expression, "In a view with `from: request`: the feature."),
    ]
}

extension FeatureServiceSpec {
    public static let schema = KindSchema(
        kind, "The list of features that a model takes, in its order.",
        [
            FieldSchema("features", .texts, required: true, "`view` for all features of a view, `view.feature` for one."),
            FieldSchema("at", .text, default: "the moment of the request", "The request column that says as of when features are read."),
        ])
}
