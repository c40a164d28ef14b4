import Contracts

/// The dimensions of an input. The first is that of the rows; what is left, unless it is nothing or 1, is the shape of a tensor in each row.
package struct TensorShape: Sendable, Hashable {
    /// The first dimension; nil as long as there is none.
    private var rows: Int?
    /// The others. Most inputs have none, and an empty list costs nothing.
    private var row: [Int] = []
    /// Of the dimensions that are not 0: what is left without those must still be a number.
    private var product = 1

    package var sizes: [Int] { rows.map { [$0] + row } ?? [] }

    /// How many values it takes.
    package var elements: Int { rows == 0 || row.contains(0) ? 0 : product }

    /// Of all dimensions together.
    private static let elementsMax = 1 << 28
    private static let dimensionsMax = 8
    /// Rows of a tensor that has a dimension of 0: such a one needs no data, however many rows it says that it has.
    private static let emptyRowsMax = 1 << 16

    package init() {}

    /// Adds the next size. Nil is one that is no whole number, or none that fits.
    /// - Throws: `invalidArgument` whose path is the place in the list: `[1]`.
    package mutating func add(_ size: Int64?) throws(KeelError) {
        let count = rows == nil ? 0 : 1 + row.count
        guard let size, (0...Int64(TensorShape.elementsMax)).contains(size) else {
            throw .invalid("a shape is a list of sizes up to \(TensorShape.elementsMax)" + (size.map { ", not \($0)" } ?? ""), path: "[\(count)]")
        }
        product *= max(1, Int(size))
        guard product <= TensorShape.elementsMax, count < TensorShape.dimensionsMax else {
            throw .invalid("an input has at most \(TensorShape.dimensionsMax) dimensions and \(TensorShape.elementsMax) values", path: "[\(count)]")
        }
        if rows == nil { rows = Int(size) } else { row.append(Int(size)) }
    }

    /// Looks at the whole when all sizes are there.
    /// - Throws: as `add`.
    package func check() throws(KeelError) {
        guard let rows else { throw .invalid("a shape needs at least one dimension") }
        guard elements > 0 || rows <= TensorShape.emptyRowsMax else {
            throw .invalid("\(rows) rows without elements", hint: "at most \(TensorShape.emptyRowsMax)", path: "[0]")
        }
    }

    /// The elements as the column of the rows.
    package func rows(of elements: Column) -> Column {
        guard let rows, row.contains(where: { $0 != 1 }) else { return elements }
        let size = row.reduce(1, *)
        return Column(.tensor(elements.type, shape: row), .list(offsets: (0...rows).map { $0 * size }, values: elements))
    }
}
