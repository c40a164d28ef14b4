import Contracts
import Storage

/// The SQL of this room's tables.
enum SnapshotStore {
    /// What a new snapshot is, before it has its place in the chain.
    struct Draft: Sendable {
        var dataset: String
        var number: Int
        var rowsAdded: Int
        var filtered: Int
        var quarantined: Int
        var quarantineFile: String?
        var source: String
        var contract: JSON
        var profile: JSON
        var files: [SnapshotFile]
        var streamEnd: UInt64
        var rejectedEnd: UInt64
        var previous: DatasetSnapshot?

        var digest: Digest {
            var hasher = Digest.Hasher()
            hasher.update(previous?.digest.hex ?? "")
            for file in files { hasher.update("\n\(file.digest.hex)") }
            hasher.update("\n\(contract.text)")
            return hasher.finish()
        }
    }

    /// The place in the dataset's logs up to which snapshots hold their rows.
    struct Sealed: Sendable {
        var stream: UInt64 = 0
        var rejected: UInt64 = 0
    }

    static func insert(_ draft: Draft, _ transaction: Transaction, _ grant: Grant) throws -> DatasetSnapshot {
        let snapshot = DatasetSnapshot(
            dataset: draft.dataset, number: draft.number, createdAt: transaction.now, rows: (draft.previous?.rows ?? 0) + draft.rowsAdded,
            rowsAdded: draft.rowsAdded, filtered: draft.filtered, quarantined: draft.quarantined, source: draft.source, digest: draft.digest,
            contract: draft.contract, profile: draft.profile)
        try transaction.execute(
            """
            INSERT INTO data_snapshots (dataset, number, created_at, rows_total, rows_added, filtered, quarantined, quarantine_file, source, digest,
                contract, profile, stream_end, rejected_end)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .string(snapshot.dataset), int(snapshot.number), .timestamp(snapshot.createdAt), int(snapshot.rows), int(snapshot.rowsAdded),
                int(snapshot.filtered), int(snapshot.quarantined), draft.quarantineFile.map(Value.string) ?? .null, .string(snapshot.source),
                .string(snapshot.digest.hex), .string(snapshot.contract.text), .string(snapshot.profile.text), .int(Int64(draft.streamEnd)),
                .int(Int64(draft.rejectedEnd)),
            ])
        for (position, file) in draft.files.enumerated() {
            try transaction.execute(
                "INSERT INTO data_files (dataset, added_in, position, path, row_count, bytes, digest) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [.string(snapshot.dataset), int(snapshot.number), int(position), .string(file.path), int(file.rows), int(file.bytes), .string(file.digest.hex)])
        }
        try transaction.record(
            "dataset.snapshot", on: "Dataset/\(snapshot.dataset)",
            [
                "dataset": .string(snapshot.dataset), "number": int64(snapshot.number), "rows": int64(snapshot.rows), "rows_added": int64(snapshot.rowsAdded),
                "quarantined": int64(snapshot.quarantined), "source": .string(snapshot.source), "digest": .string(snapshot.digest.description),
            ], by: grant)
        return snapshot
    }

    /// Snapshots older than number `before`, newest first.
    static func list(_ dataset: String, before: Int?, limit: Int, _ db: some Querying) throws -> [DatasetSnapshot] {
        try db.rows(
            "SELECT * FROM data_snapshots WHERE dataset = ? AND number < ? ORDER BY number DESC LIMIT ?",
            [.string(dataset), int(before ?? .max), int(limit)]
        ).map(snapshot)
    }

    static func find(_ dataset: String, _ number: Int?, _ db: some Querying) throws -> DatasetSnapshot? {
        guard let number else { return try list(dataset, before: nil, limit: 1, db).first }
        return try db.row("SELECT * FROM data_snapshots WHERE dataset = ? AND number = ?", [.string(dataset), int(number)]).map(snapshot)
    }

    static func sealed(_ dataset: String, _ db: some Querying) throws -> Sealed {
        let row = try db.row("SELECT stream_end, rejected_end FROM data_snapshots WHERE dataset = ? ORDER BY number DESC LIMIT 1", [.string(dataset)])
        return Sealed(stream: UInt64(row?.int("stream_end") ?? 0), rejected: UInt64(row?.int("rejected_end") ?? 0))
    }

    /// The file of quarantined rows of a snapshot, below the lake's folder.
    static func quarantineFile(_ dataset: String, _ number: Int, _ db: some Querying) throws -> String? {
        try db.row("SELECT quarantine_file FROM data_snapshots WHERE dataset = ? AND number = ?", [.string(dataset), int(number)])?
            .optionalText("quarantine_file")
    }

    static func files(_ dataset: String, upTo number: Int, _ db: some Querying) throws -> [SnapshotFile] {
        try db.rows(
            "SELECT * FROM data_files WHERE dataset = ? AND added_in <= ? ORDER BY added_in, position", [.string(dataset), int(number)]
        ).map { row in
            SnapshotFile(path: row.text("path"), rows: Int(row.int("row_count")), bytes: Int(row.int("bytes")), digest: try digest(row.text("digest")))
        }
    }

    /// Every file that a snapshot refers to.
    static func allFiles(_ db: some Querying) throws -> Set<String> {
        var out: Set<String> = []
        try db.forEach("SELECT path FROM data_files", []) { out.insert($0.text("path")) }
        try db.forEach("SELECT quarantine_file FROM data_snapshots WHERE quarantine_file IS NOT NULL", []) { out.insert($0.text("quarantine_file")) }
        return out
    }

    private static func snapshot(_ row: SQLRow) throws -> DatasetSnapshot {
        DatasetSnapshot(
            dataset: row.text("dataset"), number: Int(row.int("number")), createdAt: row.time("created_at"), rows: Int(row.int("rows_total")),
            rowsAdded: Int(row.int("rows_added")), filtered: Int(row.int("filtered")), quarantined: Int(row.int("quarantined")),
            source: row.text("source"), digest: try digest(row.text("digest")), contract: try row.json("contract"), profile: try row.json("profile"))
    }

    private static func digest(_ hex: String) throws -> Digest {
        guard let digest = Digest(hex: hex) else { throw KeelError(.corrupted, "a snapshot's digest is damaged") }
        return digest
    }
    private static func int(_ value: Int) -> Value { .int(Int64(value)) }
    private static func int64(_ value: Int) -> JSON { .int(Int64(value)) }
}
