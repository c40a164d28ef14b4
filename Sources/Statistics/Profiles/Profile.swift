import Contracts

/// What is known of a table's columns without keeping the rows; see `ColumnProfile` for the errors.
public struct Profile: Sendable, Equatable {
    public private(set) var rowCount = 0
    public private(set) var columns: [ColumnProfile]

    /// The profile of no rows.
    public init(_ fields: [Field]) { columns = fields.map { ColumnProfile(name: $0.name, type: $0.type) } }

    public init(of table: Table) {
        columns = zip(table.names, table.columns).map { ColumnProfile(name: $0, type: $1.type) }
        for i in columns.indices { columns[i].add(table.columns[i]) }
        rowCount = table.rowCount
    }

    public subscript(name: String) -> ColumnProfile? { columns.first { $0.name == name } }

    /// Adds the rows of a table that has these columns (others are ignored).
    /// - Throws: when a column is missing or has another type; then nothing is added.
    public mutating func add(_ table: Table) throws(KeelError) {
        var found: [Column] = []
        for column in columns {
            let values = try table.column(column.name)
            guard values.type == column.type else {
                throw .invalid("column '\(column.name)' is a \(values.type), the profile is of a \(column.type)")
            }
            found.append(values)
        }
        for i in columns.indices { columns[i].add(found[i]) }
        rowCount += table.rowCount
    }

    /// The profile of both tables together.
    /// - Throws: when the columns differ.
    public func merged(with other: Profile) throws(KeelError) -> Profile {
        guard columns.count == other.columns.count else {
            throw .invalid("profiles of \(columns.count) and \(other.columns.count) columns cannot be merged")
        }
        var out = self
        for i in out.columns.indices { try out.columns[i].merge(other.columns[i]) }
        out.rowCount += other.rowCount
        return out
    }

    /// Compact: about 25 kB a column of many values, less than 1 kB for few.
    public var json: JSON { ["rows": .int(Int64(rowCount)), "columns": .array(columns.map(\.json))] }

    /// - Throws: `corrupted` when it is not what `json` wrote.
    public init(json: JSON) throws(KeelError) {
        guard let rows = json["rows"]?.integer, rows >= 0, let items = json["columns"]?.array else {
            throw KeelError(.corrupted, "a profile is not readable")
        }
        rowCount = Int(rows)
        columns = []
        for item in items { columns.append(try ColumnProfile(json: item)) }
    }

    /// Equal when they are written equally.
    public static func == (a: Profile, b: Profile) -> Bool { a.json == b.json }
}
