import Contracts
import Datasets
import Engines
import FeatureStore
import Foundation
import Serving
import Storage
import Synchronization

/// Keeps pushes of one dataset in one order through the log and the features.
final class PushGate: Sendable {
    private final class Lane: Sendable {
        let turn = Mutex(())
    }
    private let lanes = Mutex<[String: Lane]>([:])

    /// Runs what must not happen beside a push of the dataset. The time under the lock is that of appending to a log and folding rows into memory.
    func run<T: Sendable>(_ dataset: String, _ body: () -> Result<T, KeelError>) throws(KeelError) -> T {
        let lane = lanes.withLock { lanes in
            if let lane = lanes[dataset] { return lane }
            let made = Lane()
            lanes[dataset] = made
            return made
        }
        return try lane.turn.withLock { _ in body() }.get()
    }
}

extension Platform {
    /// Accepts events: durable in the dataset's stream first, then in the features.
    public func push(_ dataset: String, _ body: [UInt8], _ grant: Grant) async throws -> PushResult {
        try grant.require(.eventsPush)
        try await data.loadKeys(dataset: dataset)
        return try pushes.run(dataset) {
            body.withUnsafeBufferPointer { bytes in
                do throws(KeelError) {
                    let result = try data.push(dataset: dataset, json: bytes, grant: grant)
                    if result.accepted.rowCount > 0 { try features.apply(dataset: dataset, rows: result.accepted) }
                    return .success(result)
                } catch { return .failure(error) }
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
        let folder = configuration.home + "/work/upload-" + Identifier.hex32()
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
        defer { ProcessMemory.trim() }
        let wasDisabled = data.isDisabled(dataset)
        let report = try await data.ingest(
            dataset: dataset, file: spooled.path, member: member, named: spooled.name, from: from, until: until, overwrite: overwrite,
            grant: grant
        ) { step in
            progress(
                step.bytesTotal.map { Double(step.bytes) / Double(max($0, 1)) } ?? 0, "\(step.rows) rows, \(step.quarantined) quarantined")
        }
        do {
            // New rows in the place of those that could not be read put the dataset, and what needs it, back in force.
            if wasDisabled { try await configure() }
            try await rebuildFeatures(dataset)
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

    // MARK: Features

    /// Rows of JSON objects as the request table of a feature service.
    public func requestTable(_ rows: JSON, service: String) throws(KeelError) -> Table {
        guard let items = rows.array, !items.isEmpty else { throw .invalid("must be a list of objects with at least one", path: "rows") }
        let fields = try features.catalog.requestFields(service)
        for (i, item) in items.enumerated() where item.members == nil {
            throw .invalid("must be an object, not \(item.kind)", path: "rows[\(i)]")
        }
        var pairs: [(name: String, column: Column)] = []
        for field in fields {
            var column = Column(field.type == .timestamp ? .string : field.type)
            for (i, item) in items.enumerated() {
                do throws(KeelError) { try column.append(item[field.name]?.value ?? .null) } catch {
                    throw error.at("rows[\(i)].\(field.name)")
                }
            }
            pairs.append((field.name, column))
        }
        for (i, item) in items.enumerated() {
            if let stranger = item.members?.first(where: { member in !fields.contains { $0.name == member.key } }) {
                throw .invalid(
                    "'\(stranger.key)' is not a column of this service",
                    hint: nearest(stranger.key, in: fields.map(\.name)).map { "did you mean '\($0)'?" },
                    path: "rows[\(i)]")
            }
        }
        return try Table(pairs)
    }

    /// Whether a logged request has every column that the service asks for, and no other.
    private static func answers(_ request: JSON, _ fields: [Field]) -> Bool {
        let members = request.members ?? []
        let strangers = members.contains { member in !fields.contains { $0.name == member.key } }
        return !strangers && fields.allSatisfy { $0.nullable || request[$0.name].map { !$0.isNull } == true }
    }

    /// Replays logged online reads of an endpoint through the offline join.
    ///
    /// Reads that today's definition of the service cannot repeat are skipped and counted: they lack a request column that it has gained, have
    /// one that it has lost, or were made for another model's inputs.
    public func verifyFeatures(endpoint: String, sample: Int, _ grant: Grant) async throws -> JSON {
        try await runtime.flush()
        guard let release = try await stableRelease(endpoint), let service = release.featureService else {
            throw KeelError(
                .failedPrecondition, "endpoint '\(endpoint)' reads no features", hint: "deploy a release with a feature service first")
        }
        let inputs = try await ModelBundle.read(release.bundle, from: objects).signature.inputs
        let sampled = try await queries.sampleReads(endpoint: endpoint, limit: sample, grant)
        guard !sampled.isEmpty else { throw KeelError(.failedPrecondition, "no predictions of '\(endpoint)' are logged yet") }
        let fields = try features.catalog.requestFields(service)
        let reads = try sampled.filter { read in
            guard read.features.count == inputs.count else { return false }
            return Platform.answers(try JSON.parse(read.request), fields)
        }
        guard !reads.isEmpty else {
            throw KeelError(
                .failedPrecondition, "none of the \(sampled.count) logged predictions was asked for as '\(service)' is declared now",
                hint: "verify again after new predictions")
        }
        let requests = try requestTable(.array(try reads.map { try JSON.parse($0.request) }), service: service)
        let seal = try Grant.check(.system("verify"), may: .datasetsIngest)
        var files: [String: [String]] = [:]
        for dataset in try features.catalog.sources(service) {
            _ = try await data.seal(dataset: dataset, grant: seal)
            if let snapshot = try await data.snapshot(dataset) { files[dataset] = try await data.files(of: snapshot) }
        }
        let paths = files
        let report = try await Blocking.run { [self] in
            try features.verify(
                service: service, requests: requests, times: reads.map(\.eventTime), values: reads.map(\.features), inputs: inputs,
                on: try analytics.connect()
            ) { dataset throws(KeelError) in paths[dataset] ?? [] }
        }
        return [
            "rows": .int(Int64(report.rows)), "skipped": .int(Int64(sampled.count - reads.count)),
            "compared": .int(Int64(report.compared)),
            "differences": .int(Int64(report.differences.count)),
            "examples": .array(
                report.differences.prefix(100).map {
                    [
                        "id": .string(reads[$0.row].id), "feature": .string($0.feature), "online": JSON(.double(Double($0.online))),
                        "offline": JSON(.double(Double($0.offline))),
                    ]
                }),
        ]
    }
}
