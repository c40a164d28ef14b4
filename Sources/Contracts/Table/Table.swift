/// Columns of equal length with their names: how data moves inside Keel.
public struct Table: Sendable, Hashable {
    public private(set) var names: [String]
    public private(set) var columns: [Column]
    public private(set) var rowCount: Int

    /// - Throws: `invalidArgument` when names repeat or lengths differ.
    public init(_ pairs: [(name: String, column: Column)]) throws(KeelError) {
        names = pairs.map(\.name)
        columns = pairs.map(\.column)
        rowCount = columns.first?.count ?? 0
        guard !names.hasRepetition else { throw .invalid("a table has two columns of one name: \(names.joined(separator: ", "))") }
        for (name, column) in pairs where column.count != rowCount {
            throw .invalid("column '\(name)' has \(column.count) rows, the table \(rowCount)")
        }
    }

    /// A table of columns that are known to have different names and one length, as those of a plan: nothing is checked for each request.
    /// - Precondition: there are as many names as columns, and both of the above hold.
    public init(distinct names: [String], columns: [Column]) {
        precondition(names.count == columns.count, "\(names.count) names for \(columns.count) columns")
        assert(!names.hasRepetition && columns.allSatisfy { $0.count == columns[0].count }, "names or lengths of columns were not checked")
        self.names = names
        self.columns = columns
        rowCount = columns.first?.count ?? 0
    }

    /// A table without rows, of these columns.
    public init(emptyOf fields: [Field]) {
        names = fields.map(\.name)
        columns = fields.map { Column($0.type) }
        rowCount = 0
    }

    public func index(of name: String) -> Int? { names.firstIndex(of: name) }
    public subscript(name: String) -> Column? { index(of: name).map { columns[$0] } }

    /// The column, or an error that names the nearest one.
    public func column(_ name: String) throws(KeelError) -> Column {
        if let column = self[name] { return column }
        throw .invalid(
            "there is no column '\(name)'",
            hint: nearest(name, in: names).map { "did you mean '\($0)'?" } ?? "columns: \(names.joined(separator: ", "))")
    }

    public func row(_ i: Int) -> [Value] { columns.map { $0[i] } }

    /// Appends one row in column order; on an error the table is as before.
    public mutating func append(row: [Value]) throws(KeelError) {
        guard row.count == columns.count else { throw .invalid("a row of \(row.count) values for \(columns.count) columns") }
        for i in columns.indices {
            do throws(KeelError) { try columns[i].type.check(row[i]) } catch { throw error.at("[\(rowCount)]").at(names[i]) }
        }
        for i in columns.indices { columns[i].appendChecked(row[i]) }
        rowCount += 1
    }

    public func selecting(_ wanted: [String]) throws(KeelError) -> Table {
        var pairs: [(name: String, column: Column)] = []
        for name in wanted { pairs.append((name, try column(name))) }
        var out = try Table(pairs)
        out.rowCount = rowCount
        return out
    }

    public func taking(rows: [Int]) -> Table {
        var out = self
        out.columns = columns.map { $0.taking(rows) }
        out.rowCount = rows.count
        return out
    }

    /// The rows of `range`.
    public func rows(_ range: Range<Int>) -> Table {
        if range == 0..<rowCount { return self }
        var out = self
        out.columns = columns.map { $0.rows(range) }
        out.rowCount = range.count
        return out
    }

    /// Whether the rows of both can be in one table: the same columns of the same types, in order.
    public func hasColumns(of other: Table) -> Bool {
        guard names == other.names else { return false }
        return zip(columns, other.columns).allSatisfy { $0.type == $1.type }
    }

    /// The rows of tables one after another.
    /// - Precondition: there is one, and all have the columns of the first (`hasColumns`).
    public init(joining tables: [Table]) {
        self = tables[0]
        guard tables.count > 1 else { return }
        columns = names.indices.map { i in Column(joining: tables.map { $0.columns[i] }) }
        rowCount = tables.reduce(0) { $0 + $1.rowCount }
    }

    /// The table with one more column, or one replaced.
    public func with(_ name: String, _ column: Column) throws(KeelError) -> Table {
        var pairs = Array(zip(names, columns)).map { (name: $0.0, column: $0.1) }
        if let i = index(of: name) { pairs[i].column = column } else { pairs.append((name, column)) }
        return try Table(pairs)
    }
}

extension [String] {
    /// Whether a text is there twice; few are compared one by one, without hashing.
    public var hasRepetition: Bool {
        guard count <= 16 else { return Set(self).count != count }
        for i in indices { for j in 0..<i where self[i] == self[j] { return true } }
        return false
    }
}
