import Contracts
import Datasets
import Engines
import FeatureStore
import Foundation
import Storage

/// Takes rows into datasets and brings the features over them up to date.
public struct Ingesting: Sendable {
    private let data: DatasetService
    private let features: FeatureStores
    private let applying: Applying
    private let pushes: PushGate
    /// Where uploads are kept until they are read.
    private let workFolder: String

    package init(data: DatasetService, features: FeatureStores, applying: Applying, pushes: PushGate, workFolder: String) {
        self.data = data
        self.features = features
        self.applying = applying
        self.pushes = pushes
        self.workFolder = workFolder
    }

    /// Accepts events: durable in the dataset's stream first, then in the features.
    public func push(_ dataset: String, _ body: [UInt8], _ grant: Grant) async throws -> PushResult {
        let thing = ResourceRef("Dataset", dataset, in: grant.workspace)
        try grant.require(.eventsPush, on: thing)
        try await data.loadKeys(thing)
        let features = features[grant.workspace]
        return try pushes.run(thing) {
            features.pushing(into: dataset) {
                body.withUnsafeBufferPointer { bytes in
                    do throws(KeelError) {
                        let result = try data.push(dataset: dataset, json: bytes, grant: grant)
                        if result.accepted.rowCount > 0 {
                            try features.apply(dataset: dataset, rows: result.accepted, acceptedUpTo: result.acceptedAt)
                        }
                        return .success(result)
                    } catch { return .failure(error) }
                }
            }
        }
    }

    // MARK: Ingest

    /// A file that was received, under a name of our own; the caller removes it.
    public struct Spooled: Sendable {
        let folder: String
        public let path: String
        /// What the sender calls it.
        let name: String
        public func remove() { try? FileManager.default.removeItem(atPath: folder) }
    }

    /// Writes an upload to the disk in parts.
    /// - Throws: `payloadTooLarge` beyond `bytesMax`; then nothing is left.
    public func spool(
        _ parts: some AsyncSequence<[UInt8], any Error> & Sendable, named name: String, bytesMax: Int
    ) async throws -> Spooled {
        let folder = workFolder + "/upload-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        // Only the endings matter, and they are all that is kept of a name from outside.
        let endings = name.lowercased().split(separator: ".").dropFirst().suffix(2).filter {
            $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
        }
        let spooled = Spooled(folder: folder, path: folder + "/upload" + endings.map { "." + $0 }.joined(), name: String(name.prefix(200)))
        do {
            let file = try AtomicFile(path: spooled.path, temporaryFolder: folder)
            for try await part in parts {
                try await Blocking.run { try file.write(part) }
                guard file.size <= bytesMax else {
                    throw KeelError(
                        .payloadTooLarge, "the file is larger than \(bytesMax) bytes", hint: "raise limits.body, or ingest it in parts")
                }
            }
            try await Blocking.run { try file.commit() }
            return spooled
        } catch {
            spooled.remove()
            throw error
        }
    }

    public func ingest(
        _ dataset: String, spooled: Spooled, member: String?, from: Timestamp?, until: Timestamp?, overwrite: Bool, grant: Grant,
        progress: @escaping @Sendable (_ share: Double, _ text: String) -> Void
    ) async throws -> JSON {
        try await features[grant.workspace].loading(into: dataset) { willTakeTime in
            try await load(
                dataset, spooled: spooled, member: member, from: from, until: until, overwrite: overwrite, grant: grant, progress: progress,
                willTakeTime: willTakeTime)
        }
    }

    private func load(
        _ dataset: String, spooled: Spooled, member: String?, from: Timestamp?, until: Timestamp?, overwrite: Bool, grant: Grant,
        progress: @escaping @Sendable (_ share: Double, _ text: String) -> Void, willTakeTime: @escaping @Sendable () -> Void
    ) async throws -> JSON {
        defer { ProcessMemory.trim() }
        let thing = ResourceRef("Dataset", dataset, in: grant.workspace)
        let wasDisabled = data.isDisabled(thing)
        let report = try await data.ingest(
            dataset: dataset, file: spooled.path, member: member, named: spooled.name, from: from, until: until, overwrite: overwrite,
            grant: grant,
            progress: { step in
                progress(
                    step.bytesTotal.map { Double(step.bytes) / Double(max($0, 1)) } ?? 0, "\(step.rows) rows, \(step.quarantined) quarantined")
            }, willTakeTime: willTakeTime)
        do {
            // New rows in the place of those that could not be read put the dataset, and what needs it, back in force.
            if wasDisabled { try await applying.configure(grant.workspace) }
            try await applying.rebuildFeatures(thing)
        } catch {
            let problem = KeelError.wrapping(error)
            throw KeelError(
                problem.code,
                "the rows are kept as snapshot \(report.snapshot.number), but the online features could not be made anew and are as before: \(problem.message)",
                hint: problem.hint)
        }
        return [
            "snapshot": .int(Int64(report.snapshot.number)), "rows": .int(Int64(report.rows)), "filtered": .int(Int64(report.filtered)),
            "quarantined": .int(Int64(report.quarantined)), "digest": .string(report.snapshot.digest.hex),
            "reasons": .array(
                report.reasons.map { ["reason": .string($0.reason), "count": .int(Int64($0.count)), "line": .int(Int64($0.firstLine))] }),
            "warnings": .array(report.warnings.map(JSON.string)),
        ]
    }
}
