import Contracts
import Statistics

/// Files of a snapshot, in order, whose rows came to Keel in one way.
public struct SnapshotPart: Sendable, Hashable {
    /// Absolute paths.
    public let files: [String]
    /// When they were ingested; nil for rows that were pushed.
    public let ingestedAt: Timestamp?
}

/// One immutable version of a dataset: its files, contract and profile. Snapshots of a dataset are numbered from 1.
public struct Snapshot: Sendable, Equatable {
    public struct File: Sendable, Hashable {
        /// The key under which the lake holds the Parquet file.
        public let path: String
        public let rows: Int
        public let bytes: Int
        /// Of the file's content.
        public let digest: Digest

        public init(path: String, rows: Int, bytes: Int, digest: Digest) {
            (self.path, self.rows, self.bytes, self.digest) = (path, rows, bytes, digest)
        }
    }

    public let dataset: String
    public let number: Int
    /// Names the content: contract, files (by content, in order) and counts. Equal content has an equal digest, whenever and wherever it was made.
    public let digest: Digest
    public let files: [File]
    public let rowCount: Int
    /// Rows of the same delivery that broke the contract and are kept apart.
    public let quarantinedCount: Int
    public let schema: Schema
    public let profile: Profile?
    public let createdAt: Timestamp
    /// The snapshot that this one was made from.
    public let parent: Int?
    /// The earliest and latest event time; nil without rows or without an event time.
    public let eventTimes: ClosedRange<Timestamp>?

    public init(
        dataset: String, number: Int, files: [File], quarantinedCount: Int = 0, schema: Schema, profile: Profile? = nil,
        createdAt: Timestamp,
        parent: Int? = nil, eventTimes: ClosedRange<Timestamp>? = nil
    ) {
        self.dataset = dataset
        self.number = number
        self.files = files
        rowCount = files.reduce(0) { $0 + $1.rows }
        self.quarantinedCount = quarantinedCount
        self.schema = schema
        self.profile = profile
        self.createdAt = createdAt
        self.parent = parent
        self.eventTimes = eventTimes
        let manifest: JSON = [
            "dataset": .string(dataset), "schema": schema.json, "quarantined": .int(Int64(quarantinedCount)),
            "files": .array(
                files.map { ["rows": .int(Int64($0.rows)), "bytes": .int(Int64($0.bytes)), "digest": .string($0.digest.hex)] }),
        ]
        digest = Digest(of: manifest.canonical)
    }

    /// How people name it: `flights@3`.
    public var name: String { "\(dataset)@\(number)" }

    public var json: JSON {
        var out: JSON = [
            "dataset": .string(dataset), "number": .int(Int64(number)), "digest": .string(digest.hex), "rows": .int(Int64(rowCount)),
            "quarantined": .int(Int64(quarantinedCount)), "createdAt": .int(createdAt.microseconds), "schema": schema.json,
            "files": .array(
                files.map {
                    [
                        "path": .string($0.path), "rows": .int(Int64($0.rows)), "bytes": .int(Int64($0.bytes)),
                        "digest": .string($0.digest.hex),
                    ]
                }),
        ]
        if let parent { out["parent"] = .int(Int64(parent)) }
        if let eventTimes {
            out["eventTimes"] = .array([.int(eventTimes.lowerBound.microseconds), .int(eventTimes.upperBound.microseconds)])
        }
        if let profile { out["profile"] = profile.json }
        return out
    }

    /// - Throws: `corrupted` when the digest is not that of the content.
    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "snapshot")
        var files: [File] = []
        for item in try reader.objects("files") {
            guard let digest = Digest(hex: try item.string("digest")) else { throw item.failure("digest", "is not a SHA-256 digest") }
            files.append(File(path: try item.string("path"), rows: try item.int("rows"), bytes: try item.int("bytes"), digest: digest))
            try item.finish()
        }
        var eventTimes: ClosedRange<Timestamp>?
        if let bounds = reader.optional("eventTimes") {
            guard let first = bounds[0]?.integer, let last = bounds[1]?.integer, first <= last else {
                throw reader.failure("eventTimes", "must be two instants in order")
            }
            eventTimes = Timestamp(microseconds: first)...Timestamp(microseconds: last)
        }
        // A profile is derived from the rows: one that is damaged is absent, and the snapshot as good as ever.
        let profile = reader.optional("profile").flatMap { try? Profile(json: $0) }
        let (digest, rows) = (try reader.string("digest"), try reader.int("rows"))
        self.init(
            dataset: try reader.string("dataset"), number: try reader.int("number"), files: files,
            quarantinedCount: try reader.int("quarantined"),
            schema: try Schema(stored: try reader.required("schema")), profile: profile,
            createdAt: Timestamp(microseconds: Int64(try reader.int("createdAt"))), parent: try reader.optionalInt("parent"),
            eventTimes: eventTimes)
        try reader.finish()
        guard self.digest.hex == digest, rowCount == rows else {
            throw KeelError(.corrupted, "the manifest of \(name) is not what its digest says")
        }
    }
}
