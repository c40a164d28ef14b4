import Contracts
import Statistics
import Storage

/// The SQL of this module's tables. What takes the name of a dataset looks in the workspace of its transaction; what takes none is about all workspaces.
enum SnapshotStore {
    /// A new snapshot and what only this module needs to know of it.
    struct Draft: Sendable {
        var snapshot: Snapshot
        /// The files that are new in it.
        var added: [Snapshot.File]
        /// Whether it holds these files alone.
        var replaces: Bool
        var filtered: Int
        var quarantineFile: String?
        var source: String
        var sealed: Sealed
    }

    /// The place in the dataset's logs up to which snapshots hold their rows.
    struct Sealed: Sendable {
        var stream: UInt64 = 0
        var rejected: UInt64 = 0
    }

    static func insert(_ draft: Draft, _ transaction: Transaction, _ grant: Grant) throws {
        let snapshot = draft.snapshot
        let rowsAdded = draft.added.reduce(0) { $0 + $1.rows }
        try transaction.execute(
            """
            INSERT INTO data_snapshots (workspace, dataset, number, created_at, rows_total, rows_added, filtered, quarantined, quarantine_file, source, digest,
                contract, profile, first_event, last_event, stream_end, rejected_end, files_from)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                try transaction.inWorkspace, .string(snapshot.dataset), int(snapshot.number), .timestamp(snapshot.createdAt), int(snapshot.rowCount), int(rowsAdded),
                int(draft.filtered), int(snapshot.quarantinedCount), draft.quarantineFile.map(Value.string) ?? .null, .string(draft.source),
                .string(snapshot.digest.hex), .string(snapshot.schema.json.text), .string(snapshot.profile?.json.text ?? "null"),
                snapshot.eventTimes.map { .timestamp($0.lowerBound) } ?? .null,
                snapshot.eventTimes.map { .timestamp($0.upperBound) } ?? .null,
                .int(Int64(draft.sealed.stream)), .int(Int64(draft.sealed.rejected)),
                int(draft.replaces ? snapshot.number : try filesFrom(snapshot.dataset, transaction)),
            ])
        try transaction.execute(
            """
            INSERT INTO data_numbers (workspace, dataset, last) VALUES (?, ?, ?)
            ON CONFLICT (workspace, dataset) DO UPDATE SET last = excluded.last
            """,
            [try transaction.inWorkspace, .string(snapshot.dataset), int(snapshot.number)])
        for (position, file) in draft.added.enumerated() {
            try transaction.execute(
                "INSERT INTO data_files (workspace, dataset, added_in, position, path, row_count, bytes, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    try transaction.inWorkspace, .string(snapshot.dataset), int(snapshot.number), int(position), .string(file.path), int(file.rows), int(file.bytes),
                    .string(file.digest.hex),
                ])
        }
        try transaction.record(
            "dataset.snapshot", on: "Dataset/\(snapshot.dataset)",
            [
                "dataset": .string(snapshot.dataset), "number": .int(Int64(snapshot.number)), "rows": .int(Int64(snapshot.rowCount)),
                "rows_added": .int(Int64(rowsAdded)), "quarantined": .int(Int64(snapshot.quarantinedCount)),
                "source": .string(draft.source),
                "digest": .string(snapshot.digest.description), "replaces": .bool(draft.replaces),
            ], by: grant)
    }

    /// The number of the next snapshot: numbers go on after the data were removed.
    static func nextNumber(_ dataset: String, _ db: some Querying) throws -> Int {
        Int(try db.row("SELECT last FROM data_numbers WHERE workspace = ? AND dataset = ?", [try db.inWorkspace, .string(dataset)])?.int("last") ?? 0) + 1
    }

    /// How many rows the newest snapshot holds, by its record alone: a snapshot that cannot be read is counted too.
    static func rowCount(_ dataset: String, _ db: some Querying) throws -> Int {
        let row = try db.row(
            "SELECT rows_total FROM data_snapshots WHERE workspace = ? AND dataset = ? ORDER BY number DESC LIMIT 1",
            [try db.inWorkspace, .string(dataset)])
        return Int(row?.int("rows_total") ?? 0)
    }

    static func count(_ dataset: String, _ db: some Querying) throws -> Int {
        let row = try db.row(
            "SELECT count(*) AS n FROM data_snapshots WHERE workspace = ? AND dataset = ?", [try db.inWorkspace, .string(dataset)])
        return Int(row?.int("n") ?? 0)
    }

    /// The datasets that have a snapshot.
    static func datasets(_ db: some Querying) throws -> Set<String> {
        let rows = try db.rows("SELECT DISTINCT dataset FROM data_snapshots WHERE workspace = ?", [try db.inWorkspace])
        return Set(rows.map { $0.text("dataset") })
    }

    /// Forgets the snapshots of a dataset. The number of its last one stays.
    static func remove(_ dataset: String, _ tx: Transaction) throws {
        for table in ["data_files", "data_snapshots"] {
            try tx.execute("DELETE FROM \(table) WHERE workspace = ? AND dataset = ?", [try tx.inWorkspace, .string(dataset)])
        }
    }

    /// The number of the snapshot before the one of a row.
    private static let parent = """
        (SELECT max(p.number) FROM data_snapshots p WHERE p.workspace = s.workspace AND p.dataset = s.dataset AND p.number < s.number) AS parent
        """

    /// Snapshots older than number `before`, newest first, without their profiles.
    static func list(_ dataset: String, before: Int?, limit: Int, _ db: some Querying) throws -> [Snapshot] {
        let rows = try db.rows(
            """
            SELECT dataset, number, created_at, quarantined, digest, contract, first_event, last_event, files_from, \(parent)
            FROM data_snapshots s WHERE workspace = ? AND dataset = ? AND number < ? ORDER BY number DESC LIMIT ?
            """, [try db.inWorkspace, .string(dataset), int(before ?? .max), int(limit)])
        guard let newest = rows.first else { return [] }
        let files = try files(dataset, upTo: Int(newest.int("number")), db)
        return try rows.map { try snapshot($0, files, profile: nil) }
    }

    /// One snapshot with its profile; without a number the newest.
    /// - Parameter unreadable: told of a profile that cannot be read: statistics that are lost do not keep anyone from the rows.
    static func find(_ dataset: String, _ number: Int?, _ db: some Querying, unreadable: (_ number: Int, KeelError) -> Void = { _, _ in })
        throws -> Snapshot?
    {
        let row = try db.row(
            "SELECT s.*, \(parent) FROM data_snapshots s WHERE workspace = ? AND dataset = ? AND number <= ? ORDER BY number DESC LIMIT 1",
            [try db.inWorkspace, .string(dataset), int(number ?? .max)])
        guard let row, number == nil || Int(row.int("number")) == number else { return nil }
        let found = Int(row.int("number"))
        var profile: Profile?
        do {
            let stored = try row.json("profile")
            if !stored.isNull { profile = try Profile(json: stored) }
        } catch { unreadable(found, KeelError.wrapping(error)) }
        return try snapshot(row, try files(dataset, upTo: found, db), profile: profile)
    }

    static func sealed(_ dataset: String, _ db: some Querying) throws -> Sealed {
        let row = try db.row(
            "SELECT stream_end, rejected_end FROM data_snapshots WHERE workspace = ? AND dataset = ? ORDER BY number DESC LIMIT 1",
            [try db.inWorkspace, .string(dataset)])
        return Sealed(stream: UInt64(row?.int("stream_end") ?? 0), rejected: UInt64(row?.int("rejected_end") ?? 0))
    }

    /// When each file that did not come out of the stream was ingested, by path.
    static func ingested(_ dataset: String, upTo number: Int, _ db: some Querying) throws -> [String: Timestamp] {
        let times = try ingestTimes(dataset, upTo: number, db)
        var out: [String: Timestamp] = [:]
        for (addedIn, file) in try files(dataset, upTo: number, db) { out[file.path] = times[addedIn] }
        return out
    }

    /// When each snapshot was made that holds an ingest, by number.
    static func ingestTimes(_ dataset: String, upTo number: Int, _ db: some Querying) throws -> [Int: Timestamp] {
        let steps = try db.rows(
            "SELECT number, created_at, stream_end, rejected_end FROM data_snapshots WHERE workspace = ? AND dataset = ? AND number <= ? ORDER BY number",
            [try db.inWorkspace, .string(dataset), int(number)])
        var times: [Int: Timestamp] = [:]
        var stream: Int64 = 0
        var rejected: Int64 = 0
        // A seal takes a part of the logs; only an ingest leaves them where they were.
        for step in steps {
            if step.int("stream_end") == stream, step.int("rejected_end") == rejected { times[Int(step.int("number"))] = step.time("created_at") }
            stream = step.int("stream_end")
            rejected = step.int("rejected_end")
        }
        return times
    }

    /// Names the rows of a dataset that did not come through its stream: by the last removal and the last ingest.
    static func origin(_ dataset: String, _ db: some Querying) throws -> String {
        let removal = try db.ledgerEvents(of: "dataset.removed", on: "Dataset/\(dataset)", after: 0, before: .max, limit: 1).first?.seq ?? 0
        // A seal takes a part of the logs; only an ingest leaves them where they were.
        let ingest = try db.row(
            """
            SELECT number, digest FROM (
                SELECT number, digest, stream_end, rejected_end, lag(stream_end, 1, 0) OVER (ORDER BY number) AS stream_before,
                    lag(rejected_end, 1, 0) OVER (ORDER BY number) AS rejected_before FROM data_snapshots
                WHERE workspace = ? AND dataset = ?
            ) AS steps WHERE stream_end = stream_before AND rejected_end = rejected_before ORDER BY number DESC LIMIT 1
            """, [try db.inWorkspace, .string(dataset)])
        return "\(removal)/\(ingest?.int("number") ?? 0)/\(ingest?.text("digest") ?? "")"
    }

    /// The file of quarantined rows of a snapshot, below the lake's folder.
    static func quarantineFile(_ dataset: String, _ number: Int, _ db: some Querying) throws -> String? {
        let row = try db.row(
            "SELECT quarantine_file FROM data_snapshots WHERE workspace = ? AND dataset = ? AND number = ?",
            [try db.inWorkspace, .string(dataset), int(number)])
        return row?.optionalText("quarantine_file")
    }

    /// The snapshot whose files, and those added since, are the newest one's.
    private static func filesFrom(_ dataset: String, _ db: some Querying) throws -> Int {
        let row = try db.row(
            "SELECT files_from FROM data_snapshots WHERE workspace = ? AND dataset = ? ORDER BY number DESC LIMIT 1",
            [try db.inWorkspace, .string(dataset)])
        return Int(row?.int("files_from") ?? 1)
    }

    /// The files of the newest snapshot.
    static func newestFiles(_ dataset: String, _ db: some Querying) throws -> [Snapshot.File] {
        let first = try filesFrom(dataset, db)
        return try files(dataset, upTo: .max, db).filter { $0.addedIn >= first }.map(\.file)
    }

    /// The files that were added up to a snapshot, each with the number of the snapshot that added it.
    static func files(_ dataset: String, upTo number: Int, _ db: some Querying) throws -> [(addedIn: Int, file: Snapshot.File)] {
        try db.rows(
            "SELECT * FROM data_files WHERE workspace = ? AND dataset = ? AND added_in <= ? ORDER BY added_in, position",
            [try db.inWorkspace, .string(dataset), int(number)]
        ).map { (Int($0.int("added_in")), try file($0)) }
    }

    /// Every Parquet file, with its dataset.
    static func everyFile(_ db: some Querying) throws -> [(dataset: ResourceRef, file: Snapshot.File)] {
        try db.rows("SELECT * FROM data_files ORDER BY workspace, dataset, added_in, position", []).map { (dataset($0), try file($0)) }
    }

    private static func dataset(_ row: SQLRow) -> ResourceRef {
        ResourceRef("Dataset", row.text("dataset"), in: WorkspaceID(stored: row.text("workspace")))
    }

    private static func file(_ row: SQLRow) throws -> Snapshot.File {
        Snapshot.File(
            path: row.text("path"), rows: Int(row.int("row_count")), bytes: Int(row.int("bytes")), digest: try digest(row.text("digest")))
    }

    /// Every file that a snapshot refers to.
    ///
    /// The tables may be those of a version that knew no workspaces, as a backup's are.
    static func allFiles(_ db: some Querying) throws -> Set<String> {
        var out: Set<String> = []
        try db.forEach("SELECT path FROM data_files", []) { out.insert($0.text("path")) }
        try db.forEach("SELECT quarantine_file FROM data_snapshots WHERE quarantine_file IS NOT NULL", []) {
            out.insert($0.text("quarantine_file"))
        }
        return out
    }

    /// Every file with its dataset, and its size where that is known.
    static func forEachFile(_ db: some Querying, _ body: (_ dataset: ResourceRef, _ path: String, _ bytes: Int64?) throws -> Void) throws {
        try db.forEach("SELECT workspace, dataset, path, bytes FROM data_files", []) {
            try body(dataset($0), $0.text("path"), $0.int("bytes"))
        }
        try db.forEach("SELECT workspace, dataset, quarantine_file FROM data_snapshots WHERE quarantine_file IS NOT NULL", []) {
            try body(dataset($0), $0.text("quarantine_file"), nil)
        }
    }

    private static func snapshot(_ row: SQLRow, _ files: [(addedIn: Int, file: Snapshot.File)], profile: Profile?) throws -> Snapshot {
        let number = Int(row.int("number"))
        let first = Int(row.int("files_from"))
        var eventTimes: ClosedRange<Timestamp>?
        if let first = row.optionalTime("first_event"), let last = row.optionalTime("last_event"), first <= last {
            eventTimes = first...last
        }
        let snapshot = Snapshot(
            dataset: row.text("dataset"), number: number, files: files.filter { $0.addedIn >= first && $0.addedIn <= number }.map(\.file),
            quarantinedCount: Int(row.int("quarantined")), schema: try Schema(stored: try row.json("contract")), profile: profile,
            createdAt: row.time("created_at"), parent: row.optionalInt("parent").map(Int.init), eventTimes: eventTimes)
        guard snapshot.digest.hex == row.text("digest") else {
            throw KeelError(.corrupted, "the record of snapshot \(snapshot.name) is not what its digest says")
        }
        return snapshot
    }

    private static func digest(_ hex: String) throws -> Digest {
        guard let digest = Digest(hex: hex) else { throw KeelError(.corrupted, "a snapshot's digest is damaged") }
        return digest
    }
    private static func int(_ value: Int) -> Value { .int(Int64(value)) }
}
