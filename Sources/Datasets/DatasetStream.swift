import Contracts
import Storage
import Synchronization

/// What lives as long as a dataset does, whatever the revisions of its contract: its logs, its keys and its queue of writers.
final class DatasetStream: Sendable {
    struct Keys {
        /// The key columns that `set` holds; nil when it must be loaded.
        var columns: [String]?
        var set = KeySet()
        /// While an ingest replaces all rows: the keys of what will be there, which are its rows and those pushed meanwhile.
        var replacement: KeySet?
        /// What is committed: the newest snapshot's files and how far they hold the stream.
        var files: [Snapshot.File] = []
        var sealed = SnapshotStore.Sealed()
        /// The time that the last accepted row was given (`AcceptedTime`), µs; nil until it is read from the log.
        var lastAccepted: Int64?
        /// Whether it was reported that this time is ahead of the clock.
        var isAheadReported = false
        /// Whether the data are being removed: nothing is added any more.
        var isRemoved = false

        func contains(_ key: SIMD2<UInt64>) -> Bool { set.contains(key) || replacement?.contains(key) == true }

        mutating func insert(_ key: SIMD2<UInt64>) {
            _ = set.insert(key)
            _ = replacement?.insert(key)
        }

        mutating func forget() {
            columns = nil
            set = KeySet()
            replacement = nil
        }
    }

    /// The time of the last row in the log, so that times go on growing after a start at which the clock went back. Blocks: it reads the last segment.
    func lastAcceptedInLog() throws -> Int64 {
        var last: UInt64?
        var end = try DatasetStream.lastSegment(folder)
        try rows.replay(from: end) { _, next in
            last = end
            end = next
        }
        var time = Int64.min
        if let last {
            // A record that cannot be read is damage, which is told elsewhere, and nothing that keeps a push from being taken.
            try rows.replay(from: last) { record, _ in time = max(time, (try? TableCodec.decode(record)).flatMap(AcceptedTime.last) ?? .min) }
        }
        return time
    }

    /// The time that the last accepted row was given, µs; `.min` when there is none. Blocks where it is not known yet.
    func loadLastAccepted() throws -> Int64 {
        if let known = keys.withLock({ $0.lastAccepted }) { return known }
        let last = try lastAcceptedInLog()
        return keys.withLock { keys in
            let newest = max(keys.lastAccepted ?? last, last)
            keys.lastAccepted = newest
            return newest
        }
    }

    /// Where the last of a log's files begins: its name says it.
    private static func lastSegment(_ folder: String) throws -> UInt64 {
        try Folder.names(rowsFolder(folder)).compactMap { $0.hasSuffix(".log") ? UInt64($0.dropLast(4)) : nil }.max() ?? 0
    }

    /// - Throws: `notFound` once the data are removed.
    func checkKept(_ dataset: String) throws(KeelError) {
        if keys.withLock({ $0.isRemoved }) { throw DatasetStream.removed(dataset) }
    }

    static func removed(_ dataset: String) -> KeelError {
        .notFound("the data of Dataset '\(dataset)' were just removed", hint: "try again")
    }

    /// Where in a dataset's folder the accepted rows are.
    static func rowsFolder(_ folder: String) -> String { folder + "/rows" }

    /// Accepted rows, encoded by `TableCodec`.
    let rows: DurableLog
    /// Refused rows, as JSON.
    let rejected: DurableLog
    /// One ingest or seal at a time.
    let turn = Turn()
    /// One at a time reads the keys.
    let loading = Turn()
    /// Both logs are appended to under this lock, so that a push is in both or in neither.
    let keys = Mutex(Keys())

    private let folder: String

    /// - Parameter report: told of damage to the logs.
    init(folder: String, report: @escaping @Sendable (KeelError) -> Void) throws {
        self.folder = folder
        rows = try DurableLog(folder: DatasetStream.rowsFolder(folder), keepsUnreadable: true, report: report)
        rejected = try DurableLog(folder: folder + "/rejected", keepsUnreadable: true, report: report)
    }
}
