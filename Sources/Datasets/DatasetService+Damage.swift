import Contracts
import Foundation
import Storage

/// What the lake and the tables hold that is not as it should be.
extension DatasetService {
    /// Looks through the lake for files that no snapshot refers to. Call it once, before any other verb.
    ///
    /// Files that a crash left half written, under names that nobody was told, are removed. All others are moved to the folder `unknown` of the lake
    /// and reported: perhaps the database is the one that is wrong.
    public func start() async throws {
        let (known, damaged) = try await database.read { [self] db in (try SnapshotStore.allFiles(db), try damagedFiles(db)) }
        for (dataset, problem) in damaged {
            damage.report(
                dataset,
                KeelError(.corrupted, problem, hint: "put the file back from a backup; what needs it fails until then"))
        }
        try await Blocking.run { [self] in
            for (workspace, name) in try WorkspaceFolder.entries(of: "\(lake)/\(SnapshotWriter.folder)") {
                try sortOut(ResourceRef("Dataset", name, in: workspace), known)
            }
        }
    }

    /// Files that are missing or have another size than when they were written. Whether their bytes are the same is seen when they are read.
    private func damagedFiles(_ db: some Querying) throws -> [(dataset: ResourceRef, problem: String)] {
        var out: [(dataset: ResourceRef, problem: String)] = []
        try SnapshotStore.forEachFile(db) { dataset, path, bytes in
            var status = stat()
            let isFound = lstat("\(lake)/\(path)", &status) == 0
            if isFound, status.st_mode & S_IFMT != S_IFREG {
                out.append((dataset, "\(path) is not a file any more"))
                return
            }
            let found = isFound ? Int64(status.st_size) : nil
            if let found, bytes == nil || found == bytes { return }
            out.append((dataset, "the file \(path) \(found.map { "has \($0) bytes, not \(bytes ?? 0)" } ?? "is missing")"))
        }
        return out
    }

    private func sortOut(_ dataset: ResourceRef, _ known: Set<String>) throws {
        let lakeFolder = SnapshotWriter.folder(of: dataset)
        let folder = "\(lake)/\(lakeFolder)"
        let asideName = "unknown/\(WorkspaceFolder.prefix(dataset.workspace))\(dataset.name)"
        let aside = "\(lake)/\(asideName)"
        var moved = 0
        for file in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where !known.contains("\(lakeFolder)/\(file)") {
            if file.hasSuffix(AtomicFile.temporarySuffix) {
                try FileManager.default.removeItem(atPath: "\(folder)/\(file)")
                continue
            }
            if moved == 0 { try Folder.make(aside) }
            try FileManager.default.moveItem(atPath: "\(folder)/\(file)", toPath: "\(aside)/\(file)")
            moved += 1
        }
        guard moved > 0 else { return }
        try Folder.sync(aside)
        try Folder.sync(folder)
        damage.report(
            dataset,
            KeelError(
                .corrupted,
                "\(moved) files of the lake are in no snapshot that the database knows: they were moved to lake/\(asideName)",
                hint:
                    "an ingest that a crash ended leaves such files; if there are more, keel.sqlite may be older than the lake: restore its backup"
            ))
    }

    /// A snapshot as `SnapshotStore.find`; one whose profile is damaged has none.
    func find(_ dataset: ResourceRef, _ number: Int?, _ db: some Querying) throws -> Snapshot? {
        try SnapshotStore.find(dataset.name, number, db) { [damage] number, error in
            damage.report(
                dataset,
                KeelError(
                    .corrupted, "the profile of snapshot \(number) cannot be read: \(error.message)",
                    hint: "its rows can; statistics begin anew with the next snapshot"))
        }
    }
}
