import Contracts
import Storage
import Synchronization

/// What lives as long as a dataset does, whatever the revisions of its contract: its logs, its keys and its queue of writers.
final class DatasetStream: Sendable {
    struct Keys {
        /// The key columns that `set` holds; nil when it must be loaded.
        var columns: [String]?
        var set = KeySet()
        /// What is committed: the newest snapshot's files and how far they hold the stream.
        var files: [String] = []
        var sealed = SnapshotStore.Sealed()

        mutating func forget() { (columns, set) = (nil, KeySet()) }
    }

    /// Accepted rows, encoded by `TableCodec`.
    let rows: DurableLog
    /// Refused rows, as JSON.
    let rejected: DurableLog
    /// One ingest or seal at a time.
    let turn = Turn()
    /// Both logs are appended to under this lock, so that a push is in both or in neither.
    let keys = Mutex(Keys())

    /// - Parameter report: told of damage to the logs.
    init(folder: String, report: @escaping @Sendable (KeelError) -> Void) throws {
        rows = try DurableLog(folder: folder + "/rows", report: report)
        rejected = try DurableLog(folder: folder + "/rejected", report: report)
    }
}
