import Contracts
import DataEstate
import Engines
import FeatureStore
import Foundation
import Governance
import Pipelines

/// `training-set`: joins labels with the features of a service as they were known at each label's instant, and splits off the last rows in
/// time as holdout. Outputs point to two Parquet files: `train` and `holdout`.
struct TrainingSetStep: StepKind {
    let name = "training-set"
    let version = 1
    let data: DataEstate
    let features: FeatureStore
    let analytics: DuckDB
    let resources: ResourceService
    let lake: String

    private struct Spec {
        var labels: String
        var label: String
        var at: String
        var known: String?
        var service: String
        var from: Timestamp
        var until: Timestamp
        var holdout: Double
        var keep: [String]
        var shuffle: Int?

        init(_ with: JSON, now: Timestamp?) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            labels = try reader.string("labels")
            label = try reader.string("label")
            _ = try Expression(parsing: label)
            at = try reader.string("at")
            known = try reader.optionalString("known")
            service = try reader.string("features")
            keep = try reader.strings("keep") ?? []
            shuffle = try reader.optionalInt("shuffleLabels")
            let bounds = try reader.strings("between") ?? []
            guard bounds.count == 2 else { throw reader.failure("between", "must be [from, until]") }
            from = .distantPast
            until = .distantFuture
            if let now {
                from = try Spec.instant(bounds[0], now, reader)
                until = try Spec.instant(bounds[1], now, reader)
            }
            let share = try reader.optionalString("holdout") ?? "15%"
            guard share.hasSuffix("%"), let percent = Double(share.dropLast()), percent > 0, percent < 100 else {
                throw reader.failure("holdout", "must be a share such as 15%")
            }
            holdout = percent / 100
            try reader.finish()
        }

        private static func instant(_ text: String, _ now: Timestamp, _ reader: FieldReader) throws(KeelError) -> Timestamp {
            if text == "now" { return now }
            guard let time = Timestamp(text) else {
                throw reader.failure("between", "'\(text)' is not an instant", hint: "2013-04-01, 2013-04-01T10:00:00Z or now")
            }
            return time
        }
    }

    func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with, now: nil) }

    func fingerprint(_ with: JSON, now: Timestamp) async throws -> JSON {
        let spec = try Spec(with, now: now)
        // What was pushed since the last snapshot belongs to the answer: seal it, so that the numbers of the snapshots say everything.
        var snapshots: [JSON.Member] = []
        let grant = try Grant.check(.system("training-set"), may: .datasetsIngest, on: "Dataset/\(spec.labels)")
        for dataset in try datasets(spec) {
            _ = try await data.seal(dataset: dataset, grant: grant)
            snapshots.append(JSON.Member(dataset, .string(try await data.snapshot(dataset)?.digest.hex ?? "none")))
        }
        return ["until": .string(spec.until.description), "snapshots": .object(snapshots), "features": .array(try await definitions())]
    }

    func isUsable(_ outputs: JSON) async -> Bool {
        ["train", "holdout"].allSatisfy { part in
            (outputs[part]?["path"]?.string).map { FileManager.default.fileExists(atPath: lake + "/" + $0) } ?? false
        }
    }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with, now: context.now)
        var files: [String: [String]] = [:]
        var snapshots: [JSON.Member] = []
        for dataset in try datasets(spec) {
            guard let snapshot = try await data.snapshot(dataset) else {
                throw KeelError(.failedPrecondition, "dataset '\(dataset)' has no snapshot yet", hint: "keel ingest \(dataset) FILE")
            }
            files[dataset] = try await data.files(of: snapshot)
            snapshots.append(JSON.Member(dataset, .int(Int64(snapshot.number))))
        }
        let request = TrainingSetRequest(
            labels: spec.labels, label: spec.label, at: spec.at, service: spec.service, from: spec.from, until: spec.until,
            knownAt: spec.known, keep: spec.keep)
        let (paths, features, analytics, lake) = (files, features, analytics, lake)
        let outputs = try await Blocking.run {
            let connection = try analytics.connect()
            let table = try features.trainingSet(request, on: connection) { dataset throws(KeelError) in paths[dataset] ?? [] }
            return try Self.write(table, spec, connection, lake, names: try features.catalog.features(spec.service))
        }
        var result = outputs
        result["snapshots"] = .object(snapshots)
        result["service"] = .string(spec.service)
        result["keep"] = .array(spec.keep.map(JSON.string))
        context.log("\(result["train"]?["rows"]?.integer ?? 0) rows to train on, \(result["holdout"]?["rows"]?.integer ?? 0) held out")
        return result
    }

    /// Rows in order of time; the last share is the holdout. Shuffled labels touch the training rows only: the holdout stays true.
    private static func write(
        _ table: Table, _ spec: Spec, _ connection: DuckDBConnection, _ lake: String, names: [Field]
    ) throws(KeelError) -> JSON {
        guard table.rowCount >= 100 else {
            throw KeelError(
                .failedPrecondition, "only \(table.rowCount) rows have a label between \(spec.from) and \(spec.until)",
                hint: "at least 100 are needed")
        }
        guard let times = try table.column(spec.at).doubles() else { throw .invalid("'\(spec.at)' holds no instants", path: "with.at") }
        let order = times.indices.sorted { times[$0] < times[$1] }
        let cut = Int((Double(order.count) * (1 - spec.holdout)).rounded())
        var train = table.taking(rows: Array(order[..<cut]))
        let holdout = table.taking(rows: Array(order[cut...]))
        if let seed = spec.shuffle {
            var random = SeededRandom(seed: UInt64(bitPattern: Int64(seed)))
            let permutation = Array(0..<train.rowCount).shuffled(using: &random)
            train = try train.with("label", try train.column("label").taking(permutation))
        }
        var out: JSON = ["inputs": .array(names.map { ["name": .string($0.name), "type": .string($0.type.description)] })]
        for (part, rows) in [("train", train), ("holdout", holdout)] {
            let path = "training/\(Identifier.hex32())-\(part).parquet"
            do { try FileManager.default.createDirectory(atPath: lake + "/training", withIntermediateDirectories: true) } catch {
                throw .wrapping(error)
            }
            try connection.writeParquet(rows, to: lake + "/" + path)
            let positives = try rows.column("label").doubles()?.reduce(0, +) ?? 0
            let end = try rows.column(spec.at)[max(0, rows.rowCount - 1)].time ?? spec.until
            out[part] = [
                "path": .string(path), "rows": .int(Int64(rows.rowCount)), "positives": .int(Int64(positives)), "at": .string(spec.at),
                "until": .string(end.description),
            ]
        }
        return out
    }

    /// The digests of everything that defines features: a change of one gives another training set.
    private func definitions() async throws -> [JSON] {
        let grant = try Grant.check(.system("training-set"), may: .resourcesRead)
        var out: [JSON] = []
        for kind in ["Dataset", "Entity", "FeatureView", "FeatureService"] {
            out += try await resources.get(kind, by: grant).map { .string("\($0.resource.id) \($0.digest.short)") }
        }
        return out
    }

    private func datasets(_ spec: Spec) throws(KeelError) -> [String] {
        Array(Set(try features.catalog.origins(spec.service).compactMap(\.dataset) + [spec.labels])).sorted()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same shuffle everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
