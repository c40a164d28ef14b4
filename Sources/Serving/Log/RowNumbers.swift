import Contracts
import Storage

/// Numbers the rows that one transaction writes, and notes them as rows that are in no file yet.
struct RowNumbers {
    /// The number of the next row.
    private(set) var next: Int64
    /// Rows of one release that follow each other and are not noted yet.
    private var run: (rows: UnexportedRows, first: Int64)?

    init(in transaction: Transaction) throws {
        next = (try transaction.row("SELECT max(seq) AS seq FROM predictions")?.optionalInt("seq") ?? 0) + 1
    }

    /// Says that a row of a release was written with the number `next`.
    mutating func use(for rows: UnexportedRows, in transaction: Transaction) throws {
        if run?.rows != rows {
            try note(in: transaction)
            run = (rows, next)
        }
        next += 1
    }

    /// Notes what is not noted yet. Call it when all rows are written.
    mutating func note(in transaction: Transaction) throws {
        guard let (rows, first) = run else { return }
        try rows.add(first...next - 1, in: transaction)
        run = nil
    }
}
