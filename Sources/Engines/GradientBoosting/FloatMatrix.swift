import Contracts

/// A dense table of float32, row-major; NaN is a missing value.
public struct FloatMatrix: Sendable {
    public let rowCount: Int
    public let columnCount: Int
    /// `rowCount × columnCount` values, row by row.
    public let values: [Float]

    /// - Throws: `invalidArgument` when the number of values is not `rowCount × columnCount`.
    public init(rowCount: Int, columnCount: Int, values: [Float]) throws(KeelError) {
        let (size, overflow) = rowCount.multipliedReportingOverflow(by: columnCount)
        guard rowCount >= 0, columnCount > 0, !overflow, size == values.count else {
            throw .invalid("\(values.count) values are no matrix of \(rowCount) rows and \(columnCount) columns")
        }
        (self.rowCount, self.columnCount, self.values) = (rowCount, columnCount, values)
    }

    /// The named columns of a table, in that order: numbers as they are, booleans as 0 and 1, nulls as NaN.
    ///
    /// - Throws: `invalidArgument` for a column that is not there or not a number.
    public init(_ table: Table, columns names: [String]) throws(KeelError) {
        guard !names.isEmpty else { throw .invalid("a matrix needs at least one column") }
        var values = [Float](repeating: .nan, count: table.rowCount * names.count)
        for (j, name) in names.enumerated() {
            let column = try table.column(name)
            guard let numbers = column.doubles() else {
                throw .invalid("column '\(name)' is \(column.type), a matrix holds numbers", hint: "encode it as numbers first")
            }
            var at = j
            for number in numbers {
                values[at] = Float(number)
                at += names.count
            }
        }
        (rowCount, columnCount, self.values) = (table.rowCount, names.count, values)
    }
}
