import Contracts
import Foundation
import Storage

/// Taking a dataset's data away for good.
extension DatasetService {
    /// What is stored of a dataset, whether it is declared or not.
    public struct Holding: Sendable, Hashable {
        public var snapshots: Int
        /// In the newest snapshot.
        public var rows: Int
        /// Bytes of rows that were pushed and are in no snapshot yet.
        public var unsealedBytes: Int

        public init(snapshots: Int = 0, rows: Int = 0, unsealedBytes: Int = 0) {
            self.snapshots = snapshots
            self.rows = rows
            self.unsealedBytes = unsealedBytes
        }
    }

    public func holding(_ dataset: String) async throws -> Holding {
        let (rows, sealed, count) = try await database.read { db in
            (try SnapshotStore.rowCount(dataset, db), try SnapshotStore.sealed(dataset, db), try SnapshotStore.count(dataset, db))
        }
        let end = (try? entry(dataset))?.stream.rows.end ?? sealed.stream
        return Holding(
            snapshots: count, rows: rows, unsealedBytes: end > sealed.stream ? Int(end - sealed.stream) : 0)
    }

    /// Removes the snapshots, the stream and the quarantine of a dataset. Training sets and models that were made from it are files of their own.
    ///
    /// Numbers of snapshots are not used again: what names `clicks@3` never means other rows.
    ///
    /// Moving the stream's folder aside decides it: from then on the removal is completed, after a crash by `finishRemovals`.
    public func remove(_ dataset: String, grant: Grant) async throws {
        try grant.require(.resourcesApply)
        let entry = forget(dataset)
        let stream = "\(streams)/\(dataset)"
        let aside = "\(removed)/\(dataset)"
        let move = { @Sendable [removed] in
            try FileManager.default.createDirectory(atPath: removed, withIntermediateDirectories: true)
            if FileManager.default.fileExists(atPath: stream) {
                // What an earlier removal left there, as it failed, goes with this one.
                let place = FileManager.default.fileExists(atPath: aside) ? "\(aside)/\(Identifier.hex32())" : aside
                try FileManager.default.moveItem(atPath: stream, toPath: place)
            } else {
                try FileManager.default.createDirectory(atPath: aside, withIntermediateDirectories: true)
            }
        }
        if let entry {
            try await entry.stream.turn.run {
                entry.stream.keys.withLock { $0.isRemoved = true }
                try await Blocking.run(move)
            }
        } else {
            try await Blocking.run(move)
        }
        try await complete(dataset, grant.caller)
    }

    /// Completes the removals that a crash interrupted. Call it once, before any other verb.
    public func finishRemovals() async throws {
        for dataset in (try? FileManager.default.contentsOfDirectory(atPath: removed)) ?? [] {
            try await complete(dataset, .system("removal"))
        }
    }

    /// No dataset's name begins with a dot.
    private var removed: String { "\(streams)/.removed" }

    private func complete(_ dataset: String, _ caller: Caller) async throws {
        try await database.write { tx in
            try tx.execute("DELETE FROM data_files WHERE dataset = ?", [.string(dataset)])
            try tx.execute("DELETE FROM data_snapshots WHERE dataset = ?", [.string(dataset)])
            try tx.record("dataset.removed", on: "Dataset/\(dataset)", ["dataset": .string(dataset)], by: caller)
        }
        let folders = ["\(lake)/\(SnapshotWriter.folder)/\(dataset)", "\(removed)/\(dataset)"]
        try await Blocking.run {
            for folder in folders where FileManager.default.fileExists(atPath: folder) {
                try FileManager.default.removeItem(atPath: folder)
            }
        }
    }
}
