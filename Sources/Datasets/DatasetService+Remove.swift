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

    public func holding(_ dataset: ResourceRef) async throws -> Holding {
        let name = dataset.name
        try Identifier.check(name: name, path: "name")
        let (rows, sealed, count) = try await database.read(in: dataset.workspace) { db in
            (try SnapshotStore.rowCount(name, db), try SnapshotStore.sealed(name, db), try SnapshotStore.count(name, db))
        }
        let end = (try? entry(dataset))?.stream.rows.end ?? DurableLog.end(in: DatasetStream.rowsFolder(streamFolder(dataset)))
        return Holding(
            snapshots: count, rows: rows, unsealedBytes: end > sealed.stream ? Int(end - sealed.stream) : 0)
    }

    /// Removes the snapshots, the stream and the quarantine of a dataset. Training sets and models that were made from it are files of their own.
    ///
    /// Numbers of snapshots are not used again: what names `clicks@3` never means other rows.
    ///
    /// Moving the stream's folder aside decides it: from then on the removal is completed, after a crash by `finishRemovals`.
    public func remove(_ dataset: String, grant: Grant) async throws {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.resourcesApply, on: thing)
        try Identifier.check(name: dataset, path: "name")
        let entry = forget(thing)
        let stream = streamFolder(thing)
        let aside = removed(thing)
        let move = { @Sendable in
            try FileManager.default.createDirectory(atPath: Folder.parent(of: aside), withIntermediateDirectories: true)
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
        try await complete(thing, grant.caller)
    }

    /// Completes the removals that a crash interrupted. Call it once, before any other verb.
    public func finishRemovals() async throws {
        for (workspace, name) in try WorkspaceFolder.entries(of: removed) {
            try await complete(ResourceRef("Dataset", name, in: workspace), .system("removal", in: workspace))
        }
    }

    /// No dataset's name begins with a dot.
    private var removed: String { "\(streams)/.removed" }

    private func removed(_ dataset: ResourceRef) -> String { "\(removed)/\(WorkspaceFolder.prefix(dataset.workspace))\(dataset.name)" }

    private func complete(_ dataset: ResourceRef, _ caller: Caller) async throws {
        try await database.write(in: dataset.workspace) { tx in
            try SnapshotStore.remove(dataset.name, tx)
            try tx.record("dataset.removed", on: dataset.subject, ["dataset": .string(dataset.name)], by: caller)
        }
        let folders = ["\(lake)/\(SnapshotWriter.folder(of: dataset))", removed(dataset)]
        try await Blocking.run {
            for folder in folders where FileManager.default.fileExists(atPath: folder) {
                try FileManager.default.removeItem(atPath: folder)
            }
        }
    }

    // MARK: Workspaces

    /// What a workspace holds of datasets, in words; nil when there is nothing.
    public func workspaceHolds(_ db: some Querying) throws -> String? {
        guard let workspace = db.workspace else { return nil }
        var names = try SnapshotStore.datasets(db)
        for (owner, name) in try WorkspaceFolder.entries(of: streams) where owner == workspace {
            let dataset = ResourceRef("Dataset", name, in: workspace)
            let sealed = try SnapshotStore.sealed(name, db)
            if DurableLog.end(in: DatasetStream.rowsFolder(streamFolder(dataset))) > sealed.stream { names.insert(name) }
        }
        guard !names.isEmpty else { return nil }
        return "rows of the datasets \(names.sorted().joined(separator: ", "))"
    }
}
