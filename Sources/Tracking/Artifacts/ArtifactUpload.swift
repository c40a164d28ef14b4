import Contracts
import Storage

/// An upload in parts that is under way: it outlives restarts, until it is completed, aborted or its time is over.
///
/// Parts are sent by clients that show no token, so each part's address carries a signature that only its upload's secret makes.
public struct ArtifactUpload: Sendable {
    /// 32 hexadecimal characters.
    public let id: String
    let path: ArtifactPath
    /// How many parts it has; they are numbered from 1.
    public let parts: Int
    let secret: String
    /// Who began it, and as what: parts are stored in their name.
    let caller: Caller
    public let expiresAt: Timestamp
    /// The content it became.
    let completed: Digest?

    static let partsMax = 10_000
    /// Unfinished uploads that may be under way at one time.
    static let openMax = 10_000
    static let lifetime = TimeSpan.seconds(24 * 3600)

    /// What a part's address must carry.
    public func signature(part: Int) -> String { MessageCode.hex(of: message(part), key: secret) }

    func isValid(_ signature: String, part: Int) -> Bool { MessageCode.isValid(signature, of: message(part), key: secret) }

    private func message(_ part: Int) -> String { "\(id)\n\(part)\n\(path)\n\(expiresAt.milliseconds)" }
}

/// SQL of uploads.
enum UploadStore {
    static func insert(_ tx: Transaction, _ upload: ArtifactUpload) throws {
        let open = try tx.row("SELECT count(*) AS n FROM tracking_uploads WHERE digest IS NULL")?.int("n") ?? 0
        guard open < ArtifactUpload.openMax else {
            throw KeelError(
                .unavailable, "\(open) uploads are under way already", hint: "complete or abort some; unfinished ones end after a day")
        }
        try tx.execute(
            """
            INSERT INTO tracking_uploads (id, path, parts, secret, caller, persona, workspace, authority, created_ms, expires_ms, digest)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)
            """,
            [
                .string(upload.id), .string(upload.path.text), .int(Int64(upload.parts)), .string(upload.secret),
                .string(upload.caller.name),
                .string(upload.caller.persona.rawValue), .string(upload.caller.workspace.name), .string(upload.caller.json.text), .int(tx.now.milliseconds),
                .int(upload.expiresAt.milliseconds),
            ])
    }

    static func find(_ db: some Querying, id: String) throws -> ArtifactUpload? {
        guard let row = try db.row("SELECT * FROM tracking_uploads WHERE id = ?", [.string(id)]) else { return nil }
        return ArtifactUpload(
            id: id, path: try ArtifactPath(row.text("path")), parts: Int(row.int("parts")), secret: row.text("secret"),
            caller: try caller(row),
            expiresAt: Timestamp(milliseconds: row.int("expires_ms")), completed: row.optionalText("digest").flatMap { Digest(hex: $0) })
    }

    /// Whoever began the upload, with what it was allowed then.
    private static func caller(_ row: SQLRow) throws -> Caller {
        if let authority = row.optionalText("authority") { return try Caller(json: try JSON.parse(authority)) }
        return Caller(
            name: row.text("caller"), persona: Persona(rawValue: row.text("persona")) ?? .member,
            workspace: WorkspaceID(stored: row.text("workspace")))
    }

    static func parts(_ db: some Querying, of id: String) throws -> [Int: StoredObject] {
        var parts: [Int: StoredObject] = [:]
        try db.forEach("SELECT number, digest, bytes FROM tracking_upload_parts WHERE upload_id = ?", [.string(id)]) { row in
            parts[Int(row.int("number"))] = Digest(hex: row.text("digest")).map { StoredObject(digest: $0, bytes: row.int("bytes")) }
        }
        return parts
    }

    static func set(_ tx: Transaction, part: Int, of id: String, _ object: StoredObject) throws {
        try tx.execute(
            """
            INSERT INTO tracking_upload_parts (upload_id, number, digest, bytes) VALUES (?, ?, ?, ?)
            ON CONFLICT (upload_id, number) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes
            """, [.string(id), .int(Int64(part)), .string(object.digest.hex), .int(object.bytes)])
    }

    static func bytes(_ db: some Querying, of id: String) throws -> Int64 {
        try db.row("SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM tracking_upload_parts WHERE upload_id = ?", [.string(id)])?.int("bytes")
            ?? 0
    }

    /// The parts go; that it was completed stays known until its time is over, for a client that asks again.
    static func complete(_ tx: Transaction, id: String, as digest: Digest) throws {
        try tx.execute("DELETE FROM tracking_upload_parts WHERE upload_id = ?", [.string(id)])
        try tx.execute("UPDATE tracking_uploads SET digest = ? WHERE id = ?", [.string(digest.hex), .string(id)])
    }

    static func delete(_ tx: Transaction, id: String) throws {
        try tx.execute("DELETE FROM tracking_upload_parts WHERE upload_id = ?", [.string(id)])
        try tx.execute("DELETE FROM tracking_uploads WHERE id = ?", [.string(id)])
    }

    static func expired(_ db: some Querying, at now: Timestamp) throws -> [String] {
        try db.rows("SELECT id FROM tracking_uploads WHERE expires_ms < ? ORDER BY expires_ms LIMIT 1000", [.int(now.milliseconds)]).map {
            $0.text("id")
        }
    }

    /// The uploads whose parts are needed.
    static func open(_ db: some Querying) throws -> Set<String> {
        Set(try db.rows("SELECT id FROM tracking_uploads WHERE digest IS NULL").map { $0.text("id") })
    }
}
