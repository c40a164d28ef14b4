import Contracts

/// When Keel accepted a row that was pushed: a column beside those of the contract, in the stream's log and in the Parquet files made from it.
///
/// It is given under the lock that orders a stream's rows, so it grows from row to row. Rows of files that were ingested have none, and neither
/// have those pushed to a version before it was kept: they are taken as known when they happened.
public enum AcceptedTime {
    /// No contract may have a column of this name.
    public static let column = "keel_accepted_at"

    /// Rows with the time of each: `first`, and a microsecond more for each further row.
    static func add(_ first: Int64, to rows: Table) throws(KeelError) -> Table {
        try rows.with(column, Column(.timestamp, .int64((0..<rows.rowCount).map { first + Int64($0) })))
    }

    /// The time of the last row; nil when the rows have none.
    static func last(_ rows: Table) -> Int64? {
        guard let times = rows[column], case .int64(let values) = times.buffer else { return nil }
        return values.max()
    }

    static func refuse(_ columns: [Field]) throws(KeelError) {
        for (i, field) in columns.enumerated() where field.name.isEqualIgnoringCase(column) {
            throw .invalid(
                "'\(field.name)' is a name that Keel uses itself", hint: "rename the column; column: says what it is called in the file",
                path: "columns[\(i)].name")
        }
    }
}
