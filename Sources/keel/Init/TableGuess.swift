import Contracts
import Foundation

/// The columns of a CSV file and their roles in a project: what is predicted, of whom, and when.
struct TableGuess {
    let columns: [ColumnGuess]
    let time: ColumnGuess
    let label: ColumnGuess
    let entity: ColumnGuess
    /// The column that tells rows apart; nil when none does.
    let key: ColumnGuess?
    /// The first and the last instant in the file.
    let first: Timestamp
    let last: Timestamp

    private static let rowsMax = 50_000

    /// The columns by name that the caller has chosen.
    struct Choice {
        var label: String?
        var entity: String?
        var time: String?
    }

    /// - Throws: `invalidArgument` when a role is not given and no column fits, or not one alone.
    init(csv text: String, choice: Choice) throws(KeelError) {
        let rows = CSVRows.read(text, rowsMax: TableGuess.rowsMax)
        guard let header = rows.first, rows.count > 1 else { throw .invalid("the file has no rows below its header") }
        guard Set(header).count == header.count else { throw .invalid("two columns of the file have one name") }
        if let i = rows.firstIndex(where: { $0.count != header.count }) {
            throw .invalid("row \(i + 1) of the file has \(rows[i].count) fields, its header \(header.count)")
        }
        let columns = header.indices.map { i in ColumnGuess(name: header[i], texts: rows.dropFirst().map { $0[i] }) }
        self.columns = columns
        let time = try TableGuess.pick(columns, "time", choice.time, fits: "holds instants") { $0.type == "timestamp" && !$0.isNullable }
        let label = try TableGuess.pick(columns, "label", choice.label, fits: "is 0 or 1") { $0.isBinary && !$0.isNullable }
        let others = columns.filter { ![time.name, label.name].contains($0.name) }
        func comesBack(_ column: ColumnGuess) -> Bool {
            (column.type == "string" || column.type == "int64") && !column.isNullable && !column.isUnique && column.distinct > 8
        }
        // A text is rather a name than a number is.
        let texts = others.filter { $0.type == "string" && comesBack($0) }
        let candidates = choice.entity == nil && texts.count == 1 ? texts : others
        entity = try TableGuess.pick(candidates, "entity", choice.entity, fits: "is a text or whole number that comes back", comesBack)
        key = others.first { $0.isUnique && ($0.type == "string" || $0.type == "int64") }
        self.time = time
        self.label = label
        let place = header.firstIndex(of: time.name) ?? 0
        let instants = rows.dropFirst().compactMap { Timestamp($0[place]) }
        guard let first = instants.min(), let last = instants.max() else { throw .invalid("the column '\(time.name)' holds no instants") }
        self.first = first
        self.last = last
    }

    /// Numbers that can be features of the question.
    var numbers: [ColumnGuess] {
        columns.filter { $0.isNumber && ![time.name, label.name, entity.name, key?.name].contains($0.name) }
    }

    private static func pick(
        _ columns: [ColumnGuess], _ role: String, _ named: String?, fits: String, _ test: (ColumnGuess) -> Bool
    ) throws(KeelError) -> ColumnGuess {
        if let named {
            guard let column = columns.first(where: { $0.name == named }) else {
                throw .invalid(
                    "the file has no column '\(named)'", hint: "its columns: \(columns.map(\.name).joined(separator: ", "))", path: "--\(role)")
            }
            guard test(column) else { throw .invalid("the column '\(named)' is not one that \(fits)", path: "--\(role)") }
            return column
        }
        let found = columns.filter(test)
        guard found.count == 1, let column = found.first else {
            throw .invalid(
                found.isEmpty
                    ? "no column \(fits)" : "more than one column \(fits): \(found.map(\.name).joined(separator: ", "))",
                hint: "name it: --\(role) COLUMN", path: "--\(role)")
        }
        return column
    }
}

/// Rows of comma-separated text, as in RFC 4180.
enum CSVRows {
    /// - Parameter rowsMax: how many are read, the header among them.
    static func read(_ text: String, rowsMax: Int) -> [[String]] {
        var rows: [[String]] = []
        var row: [String] = []
        var field: [UInt8] = []
        var isQuoted = false
        var previousQuote = false
        func isEmptyLine() -> Bool { row.isEmpty && field.isEmpty }
        for byte in Array(text.utf8) + [UInt8(ascii: "\n")] {
            if isQuoted {
                if byte == UInt8(ascii: "\"") { isQuoted = false; previousQuote = true } else { field.append(byte) }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""):
                if previousQuote { field.append(byte) }
                isQuoted = true
            case UInt8(ascii: ","):
                row.append(String(decoding: field, as: UTF8.self))
                field.removeAll(keepingCapacity: true)
            case UInt8(ascii: "\n"):
                guard !isEmptyLine() else { break }
                row.append(String(decoding: field, as: UTF8.self))
                rows.append(row)
                if rows.count > rowsMax { return rows }
                row = []
                field.removeAll(keepingCapacity: true)
            case UInt8(ascii: "\r"): break
            default: field.append(byte)
            }
            previousQuote = false
        }
        return rows
    }
}
