import Contracts

/// The rows of Parquet files as SQL, in the columns of one contract whatever contract each file was written under: a column that a file lacks is null, one
/// of another type is cast.
///
/// Inside queries the columns have names of ours, `c0`, `c1`, … in the order of the fields, so that no user's name meets one of a query. Users' names
/// come back in the outermost select alone.
public struct ParquetRows: Sendable {
    public let sql: String
    private let places: [String: String]

    /// - Parameters:
    ///   - files: absolute paths, in order of arrival; none gives no rows.
    ///   - number: a further column with the number of each row, from 1 in order of arrival.
    public init(_ files: [String], _ fields: [Field], number: String? = nil) {
        let empty = fields.map { "CAST(NULL AS \($0.type.duckDBName)) AS \(DuckDBConnection.quoted($0.name))" }.joined(separator: ", ")
        let all = files.isEmpty ? "" : " UNION ALL BY NAME SELECT * FROM \(DuckDBConnection.parquet(files))"
        var columns = fields.enumerated().map {
            "CAST(\(DuckDBConnection.quoted($0.element.name)) AS \($0.element.type.duckDBName)) AS c\($0.offset)"
        }
        if let number { columns.append("row_number() OVER () AS \(number)") }
        sql = "(SELECT \(columns.joined(separator: ", ")) FROM (SELECT \(empty) WHERE false\(all)))"
        places = Dictionary(fields.enumerated().map { ($0.element.name, "c\($0.offset)") }) { first, _ in first }
    }

    /// What a column is called inside the query.
    public func column(_ name: String) -> String { places[name] ?? "NULL" }
}
