import Contracts
import Datasets
import Engines
import Expressions
import FeatureStore
import Foundation
import Governance
import Pipelines

/// `training-set`: joins labels with the features of a service as they were known at each label's instant, or takes columns of the dataset as they are,
/// and holds a share of the examples out (`split`). Outputs point to two Parquet files: `train` and `holdout`.
package struct TrainingSetStep: StepKind {
    package static let kind = "training-set"
    package let name = TrainingSetStep.kind
    package let version = 3
    let data: DatasetService
    let features: FeatureStores
    let analytics: DuckDB
    let resources: ResourceService
    let lake: String

    private struct Spec {
        var labels: String
        var label: String
        var at: String?
        var known: String?
        var service: String?
        /// Nil with a service; else the columns that are features, or none for all that can be.
        var columns: [String]?
        var from: Timestamp?
        var until: Timestamp?
        var split: TrainingSplit
        var keep: [String]
        var shuffle: Int?

        /// - Parameter catalog: nil checks what can be checked without it.
        init(_ with: JSON, now: Timestamp?, catalog: FeatureCatalog?) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            labels = try reader.string("labels")
            label = try reader.string("label")
            let expression = try Expression(parsing: label)
            known = try reader.optionalString("known")
            if reader.optional("features")?.array != nil {
                columns = try reader.strings("features")
            } else {
                service = try reader.optionalString("features")
                if service == nil { columns = [] }
            }
            keep = try reader.strings("keep") ?? []
            shuffle = try reader.optionalInt("shuffleLabels")
            at = try reader.optionalString("at")
            var hasTime: Bool? = at == nil ? nil : true
            if let catalog, at == nil {
                at =
                    try service.flatMap { name throws(KeelError) in try catalog.time(ofService: name) } ?? catalog.schema(labels)?.eventTime
                hasTime = at != nil
            }
            if reader.optional("between") != nil {
                let bounds = try reader.strings("between") ?? []
                guard bounds.count == 2 else { throw reader.failure("between", "must be [from, until]") }
                if let now {
                    from = try Spec.instant(bounds[0], now, reader)
                    until = try Spec.instant(bounds[1], now, reader)
                }
            }
            split = try TrainingSplit(reader, hasTime: hasTime)
            if let group = split.group, !keep.contains(group) { keep.append(group) }
            try reader.finish()
            if let catalog, columns == [] {
                columns = Spec.usable(catalog.schema(labels), expression, not: [at, known].compactMap { $0 } + keep)
            }
        }

        /// Every column that a model can take and that says nothing of the label: not what it is computed from, nor keys, times and what is kept beside.
        private static func usable(_ schema: Schema?, _ label: Expressions.Expression, not others: [String]) -> [String] {
            (schema?.fields ?? []).filter { field in
                let isTaken =
                    label.identifiers.contains(field.name) || others.contains(field.name) || schema?.key.contains(field.name) == true
                return !isTaken && (field.type.isNumeric || field.type == .bool || field.type == .string)
            }.map(\.name)
        }

        private static func instant(_ text: String, _ now: Timestamp, _ reader: FieldReader) throws(KeelError) -> Timestamp {
            if text == "now" { return now }
            guard let time = Timestamp(text) else {
                throw reader.failure("between", "'\(text)' is not an instant", hint: "2013-04-01, 2013-04-01T10:00:00Z or now")
            }
            return time
        }

        var request: TrainingSetRequest {
            TrainingSetRequest(
                labels: labels, label: label, at: at, service: service, columns: columns ?? [], from: from, until: until, knownAt: known,
                keep: keep)
        }
    }

    package func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with, now: nil, catalog: nil) }

    package func outputNames(of with: JSON) -> [String]? {
        ["inputs", "train", "holdout", "snapshots", "known", "split", "keep"] + (with["features"]?.string == nil ? [] : ["service"])
    }

    /// Checks a step against a catalogue that is to be in force; one whose dataset or service is not declared yet is left to its run.
    package static func check(_ with: JSON, in catalog: FeatureCatalog) throws(KeelError) {
        guard let labels = with["labels"]?.string, catalog.schema(labels) != nil else { return }
        if let service = with["features"]?.string, !catalog.serviceNames.contains(service) { return }
        let isReference = { (json: JSON) in json.string?.hasPrefix("$") == true }
        guard
            with.members?.contains(where: {
                isReference($0.value) || $0.value.array?.contains(where: isReference) == true && $0.key != "between"
            }) != true
        else { return }
        let spec = try Spec(with, now: nil, catalog: catalog)
        do throws(KeelError) { try catalog.check(spec.request) } catch { throw error.at("with") }
    }

    package func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON {
        let catalog = features[workspace].catalog
        let spec = try Spec(with, now: now, catalog: catalog)
        // What was pushed since the last snapshot belongs to the answer: seal it, so that the numbers of the snapshots say everything.
        var snapshots: [JSON.Member] = []
        let grant = try Grant.check(.system("training-set", in: workspace), may: .datasetsIngest)
        for dataset in try datasets(spec, in: workspace, catalog) {
            _ = try await data.seal(dataset: dataset.name, grant: grant)
            snapshots.append(JSON.Member(dataset.name, .string(try await data.snapshot(dataset)?.digest.hex ?? "none")))
        }
        return [
            "until": .string(spec.until?.description ?? ""), "snapshots": .object(snapshots),
            "features": .array(try await definitions(spec, in: workspace, catalog)),
        ]
    }

    package func isUsable(_ outputs: JSON) async -> Bool {
        ["train", "holdout"].allSatisfy { part in
            outputs[part]?["digest"]?.string != nil
                && (outputs[part]?["path"]?.string).map { FileManager.default.fileExists(atPath: lake + "/" + $0) } ?? false
        }
    }

    package func run(_ context: StepContext) async throws -> JSON {
        let workspace = context.caller.workspace
        let features = features[workspace]
        let spec = try Spec(context.with, now: context.now, catalog: features.catalog)
        var sources: [String: SourceRows] = [:]
        var snapshots: [JSON.Member] = []
        for dataset in try datasets(spec, in: workspace, features.catalog) {
            let name = dataset.name
            guard let snapshot = try await data.snapshot(dataset) else {
                throw KeelError(.failedPrecondition, "dataset '\(name)' has no snapshot yet", hint: "keel ingest \(name) FILE")
            }
            sources[name] = try await data.featureRows(snapshot, in: workspace)
            snapshots.append(JSON.Member(name, .int(Int64(snapshot.number))))
        }
        let request = spec.request
        let read = try spec.service.map { name throws(KeelError) in try features.catalog.sources(name) } ?? []
        let (rows, analytics, lake) = (sources, analytics, lake)
        let (outputs, known) = try await Blocking.run {
            let connection = try analytics.connect()
            var known: [(dataset: String, times: KnownTimes)] = []
            for name in read {
                guard let source = rows[name], let times = try features.knownTimes(source, on: connection) else { continue }
                known.append((name, times))
            }
            let table = try features.trainingSet(request, on: connection) { dataset throws(KeelError) in
                rows[dataset] ?? SourceRows([String]())
            }
            let names =
                try spec.service.map { name throws(KeelError) in try features.catalog.features(name).map(\.name) } ?? request.columns
            return (try Self.write(table, spec, connection, lake, names: names), known)
        }
        var result = outputs
        result["snapshots"] = .object(snapshots)
        result["known"] = .object(
            known.map { name, times in
                JSON.Member(name, ["rows": .int(Int64(times.rows)), "assumed": .int(Int64(times.assumed)), "ahead": .int(Int64(times.ahead))])
            })
        for (name, times) in known where times.assumed > 0 {
            context.log(
                "\(times.assumed) of the \(times.rows) rows of '\(name)' do not say when they became known: they are taken as known when they happened"
            )
        }
        for (name, times) in known where times.ahead > 0 {
            context.log("\(times.ahead) of the \(times.rows) rows of '\(name)' become known in the future, by what they say: no example has them")
        }
        if let service = spec.service { result["service"] = .string(service) }
        result["split"] = .string(spec.split.kind.rawValue)
        result["keep"] = .array(spec.keep.map(JSON.string))
        context.log("\(result["train"]?["rows"]?.integer ?? 0) rows to train on, \(result["holdout"]?["rows"]?.integer ?? 0) held out")
        return result
    }

    /// Shuffled labels touch the training rows only: the holdout stays true.
    private static func write(
        _ table: Table, _ spec: Spec, _ connection: DuckDBConnection, _ lake: String, names: [String]
    ) throws(KeelError) -> JSON {
        guard table.rowCount >= 100 else {
            let period = spec.from.flatMap { from in spec.until.map { " between \(from) and \($0)" } } ?? ""
            throw KeelError(.failedPrecondition, "only \(table.rowCount) rows have a label\(period)", hint: "at least 100 are needed")
        }
        let times = try spec.at.map { name throws(KeelError) in try table.column(name) }
        let parts = try spec.split.parts(of: table, times: times?.doubles())
        var train = table.taking(rows: parts.train)
        if let seed = spec.shuffle {
            var random = SeededRandom(seed: UInt64(bitPattern: Int64(seed)))
            let permutation = Array(0..<train.rowCount).shuffled(using: &random)
            train = try train.with("label", try train.column("label").taking(permutation))
        }
        var inputs: [JSON] = []
        for name in names { inputs.append(["name": .string(name), "type": .string(try table.column(name).type.description)]) }
        var out: JSON = ["inputs": .array(inputs)]
        for (part, rows) in [("train", train), ("holdout", table.taking(rows: parts.holdout))] {
            let path = "training/\(Identifier.hex32())-\(part).parquet"
            do { try FileManager.default.createDirectory(atPath: lake + "/training", withIntermediateDirectories: true) } catch {
                throw .wrapping(error)
            }
            try connection.writeParquet(rows, to: lake + "/" + path)
            let positives = try rows.column("label").doubles()?.reduce(0, +) ?? 0
            let share = Double(rows.rowCount) / Double(table.rowCount)
            var facts: JSON = [
                "path": .string(path), "rows": .int(Int64(rows.rowCount)),
                "positives": Int64(exactly: positives.rounded()).map(JSON.int) ?? .null,
                "share": .double((share * 10_000).rounded() / 10_000),
            ]
            if let at = spec.at {
                let column = try rows.column(at)
                facts["at"] = .string(at)
                facts["until"] = (0..<column.count).compactMap { column[$0].time }.max().map { .string($0.description) } ?? .null
            }
            if let group = spec.split.group {
                let column = try rows.column(group)
                facts["groups"] = .int(Int64(Set((0..<column.count).map { column[$0] }).count))
            }
            facts["digest"] = .string(try InputFile(path: lake + "/" + path, name: "a new file of the lake").digest().hex)
            out[part] = facts
        }
        return out
    }

    /// The rows of a part of a training set, as its outputs describe it; nil when it describes none.
    ///
    /// What is computed from them is Keel's own measurement, so the file must be one that Keel wrote: a step that runs a program can put out any path.
    /// - Parameter recorded: the outputs of the run's training-set steps.
    /// - Throws: `invalidArgument` when none of them made the part, `corrupted` when the file is not the one that was written.
    static func read(_ part: JSON, of recorded: [JSON], _ lake: String, _ connection: DuckDBConnection) throws(KeelError) -> Table? {
        guard let path = part["path"]?.string else { return nil }
        let isOurs = recorded.contains { $0["train"] == part || $0["holdout"] == part }
        let name = path.hasPrefix("training/") ? path.dropFirst("training/".count) : ""
        guard isOurs, !name.isEmpty, !name.contains("/"), let digest = part["digest"]?.string else {
            throw .invalid(
                "is not what a training-set step of this run made", hint: "reference its outputs, such as $examples.holdout",
                path: "with.data")
        }
        guard try InputFile(path: lake + "/" + path, name: path).digest().hex == digest else {
            throw KeelError(
                .corrupted, "the training set \(path) is damaged: its bytes are not the ones that were written", hint: "run the step again")
        }
        return try connection.query("SELECT * FROM \(DuckDBConnection.parquet([lake + "/" + path]))")
    }

    /// The digests of what defines these features: a change of one gives another training set, and of nothing else.
    private func definitions(_ spec: Spec, in workspace: WorkspaceID, _ catalog: FeatureCatalog) async throws -> [JSON] {
        let grant = try Grant.check(.system("training-set", in: workspace), may: .resourcesRead)
        let needed = try Set(
            (spec.service.map { name throws(KeelError) in try catalog.resources(name) } ?? []) + ["Dataset/\(spec.labels)"])
        var out: [JSON] = []
        for kind in Set(needed.map { String($0.prefix { $0 != "/" }) }).sorted() {
            for stored in try await resources.get(kind, by: grant) where needed.contains(stored.resource.id) {
                out.append(.string("\(stored.resource.id) \(stored.digest.short)"))
            }
        }
        return out
    }

    private func datasets(_ spec: Spec, in workspace: WorkspaceID, _ catalog: FeatureCatalog) throws(KeelError) -> [ResourceRef] {
        let origins = try spec.service.map { name throws(KeelError) in try catalog.sources(name) } ?? []
        return Set(origins + [spec.labels]).sorted().map { ResourceRef("Dataset", $0, in: workspace) }
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
