import Contracts
import Engines
import Foundation
import Storage

/// A Parquet file of the prediction log in the lake.
public struct PredictionFile: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        case rows
        /// All of one type.
        case labels(Label.Kind)
        /// What another file holds now; it is deleted soon.
        case replaced
    }

    public let endpoint: ResourceRef
    /// 1, 2, 3 … within the endpoint, rows and labels together.
    public let number: Int
    let holds: Content
    /// Below the lake's folder.
    public let path: String
    public let rows: Int
    public let bytes: Int
    public let digest: Digest

    /// The folder of the prediction log below the lake's.
    public static let folder = "predictions"

    /// The folder of an endpoint's files below the lake's.
    static func folder(of endpoint: ResourceRef) -> String {
        "\(folder)/\(WorkspaceFolder.prefix(endpoint.workspace))\(endpoint.qualifiedName)"
    }

    /// The files of an endpoint, oldest first.
    static func all(of endpoint: ResourceRef, in db: some Querying) throws -> [PredictionFile] {
        try db.rows(
            "SELECT * FROM prediction_files WHERE workspace = ? AND endpoint = ? AND holds <> 'replaced' ORDER BY number", ReleaseStore.key(endpoint)
        ).map { try PredictionFile($0) }
    }

    /// The files of every endpoint in every workspace.
    static func all(in db: some Querying) throws -> [PredictionFile] { try known(in: db).filter { $0.holds != .replaced } }

    /// Those too that others have replaced.
    static func known(in db: some Querying) throws -> [PredictionFile] {
        try db.rows("SELECT * FROM prediction_files ORDER BY workspace, endpoint, number").map { try PredictionFile($0) }
    }

    /// Files of an endpoint that others have replaced up to an instant.
    static func replaced(of endpoint: ResourceRef, until limit: Timestamp, in db: some Querying) throws -> [PredictionFile] {
        try db.rows(
            "SELECT * FROM prediction_files WHERE workspace = ? AND endpoint = ? AND holds = 'replaced' AND created_at <= ? ORDER BY number",
            ReleaseStore.key(endpoint) + [.timestamp(limit)]
        ).map { try PredictionFile($0) }
    }

    /// That of the next file. A file that replaces others is newer than they are, so no number is used twice.
    static func nextNumber(of endpoint: ResourceRef, in db: some Querying) throws -> Int {
        let last = try db.row(
            "SELECT coalesce(max(number), 0) AS n FROM prediction_files WHERE workspace = ? AND endpoint = ?", ReleaseStore.key(endpoint))
        return Int(last?.int("n") ?? 0) + 1
    }

    /// Writes a file under a temporary name, and gives it its own when it is whole and synced.
    /// - Parameter content: writes to a path and returns the number of rows.
    static func write(
        _ endpoint: ResourceRef, _ number: Int, _ holds: Content, lake: String, _ content: @escaping @Sendable (_ path: String) throws -> Int
    ) async throws -> PredictionFile {
        let folder = folder(of: endpoint)
        return try await Blocking.run {
            try Folder.make("\(lake)/\(folder)")
            let temporary = "\(lake)/\(folder)/part-\(Identifier.hex32())\(AtomicFile.temporarySuffix)"
            do {
                let rows = try content(temporary)
                let written = try InputFile(path: temporary, name: "a new file of the prediction log")
                let digest = try written.digest()
                let path = "\(folder)/\(number)-\(digest.short).parquet"
                guard rename(temporary, "\(lake)/\(path)") == 0 else {
                    throw KeelError(.internal, "could not rename a file of the prediction log: \(String(cString: strerror(errno)))")
                }
                try Folder.sync("\(lake)/\(folder)")
                return PredictionFile(endpoint: endpoint, number: number, holds: holds, path: path, rows: rows, bytes: written.size, digest: digest)
            } catch {
                unlink(temporary)
                throw error
            }
        }
    }

    /// The paths below the lake of every file that is read.
    public static func stored(in db: some Querying) throws -> Set<String> { Set(try all(in: db).map(\.path)) }

    init(endpoint: ResourceRef, number: Int, holds: Content, path: String, rows: Int, bytes: Int, digest: Digest) {
        self.endpoint = endpoint
        self.number = number
        self.holds = holds
        self.path = path
        self.rows = rows
        self.bytes = bytes
        self.digest = digest
    }

    private init(_ row: SQLRow) throws(KeelError) {
        endpoint = ReleaseStore.endpoint(row)
        number = Int(row.int("number"))
        path = row.text("path")
        guard let digest = Digest(hex: row.text("digest")) else {
            throw KeelError(.corrupted, "what the database says of the file '\(path)' of the prediction log cannot be read")
        }
        holds = switch row.text("holds") {
        case "labels": .labels(Label.Kind(row))
        case "replaced": .replaced
        default: .rows
        }
        self.digest = digest
        rows = Int(row.int("rows"))
        bytes = Int(row.int("bytes"))
    }

    private var key: [Value] { ReleaseStore.key(endpoint) + [.int(Int64(number))] }

    /// Notes that another file holds what this one does, and since when.
    func setReplaced(in transaction: Transaction) throws {
        try transaction.execute(
            "UPDATE prediction_files SET holds = 'replaced', created_at = ? WHERE workspace = ? AND endpoint = ? AND number = ?",
            [.timestamp(transaction.now)] + key)
    }

    func delete(in transaction: Transaction) throws {
        try transaction.execute("DELETE FROM prediction_files WHERE workspace = ? AND endpoint = ? AND number = ?", key)
    }

    func insert(in transaction: Transaction) throws {
        var name = "rows"
        var type = Value.null
        if case .labels(let kind) = holds {
            name = "labels"
            type = .string(kind.rawValue)
        }
        try transaction.execute(
            """
            INSERT INTO prediction_files (workspace, endpoint, number, holds, label_type, path, rows, bytes, digest, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            ReleaseStore.key(endpoint) + [
                .int(Int64(number)), .string(name), type, .string(path), .int(Int64(rows)), .int(Int64(bytes)), .string(digest.hex),
                .timestamp(transaction.now),
            ])
    }
}
