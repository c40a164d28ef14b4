import Contracts
import Storage

/// SQL of the table of artifacts: which content each path refers to. Folders are rows too, without content, so that a list is one index range.
enum ArtifactStore {
    static func find(_ db: some Querying, _ path: ArtifactPath) throws -> StoredObject? {
        try row(db, path).flatMap(object)
    }

    /// - Throws: `notFound` in MLflow's words; `invalidArgument` for a folder.
    static func file(_ db: some Querying, _ path: ArtifactPath) throws -> StoredObject {
        guard let row = try row(db, path) else {
            guard path.text.isEmpty else { throw KeelError.notFound("No such artifact: '\(path)'") }
            throw isFolder(path)
        }
        guard let object = object(row) else { throw isFolder(path) }
        return object
    }

    private static func isFolder(_ path: ArtifactPath) -> KeelError {
        .invalid("Artifact path refers to a directory, not a file: '\(path)'")
    }

    /// What lies directly in a folder, by name.
    static func list(_ db: some Querying, _ folder: ArtifactPath) throws -> [(name: String, object: StoredObject?)] {
        try db.rows("SELECT name, digest, bytes FROM tracking_artifacts WHERE folder = ? ORDER BY name", [.string(folder.text)]).map {
            ($0.text("name"), object($0))
        }
    }

    /// Makes a path refer to content, instead of what it referred to before.
    /// - Throws: `invalidArgument` when the path is a folder, or a part of it a file.
    static func set(_ tx: Transaction, _ path: ArtifactPath, _ object: StoredObject) throws {
        try check(tx, path)
        try ensure(tx, folder: path.folder)
        try tx.execute(
            """
            INSERT INTO tracking_artifacts (folder, name, digest, bytes, updated_ms) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (folder, name) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes, updated_ms = excluded.updated_ms
            """,
            [
                .string(path.folder?.text ?? ""), .string(path.name), .string(object.digest.hex), .int(object.bytes),
                .int(tx.now.milliseconds),
            ])
    }

    /// That a file can be put at a path.
    static func check(_ db: some Querying, _ path: ArtifactPath) throws {
        if let row = try row(db, path), object(row) == nil { throw isFolder(path) }
        var above = path.folder
        while let folder = above, !folder.text.isEmpty {
            if let row = try row(db, folder) {
                guard object(row) == nil else {
                    throw KeelError.invalid("Invalid path", hint: "'\(folder)' is a file: nothing can lie below it")
                }
                // What lies above a folder is a folder.
                return
            }
            above = folder.folder
        }
    }

    private static func ensure(_ tx: Transaction, folder: ArtifactPath?) throws {
        guard let folder, !folder.text.isEmpty, try row(tx, folder) == nil else { return }
        try ensure(tx, folder: folder.folder)
        try tx.execute(
            "INSERT INTO tracking_artifacts (folder, name, digest, bytes, updated_ms) VALUES (?, ?, NULL, 0, ?) ON CONFLICT (folder, name) DO NOTHING",
            [.string(folder.folder?.text ?? ""), .string(folder.name), .int(tx.now.milliseconds)])
    }

    /// Removes a file, or a folder with all below it.
    /// - Returns: how many files that were, and their bytes.
    static func remove(_ tx: Transaction, _ path: ArtifactPath) throws -> Collected {
        let removed = try size(tx, path)
        try tx.execute(
            "DELETE FROM tracking_artifacts WHERE folder = ? AND name = ?", [.string(path.folder?.text ?? ""), .string(path.name)])
        let (below, parameters) = below(path)
        try tx.execute("DELETE FROM tracking_artifacts WHERE \(below)", parameters)
        return removed
    }

    /// Removes the folder, and those above it, as long as nothing lies in them.
    static func removeIfEmpty(_ tx: Transaction, _ folder: ArtifactPath?) throws {
        var at = folder
        while let folder = at, !folder.text.isEmpty {
            guard try tx.row("SELECT 1 FROM tracking_artifacts WHERE folder = ? LIMIT 1", [.string(folder.text)]) == nil else { return }
            try tx.execute(
                "DELETE FROM tracking_artifacts WHERE folder = ? AND name = ? AND digest IS NULL",
                [.string(folder.folder?.text ?? ""), .string(folder.name)])
            at = folder.folder
        }
    }

    /// The files at and below a path.
    static func files(_ db: some Querying, below path: ArtifactPath) throws -> [(path: ArtifactPath, object: StoredObject)] {
        if let file = try find(db, path) { return [(path, file)] }
        let (below, parameters) = below(path)
        let sql = "SELECT folder, name, digest, bytes FROM tracking_artifacts WHERE \(below) AND digest IS NOT NULL ORDER BY folder, name"
        return try db.rows(sql, parameters).compactMap { row in
            try object(row).map { (try ArtifactPath("\(row.text("folder"))/\(row.text("name"))"), $0) }
        }
    }

    /// How many files there are at and below a path, and their bytes (content that is shared counts each time).
    static func size(_ db: some Querying, _ path: ArtifactPath) throws -> Collected {
        if let file = try find(db, path) { return Collected(objects: 1, bytes: file.bytes) }
        let (below, parameters) = below(path)
        let sum = try db.row(
            "SELECT count(digest) AS files, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM tracking_artifacts WHERE \(below)", parameters)
        return Collected(objects: Int(sum?.int("files") ?? 0), bytes: sum?.int("bytes") ?? 0)
    }

    /// All rows below a folder: its own, and those of folders whose path goes on with `/` (whose successor is `0`).
    private static func below(_ path: ArtifactPath) -> (sql: String, parameters: [Value]) {
        if path.text.isEmpty { return ("1 = 1", []) }
        return ("(folder = ? OR (folder >= ? AND folder < ?))", [.string(path.text), .string(path.text + "/"), .string(path.text + "0")])
    }

    /// The content that begins with a prefix of digits and that artifacts refer to, but for those within one of `roots`.
    static func references(_ db: some Querying, prefix: String, butWithin roots: Set<ArtifactPath>) throws -> Set<Digest> {
        var found: Set<Digest> = []
        try db.forEach(
            "SELECT folder, name, digest FROM tracking_artifacts WHERE digest >= ? AND digest < ?",
            [.string(prefix), .string(prefix + "g")]
        ) { row in
            guard let digest = Digest(hex: row.text("digest")), !found.contains(digest) else { return }
            guard roots.isEmpty || !isWithin(roots, row.text("folder"), row.text("name")) else { return }
            found.insert(digest)
        }
        return found
    }

    private static func isWithin(_ roots: Set<ArtifactPath>, _ folder: String, _ name: String) -> Bool {
        var at = try? ArtifactPath(folder.isEmpty ? name : "\(folder)/\(name)")
        while let path = at {
            if roots.contains(path) { return true }
            at = path.folder
        }
        return false
    }

    private static func row(_ db: some Querying, _ path: ArtifactPath) throws -> SQLRow? {
        try db.row(
            "SELECT digest, bytes FROM tracking_artifacts WHERE folder = ? AND name = ?",
            [.string(path.folder?.text ?? ""), .string(path.name)])
    }

    private static func object(_ row: SQLRow) -> StoredObject? {
        row.optionalText("digest").flatMap { Digest(hex: $0) }.map { StoredObject(digest: $0, bytes: row.int("bytes")) }
    }
}
