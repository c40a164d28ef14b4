import Contracts
import Storage

/// Which rows of the table `predictions` are in no file of the lake yet: for each release ranges of their numbers, which follow each other as rows are
/// written. So a file takes its rows without a change of any of them.
struct UnexportedRows: Sendable, Hashable {
    let endpoint: ResourceRef
    let release: Int

    init(of endpoint: ResourceRef, _ release: Int) {
        self.endpoint = endpoint
        self.release = release
    }

    /// The releases that have such rows.
    static func all(in db: some Querying) throws -> [UnexportedRows] {
        try db.rows("SELECT DISTINCT workspace, endpoint, release_number FROM unexported_predictions").map {
            UnexportedRows(of: ReleaseStore.endpoint($0), Int($0.int("release_number")))
        }
    }

    private var key: [Value] { ReleaseStore.key(endpoint) + [.int(Int64(release))] }

    /// Notes rows that were just written.
    func add(_ rows: ClosedRange<Int64>, in transaction: Transaction) throws {
        try transaction.execute(
            "INSERT INTO unexported_predictions (workspace, endpoint, release_number, first_seq, last_seq) VALUES (?, ?, ?, ?, ?)",
            key + [.int(rows.lowerBound), .int(rows.upperBound)])
    }

    /// Calls `body` with the first `limit` of them in their order: their number in column 0, and then `columns`.
    func scan(_ columns: String, limit: Int, in db: some Querying, _ body: (SQLCells) throws -> Void) throws {
        try db.scan(
            """
            SELECT p.seq, \(columns) FROM unexported_predictions u JOIN predictions p ON p.seq BETWEEN u.first_seq AND u.last_seq
            WHERE u.workspace = ? AND u.endpoint = ? AND u.release_number = ? ORDER BY u.first_seq, p.seq LIMIT ?
            """, key + [.int(Int64(limit))], body)
    }

    /// Those up to a number are in a file now.
    /// - Returns: how many they were.
    func remove(through last: Int64, in transaction: Transaction) throws -> Int {
        let upTo = "workspace = ? AND endpoint = ? AND release_number = ? AND first_seq <= ?"
        let ranges = try transaction.rows("SELECT first_seq, last_seq FROM unexported_predictions WHERE \(upTo)", key + [.int(last)])
        try transaction.execute("DELETE FROM unexported_predictions WHERE \(upTo) AND last_seq <= ?", key + [.int(last), .int(last)])
        // What is left of the range that the file ends in.
        try transaction.execute("UPDATE unexported_predictions SET first_seq = ? WHERE \(upTo)", [.int(last + 1)] + key + [.int(last)])
        return ranges.reduce(0) { $0 + Int(min($1.int("last_seq"), last) - $1.int("first_seq") + 1) }
    }
}
