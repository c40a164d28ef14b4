import Contracts
import Engines
import FeatureStore
import Foundation
import Pipelines
import Registry
import Serving
import Statistics
import Storage

/// `evaluate`: scores a model, and the baseline when there is one, on the same rows. Outputs are flat numbers that a gate can name:
/// `auc`, `logloss`, `brier`, `calibration` (expected error), `baseline.auc`, `slices.carrier.auc.min`.
///
/// A baseline that was trained on rows of the holdout would look better than it is. So both are compared on the rows from after the
/// baseline's training alone; when these are too few, there is no baseline. The numbers are kept as evidence about the model's bundle.
package struct EvaluateStep: StepKind {
    package let name = "evaluate"
    package let version = 2
    let analytics: DuckDB
    let models: ModelLoader
    let registry: RegistryService
    let lake: String
    /// A slice with fewer rows says more of chance than of the model.
    static let sliceRowsMin = 200
    static let comparedRowsMin = 1000

    private struct Spec {
        var model: JSON
        var data: JSON
        var metrics: Set<String>
        var slices: [String]
        var baseline: String?
        static let known = ["auc", "logloss", "brier", "calibration", "accuracy"]

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            model = try reader.required("model")
            data = try reader.required("data")
            metrics = Set(try reader.strings("metrics") ?? Spec.known)
            slices = try reader.strings("slices") ?? []
            baseline = try reader.optionalString("baseline")
            try reader.finish()
            if let stranger = metrics.first(where: { !Spec.known.contains($0) }) {
                throw reader.failure("metrics", "'\(stranger)' is not a metric", hint: "one of \(Spec.known.joined(separator: ", "))")
            }
        }
    }

    package func validate(_ with: JSON) throws(KeelError) { _ = try Spec(with) }

    package func outputNames(of with: JSON) -> [String]? {
        guard let spec = try? Spec(with) else { return nil }
        let metrics = Spec.known.filter(spec.metrics.contains)
        return metrics + ["rows", "evidence"] + (spec.slices.isEmpty ? [] : ["slices"]) + (spec.baseline == nil ? [] : ["baseline"])
    }

    /// The alias of a baseline moves, so what it points to is part of what the result depends on.
    package func fingerprint(_ with: JSON, now: Timestamp, in workspace: WorkspaceID) async throws -> JSON {
        guard let uri = try Spec(with).baseline else { return [:] }
        let grant = try EvaluateStep.grant(in: workspace)
        if let version = try await registry.resolve(uri, grant) { return ["baseline": .string(version.uri)] }
        return ["baseline": .string(try await registry.hasStood(uri, grant) ? "gone" : "none")]
    }

    private static func grant(in workspace: WorkspaceID) throws(KeelError) -> Grant {
        try Grant.check(.system("evaluate", in: workspace), may: .registryRead)
    }

    /// A version to compare with.
    private struct Baseline: Sendable {
        let model: LoadedModel
        /// The last row that it was trained on.
        let seen: Timestamp
        /// What the evidence says of it.
        let evidence: JSON
    }

    /// The baseline, or why there is none.
    private func baseline(_ uri: String, in workspace: WorkspaceID) async throws -> (baseline: Baseline?, missing: JSON) {
        let grant = try EvaluateStep.grant(in: workspace)
        guard let version = try await registry.resolve(uri, grant) else {
            let stood = try await registry.hasStood(uri, grant)
            let reason = stood ? "there was a baseline \(uri), and it was taken away" : "there has never been a baseline \(uri)"
            return (nil, ["uri": .string(uri), "missing": .string(reason), "first": .bool(!stood)])
        }
        guard let bundle = try await registry.bundle(of: version, grant) else { throw RegistryService.noBundle(version) }
        let seen = bundle.data["until"]?.string.flatMap { Timestamp($0) } ?? .distantPast
        let model = try await models.load(bundle.subject, in: workspace)
        let evidence: JSON = ["uri": .string(uri), "version": .string(version.uri), "bundle": .string(bundle.subject.hex)]
        return (Baseline(model: model, seen: seen, evidence: evidence), .null)
    }

    package func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        let digest = try ModelOutput(spec.model, path: "with.model").bundle
        let model = try await models.load(digest, in: context.caller.workspace)
        var baseline: Baseline?
        var missing: JSON = ["missing": "the evaluation names no baseline", "first": false]
        if let uri = spec.baseline { (baseline, missing) = try await self.baseline(uri, in: context.caller.workspace) }
        let measured = try await measure(model, baseline, spec, of: context.outputs(TrainingSetStep.kind), log: context.log)
        var metrics = measured.metrics
        let grant = try Grant.check(context.caller, may: .pipelinesRun, on: "Pipeline/\(context.pipeline)")
        let evidence = try await registry.recordEvaluation(
            of: digest,
            [
                "metrics": metrics, "data": spec.data, "baseline": baseline == nil ? missing : measured.baseline,
            ], by: StepOrigin(run: context.runID, step: context.step), grant)
        metrics["evidence"] = .string(evidence.id)
        return metrics
    }

    private struct Measured: Sendable {
        var metrics: JSON
        /// What the model was compared with, or why it was not.
        var baseline: JSON
    }

    private func measure(
        _ model: LoadedModel, _ old: Baseline?, _ spec: Spec, of recorded: [JSON], log: @escaping @Sendable (String) -> Void
    ) async throws -> Measured {
        let (analytics, lake) = (analytics, lake)
        return try await Blocking.run {
            var rows = try Self.read(spec.data, of: recorded, lake, try analytics.connect())
            var compared = old?.evidence ?? .null
            var comparable = old != nil
            if old != nil, spec.data["at"]?.string == nil {
                let reason = "the examples have no time, so nobody can say which of them the baseline was trained on"
                comparable = false
                log(reason + ": no comparison")
                compared["missing"] = .string(reason)
                compared["first"] = false
            }
            if let old, let at = spec.data["at"]?.string, let times = try rows.column(at).doubles() {
                let unseen = times.indices.filter { times[$0] > Double(old.seen.microseconds) }
                comparable = unseen.count >= Self.comparedRowsMin
                if comparable { rows = rows.taking(rows: unseen) }
                let found = "\(unseen.count) rows are from after the baseline's training"
                log(comparable ? "compared on \(unseen.count) rows from after the baseline's training" : "only \(found): no comparison")
                if !comparable {
                    compared["missing"] = .string("only \(found), \(Self.comparedRowsMin) are needed to compare")
                    compared["first"] = false
                }
            }
            var out = try Self.score(model, rows, spec, slices: true)
            out["rows"] = .int(Int64(rows.rowCount))
            if let old, comparable { out["baseline"] = try Self.score(old.model, rows, spec, slices: false) }
            log("auc \(out["auc"]?.number ?? .nan), baseline \(out["baseline"]?["auc"]?.number.map { "\($0)" } ?? "none")")
            return Measured(metrics: out, baseline: compared)
        }
    }

    private static func read(_ data: JSON, of recorded: [JSON], _ lake: String, _ connection: DuckDBConnection) throws(KeelError) -> Table {
        guard let rows = try TrainingSetStep.read(data, of: recorded, lake, connection) else {
            throw .invalid("is not a part of a training set", hint: "reference $examples.holdout", path: "with.data")
        }
        return rows
    }

    private static func score(_ model: LoadedModel, _ rows: Table, _ spec: Spec, slices: Bool) throws(KeelError) -> JSON {
        guard let labels = try rows.column("label").doubles() else { throw .invalid("labels must be numbers or true and false") }
        let outputs = try model.predict(try model.inputs(rows), until: .now + .seconds(3600))
        guard let scores = model.scores(outputs) else {
            throw .invalid("the model gives no number a row, which its evaluation needs", hint: "its outputs: \(outputs.names.joined(separator: ", "))")
        }
        let metrics = try BinaryMetrics(scores: scores, labels: labels)
        var out: JSON = [:]
        let values: [(String, Double?)] = [
            ("auc", metrics.auc), ("logloss", metrics.logLoss), ("brier", metrics.brier),
            ("calibration", metrics.calibration.expectedError),
            ("accuracy", metrics.accuracy),
        ]
        for (name, value) in values where spec.metrics.contains(name) { out[name] = value.map(JSON.double) ?? .null }
        guard slices, !spec.slices.isEmpty else { return out }
        var bySlice: JSON = [:]
        for slice in spec.slices { bySlice[slice] = try Self.slice(try rows.column(slice), scores, labels) }
        out["slices"] = bySlice
        return out
    }

    /// What a number of a result measures, by its dotted name; nil for what is no metric of this model: row counts, the baseline's, extremes of slices.
    package static func measurement(_ name: String, _ value: Double) -> ModelCard.Measurement? {
        guard name.hasPrefix("slices.") else { return Spec.known.contains(name) ? .init(name: name, value: value) : nil }
        let parts = name.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 5, parts[3] == "values" else { return nil }
        return .init(name: parts[2], value: value, slice: ModelCard.Slice(column: parts[1], value: parts[4]))
    }

    private static func slice(_ column: Column, _ scores: [Float], _ labels: [Double]) throws(KeelError) -> JSON {
        var groups: [String: [Int]] = [:]
        for i in 0..<column.count { groups[column[i].description, default: []].append(i) }
        var values: [JSON.Member] = []
        var (least, most): (Double?, Double?) = (nil, nil)
        for (name, rows) in groups.sorted(by: { $0.key < $1.key }) where rows.count >= sliceRowsMin {
            guard let auc = try BinaryMetrics.rocAUC(scores: rows.map { scores[$0] }, labels: rows.map { labels[$0] }) else { continue }
            values.append(JSON.Member(name, .double(auc)))
            least = min(least ?? auc, auc)
            most = max(most ?? auc, auc)
        }
        return ["auc": ["min": least.map(JSON.double) ?? .null, "max": most.map(JSON.double) ?? .null, "values": .object(values)]]
    }
}
