import Contracts
import Datasets
import FeatureStore
import Foundation
import Logging
import Storage
import Synchronization

/// Keeps the online features of each dataset in a file with the place in the stream up to which rows are in it, so that a start reads only the rows
/// behind it. The files are derived: one that is damaged or does not fit is removed, and the features are made from all of the history.
package final class FeatureCheckpoints: Sendable {
    /// A file that is there.
    private struct Written {
        var basis: FeatureBasis
        var place: UInt64
        var bytes: Int64
    }

    private let folder: String
    private let bytesMin: Int
    private let data: DatasetService
    private let features: FeatureStores
    private let pushes: PushGate
    private let damage: DamageRegister
    private let logger: Logger
    private let written = Mutex<[ResourceRef: Written]>([:])
    /// Rows of history that were read into features since the start, by dataset.
    private let rowsRead = Mutex<[ResourceRef: Int]>([:])
    /// Files are written and removed one after another.
    private let turn = Turn()
    private static let ending = ".state"

    /// - Parameters:
    ///   - folder: of the files; made when the first is written.
    ///   - bytesMin: of a stream, which must have been pushed since a dataset's file was written before the next one is.
    package init(
        folder: String, bytesMin: Int, data: DatasetService, features: FeatureStores, pushes: PushGate, damage: DamageRegister,
        logger: Logger
    ) {
        self.folder = folder
        self.bytesMin = bytesMin
        self.data = data
        self.features = features
        self.pushes = pushes
        self.damage = damage
        self.logger = logger
    }

    private func name(_ dataset: ResourceRef) -> String {
        "\(WorkspaceFolder.prefix(dataset.workspace))\(dataset.name)\(FeatureCheckpoints.ending)"
    }

    // MARK: Reading

    /// Gives a draft's views over a dataset the state of their file. Blocks.
    /// - Returns: the place in the stream from which rows are missing in it; nil when there is no file that fits.
    package func restore(_ draft: FeatureDraft, _ dataset: ResourceRef, _ history: DatasetHistory) -> UInt64? {
        do {
            let file = try StoredFile.map(
                "\(folder)/\(name(dataset))", name: "the checkpoint of the online features of '\(dataset.name)'")
            let place = try file.withUnsafeBytes { bytes in
                try draft.restore(dataset: dataset.name, from: bytes, origin: history.origin) { (try? history.covers(from: $0)) ?? false }
            }
            let basis = features[dataset.workspace].basis(of: draft, dataset: dataset.name, origin: history.origin)
            written.withLock { $0[dataset] = Written(basis: basis, place: place, bytes: Int64(file.count)) }
            return place
        } catch {
            let problem = KeelError.wrapping(error)
            if problem.code == .notFound { return nil }
            if problem.code == .corrupted || problem.code == .unavailable {
                damage.report(
                    ResourceRef("Features", dataset.name, in: dataset.workspace),
                    KeelError(
                        .corrupted, "the checkpoint of the online features is damaged: they were made from all of the dataset's rows",
                        hint: "nothing is lost, and another is written; check the disk"))
            } else {
                logger.notice("the checkpoint of the online features of '\(dataset)' is not used: \(problem.message)")
            }
            return nil
        }
    }

    /// Counts rows of history that were read into features.
    package func count(_ rows: Int, of dataset: ResourceRef) { rowsRead.withLock { $0[dataset, default: 0] += rows } }

    // MARK: Writing

    /// Writes files as streams grow, until the task is cancelled.
    package func run() async {
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            guard await write(where: isDue) else { continue }
            // A disk that is full is not tried again at once.
            try? await Task.sleep(for: .seconds(60))
        }
    }

    /// Writes every file that does not hold all rows; for the shutdown.
    package func close() async { _ = await write { try self.behind($0) != 0 } }

    /// - Returns: whether a file could not be written.
    private func write(where isWanted: @escaping @Sendable (_ dataset: ResourceRef) throws -> Bool) async -> Bool {
        var hasFailed = false
        for dataset in features.sources {
            do {
                try await turn.run { [self] in try await Blocking.run { [self] in if try isWanted(dataset) { try write(dataset) } } }
            } catch {
                hasFailed = true
                logger.error("the online features of '\(dataset)' could not be written: \(KeelError.wrapping(error))")
            }
        }
        return hasFailed
    }

    /// Pushes wait while the state is retained, which copies nothing, and go on while it is written.
    private func write(_ dataset: ResourceRef) throws {
        let (retained, place) = try pushes.run(dataset) {
            Result { (features[dataset.workspace].retain(dataset: dataset.name), try data.streamBounds(dataset).upperBound) }.mapError(KeelError.wrapping)
        }
        guard let state = retained else { return }
        let basis = state.basis
        let path = "\(folder)/\(name(dataset))"
        let owned = Folder.parent(of: path)
        try Folder.make(owned)
        let file = try AtomicFile(path: path, temporaryFolder: owned)
        try state.write(to: file, place: place)
        // The file must not tell of rows that a power cut takes from the stream.
        try data.syncStream(dataset)
        try file.commit()
        written.withLock { $0[dataset] = Written(basis: basis, place: place, bytes: file.size) }
    }

    /// Bytes of the stream that are not in a dataset's file; nil when all of it is to be written, 0 also when there is nothing to write.
    private func behind(_ dataset: ResourceRef) throws -> UInt64? {
        guard let basis = features[dataset.workspace].basis(of: dataset.name) else { return 0 }
        guard let last = written.withLock({ $0[dataset] }), last.basis == basis else { return nil }
        let bounds = try data.streamBounds(dataset)
        if last.place == bounds.upperBound { return 0 }
        // A start could not read on from there.
        return last.place < bounds.lowerBound ? nil : bounds.upperBound - last.place
    }

    /// A large file is written more rarely, so that at most eight bytes are written for each that is pushed. Reading a byte of the stream takes a start
    /// about 30 times as long as reading one of the file.
    private func isDue(_ dataset: ResourceRef) throws -> Bool {
        guard let behind = try behind(dataset) else { return true }
        let size = written.withLock { $0[dataset]?.bytes } ?? 0
        return behind >= max(UInt64(bytesMin), UInt64(size / 8))
    }

    /// Removes the files that are of no use any more: those that `restore` did not take, and those of datasets without features.
    package func prune() async throws {
        try await turn.run { [self] in
            let sources = Set(features.sources)
            let kept = written.withLock { written in
                written = written.filter { sources.contains($0.key) }
                return Set(written.keys.map(name))
            }
            try await Blocking.run { [folder] in
                for (workspace, file) in try WorkspaceFolder.entries(of: folder) {
                    let name = WorkspaceFolder.prefix(workspace) + file
                    if !kept.contains(name) { try FileManager.default.removeItem(atPath: "\(folder)/\(name)") }
                }
            }
        }
    }

    // MARK: Metrics

    package struct Statistics {
        package let dataset: ResourceRef
        /// Rows of history that were read into features since the start.
        package let rowsRead: Int
        /// Of the file, 0 without one.
        package let bytes: Int64
        /// Bytes of the stream that a start would read besides.
        package let behind: UInt64
    }

    package func statistics() -> [Statistics] {
        let rows = rowsRead.withLock { $0 }
        let files = written.withLock { $0 }
        return features.sources.map { dataset in
            let bounds = (try? data.streamBounds(dataset)) ?? 0..<0
            let place = max(files[dataset]?.place ?? 0, bounds.lowerBound)
            return Statistics(
                dataset: dataset, rowsRead: rows[dataset] ?? 0, bytes: files[dataset]?.bytes ?? 0,
                behind: bounds.upperBound - min(place, bounds.upperBound))
        }
    }
}
