import Contracts

/// A table as CSV (RFC 4180) with a line of names, read as pandas reads it, which is what MLflow's server does: its words for a missing value are missing here,
/// in quotes or not, and a first column without a name is an index, which is passed over.
enum CSVTable {
    private static let missing: Set<String> = [
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan",
        "null",
    ]
    private static let columnsMax = 10_000

    /// - Parameter fields: what the endpoint takes: columns of texts stay texts.
    /// - Throws: `invalidArgument` with the line.
    static func parse(_ bytes: [UInt8], _ fields: [Field]) throws(KeelError) -> Table {
        var reader = CSVReader(bytes)
        guard let header = try reader.record(), !header.isEmpty else { throw .invalid("the body has no line of names") }
        guard header.count <= columnsMax else { throw .invalid("\(header.count) columns are more than \(columnsMax)") }
        var cells = header.map { _ in [String]() }
        while let record = try reader.record() {
            // An empty line is none.
            if record == [""], header.count > 1 { continue }
            guard record.count == header.count else {
                throw .invalid("has \(record.count) values, the line of names \(header.count)", path: "line \(reader.line)")
            }
            for (j, cell) in record.enumerated() { cells[j].append(cell) }
        }
        var pairs: [(name: String, column: Column)] = []
        for (j, name) in header.enumerated() where !(j == 0 && name.isEmpty && header.count > 1) {
            pairs.append((name, try column(cells[j], fields.first { $0.name == name }?.type, name)))
        }
        return try Table(pairs)
    }

    private static func column(_ cells: [String], _ type: DataType?, _ name: String) throws(KeelError) -> Column {
        let present = cells.map { missing.contains($0) ? nil : $0 }
        if let values = typed(present, type) {
            let infinite = values.firstIndex { if case .double(let number) = $0 { !number.isFinite } else { false } }
            if let infinite { throw .invalid("'\(cells[infinite].prefix(40))' is not a finite number", path: "\(name)[\(infinite)]") }
            let isWhole = values.allSatisfy { if case .double = $0 { false } else { true } }
            let isFlag = values.contains { if case .bool = $0 { true } else { false } }
            return try Column(isFlag ? .bool : isWhole ? .int64 : .float64, values: values)
        }
        return try Column(.string, values: present.map { $0.map(Value.string) ?? .null })
    }

    /// The values as numbers or flags; nil when one of them is neither, and for columns of texts.
    private static func typed(_ cells: [String?], _ type: DataType?) -> [Value]? {
        switch type {
        case .string, .bytes, .date, .timestamp: return nil
        default: break
        }
        let flags = cells.map { cell -> Value? in cell.map { flag($0).map(Value.bool) } ?? .some(.null) }
        if cells.contains(where: { $0 != nil }), !flags.contains(where: { $0 == nil }) { return flags.compactMap { $0 } }
        let numbers = cells.map { cell -> Value? in cell.map(number) ?? .some(.null) }
        return numbers.contains { $0 == nil } ? nil : numbers.compactMap { $0 }
    }

    private static func flag(_ text: String) -> Bool? {
        switch text {
        case "True", "TRUE", "true": true
        case "False", "FALSE", "false": false
        default: nil
        }
    }

    private static func number(_ text: String) -> Value? {
        let trimmed = text.drop { $0 == " " }
        if let whole = Int64(trimmed) { return .int(whole) }
        // Not Swift's hexadecimal floats.
        guard !trimmed.contains(where: { $0 == "x" || $0 == "X" || $0 == "p" || $0 == "P" }) else { return nil }
        return Double(trimmed).map(Value.double)
    }
}

/// The records of CSV text, one after another.
struct CSVReader {
    private let bytes: [UInt8]
    private var position: Int
    /// Of the last record, from 1.
    private(set) var line = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        // A byte order mark.
        position = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
    }

    /// The next record; nil at the end.
    mutating func record() throws(KeelError) -> [String]? {
        guard position < bytes.count else { return nil }
        line += 1
        var cells: [String] = []
        while true {
            cells.append(try cell())
            guard position < bytes.count else { return cells }
            let separator = bytes[position]
            position += 1
            if separator == UInt8(ascii: ",") {
                // What ends with a comma ends with an empty value.
                if position == bytes.count {
                    cells.append("")
                    return cells
                }
                continue
            }
            if separator == UInt8(ascii: "\r"), position < bytes.count, bytes[position] == UInt8(ascii: "\n") { position += 1 }
            return cells
        }
    }

    private mutating func cell() throws(KeelError) -> String {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            let start = position
            while position < bytes.count, !CSVReader.ends(bytes[position]) { position += 1 }
            return try text(bytes[start..<position])
        }
        position += 1
        var out: [UInt8] = []
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "\"") {
                guard position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "\"") else { break }
                position += 1
            }
            out.append(bytes[position])
            position += 1
        }
        guard position < bytes.count else { throw .invalid("a value in quotes does not end", path: "line \(line)") }
        position += 1
        guard position == bytes.count || CSVReader.ends(bytes[position]) else {
            throw .invalid("there is text behind a value in quotes", path: "line \(line)")
        }
        return try text(out[...])
    }

    private func text(_ part: ArraySlice<UInt8>) throws(KeelError) -> String {
        guard let text = part.withUnsafeBufferPointer({ $0.utf8Text }) else { throw .invalid("is not valid UTF-8", path: "line \(line)") }
        return text
    }

    private static func ends(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }
}
