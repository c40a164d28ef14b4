import Contracts
import InferenceAPI

/// What holds of every table that a parser made.
enum Tables {
    /// Its columns have as many rows as it, each row can be read, and no number of it is infinite.
    /// - Parameter isFinite: false where a number may be too large for its type, which nobody refuses.
    /// - Returns: its types, as the word for what was accepted.
    static func check(_ table: Table, isFinite: Bool = true) throws -> String {
        for (name, column) in zip(table.names, table.columns) {
            try require(column.count == table.rowCount, "'\(name)' has \(column.count) rows of \(table.rowCount)")
            if let validity = column.validity {
                try require(validity.count == column.count, "'\(name)' has \(validity.count) validity bits of \(column.count)")
            }
            try checkOffsets(column, name)
        }
        for i in 0..<min(table.rowCount, 50) {
            for value in table.row(i) { try require(!isFinite || Tables.isFinite(value), "row \(i) holds \(value)") }
        }
        return table.columns.prefix(4).map { "\($0.type)" }.joined(separator: " ") + (table.rowCount == 0 ? " empty" : "")
    }

    private static func checkOffsets(_ column: Column, _ name: String) throws {
        guard case .list(let offsets, let values) = column.buffer else { return }
        try require(
            offsets.count == column.count + 1 && offsets.first == 0 && offsets.last == values.count,
            "'\(name)' has lists that are not whole")
        try require(zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 }, "'\(name)' has lists that overlap")
        try checkOffsets(values, name)
    }

    private static func isFinite(_ value: Value) -> Bool {
        switch value {
        case .double(let number): !number.isInfinite
        case .list(let items): items.allSatisfy(isFinite)
        default: true
        }
    }

    /// Whether two tables hold the same rows under the same names: as they are logged, where a missing number and NaN are one.
    static func requireSame(_ a: Table, _ b: Table, _ what: String) throws {
        try require(a.names.map { Array($0.utf8) } == b.names.map { Array($0.utf8) }, "\(what): the names differ")
        try require(a.rowCount == b.rowCount, "\(what): \(a.rowCount) rows became \(b.rowCount)")
        for i in 0..<a.rowCount {
            try require(PackedRow(a, row: i) == PackedRow(b, row: i), "\(what): row \(i) differs: \(a.row(i)) became \(b.row(i))")
        }
    }

    /// Whether every value can be written as a binary tensor and read again: what is missing has no form there unless it is a number.
    static func isBinary(_ table: Table) -> Bool {
        table.columns.allSatisfy { column in
            let elements = if case .list(_, let values) = column.buffer { values } else { column }
            return column.nullCount == 0 && (elements.nullCount == 0 || elements.type == .float64) && column.count > 0
        }
    }
}

/// Calls `body` with the bytes as parsers take them.
func withBuffer<T>(_ bytes: [UInt8], _ body: (UnsafeBufferPointer<UInt8>) throws -> T) rethrows -> T {
    // Exactly as many bytes as there are, so that a tool that watches memory sees a read behind them.
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
    defer { copy.deallocate() }
    _ = copy.initialize(from: bytes)
    return try body(UnsafeBufferPointer(copy))
}

func withRaw<T>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> T) rethrows -> T {
    try withBuffer(bytes) { try body(UnsafeRawBufferPointer($0)) }
}
