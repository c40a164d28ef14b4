import Contracts
import Storage

/// A Parquet file of the prediction log in the lake.
public struct PredictionFile: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        case rows
        /// All of one type.
        case labels(Label.Kind)
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
        try db.rows("SELECT * FROM prediction_files WHERE workspace = ? AND endpoint = ? ORDER BY number", ReleaseStore.key(endpoint))
            .map { try PredictionFile($0) }
    }

    /// The files of every endpoint in every workspace.
    static func all(in db: some Querying) throws -> [PredictionFile] {
        try db.rows("SELECT * FROM prediction_files ORDER BY workspace, endpoint, number").map { try PredictionFile($0) }
    }

    /// The paths below the lake of every file that the database refers to.
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
        holds = row.text("holds") == "labels" ? .labels(Label.Kind(row)) : .rows
        self.digest = digest
        rows = Int(row.int("rows"))
        bytes = Int(row.int("bytes"))
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
