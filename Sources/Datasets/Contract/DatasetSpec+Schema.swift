import Contracts

extension DatasetSpec {
    public static let schema = KindSchema(
        "Dataset",
        """
        A table under a contract. Rows come from files (`keel ingest`), which make snapshots, and one by one (`keel push`), which features see at once.
        """,
        [
            FieldSchema("columns", .list(.object(columnFields)), required: true, "The columns, at least one."),
            FieldSchema("key", .texts, "The columns that tell rows apart. Of two rows with one key the later is refused."),
            FieldSchema("eventTime", .text, "The timestamp column that says when a row happened."),
            FieldSchema(
                "knownAt", .text, default: "when Keel accepted the row",
                """
                The timestamp column that says when a row became known, for rows that know it themselves, such as a replayed history. Training sets use no \
                row before it. A row in which it is null became known when Keel accepted it.
                """
            ),
            FieldSchema(
                "nulls", .texts, default: #"["", "NA", "NaN", "null"]"#,
                "Texts of CSV that mean no value. NaN in a column of floats is no value on every way in."),
            FieldSchema("ignore", .texts, "Columns of files that are passed over. Any other column that is not declared refuses the file."),
            FieldSchema("where", .expression, "Only rows for which this is true are kept; others count as filtered."),
            FieldSchema("expectations", .list(.object(expectationFields)), "Rules for a whole batch, checked over the rows that are kept."),
            FieldSchema(
                "onViolation", .word(OnViolation.allCases.map(\.rawValue)), default: "quarantine",
                "What happens when a row breaks the contract: the row is set aside with the reason, or the whole batch is refused."),
            FieldSchema(
                "format", .word(Format.allCases.map(\.rawValue)), default: "by the file's name", "How files are read."),
            FieldSchema("delimiter", .text, default: ",", "The character between fields of CSV; `tab` for a tabulator."),
        ])

    private static let columnFields: [FieldSchema] = [
        FieldSchema("name", .text, required: true, "Its name everywhere after the file."),
        FieldSchema(
            "type", .text, required: true,
            "`bool`, `int32`, `int64`, `float32`, `float64`, `string`, `bytes`, `date` or `timestamp`. A whole number or decimal that it does not hold exactly is refused; a text has at most 1 MiB."
        ),
        FieldSchema("nullable", .flag, default: "false", "Whether a row may have no value here."),
        FieldSchema("range", .list(.any), "`[lowest, highest]` of a number, both allowed; null leaves a side open."),
        FieldSchema("oneOf", .texts, "The values that are allowed."),
        FieldSchema("pattern", .text, "A regular expression that a text must match as a whole."),
        FieldSchema("unit", .text, "The unit, for people."),
        FieldSchema("personal", .flag, default: "false", "Whether it holds personal data."),
        FieldSchema("column", .text, default: "its name", "Its name in the file, when that differs."),
        FieldSchema("from", .expression, "Computes the column from others instead of reading it."),
        FieldSchema("zone", .text, default: "UTC", "The time zone of clock times without one, such as `America/New_York`."),
        FieldSchema("keep", .flag, default: "true", "False for a column that is only read so that others can be computed from it."),
    ]

    private static let expectationFields: [FieldSchema] = [
        FieldSchema("rows", .list(.any), "`[fewest, most]` rows of a batch; null leaves a side open."),
        FieldSchema("column", .text, "Instead of `rows`: the column that `nulls` is about."),
        FieldSchema("nulls", .text, "The limit for the share of rows without a value in `column`, such as `< 5%`."),
        FieldSchema(
            "onBreach", .word(OnBreach.allCases.map(\.rawValue)), default: "reject",
            "Whether a batch that breaks the rule is refused, or taken with a warning."),
    ]
}
