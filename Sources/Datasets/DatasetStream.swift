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

    /// - Parameter report: told of damage to the logs.
    init(folder: String, report: @escaping @Sendable (KeelError) -> Void) throws {
        rows = try DurableLog(folder: DatasetStream.rowsFolder(folder), keepsUnreadable: true, report: report)
        rejected = try DurableLog(folder: folder + "/rejected", keepsUnreadable: true, report: report)
    }
}
