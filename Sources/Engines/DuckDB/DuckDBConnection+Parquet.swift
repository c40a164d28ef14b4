import Contracts

extension DuckDBConnection {
    /// The table function over Parquet files of one kind, one after another; a column that a file lacks is null in its rows.
    ///
    /// All of Keel's SQL reads Parquet through this: DuckDB otherwise takes columns out of the files' paths (`…/env=prod/…`).
    ///
    /// - Parameter numbered: whether there is a column `file_row_number` too, counted from 0.
    public static func parquet(_ files: [String], numbered: Bool = false) -> String {
        let list = files.map(literal).joined(separator: ", ")
        return "read_parquet([\(list)], hive_partitioning = false, filename = false, union_by_name = true, file_row_number = \(numbered))"
    }
}
