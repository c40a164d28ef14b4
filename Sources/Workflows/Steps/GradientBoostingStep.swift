import Contracts
import Engines
import FeatureStore
import Foundation
import Pipelines
import Registry
import Serving
import Statistics
import Storage
import Synchronization

/// `gradient-boosting`: XGBoost in process on a training set. Outputs two bundles: `candidate`, trained on the training rows alone, whose
/// holdout metrics are honest; and `model`, trained on all rows when `refit` is true, otherwise the same.
struct GradientBoostingStep: StepKind {
    let name = "gradient-boosting"
    let version = 2
    let analytics: DuckDB
    let models: ModelLoader
    let registry: RegistryService
    let lake: String

    private struct Spec {
        var data: JSON
        var trees: Int
        var depth: Int
        var rate: Double
        var refit: Bool
        var seed: Int

        init(_ with: JSON) throws(KeelError) {
            let reader = try FieldReader(with, path: "with")
            data = try reader.required("data")
            trees = try reader.optionalInt("trees") ?? 100
            depth = try reader.optionalInt("depth") ?? 6
            rate = try reader.optionalDouble("rate") ?? 0.1
            refit = try reader.optionalBool("refit") ?? false
            seed = try reader.optionalInt("seed") ?? 0
            try reader.finish()
            guard (1...10_000).contains(trees) else { throw reader.failure("trees", "must be 1 to 10,000") }
            guard (1...16).contains(depth) else { throw reader.failure("depth", "must be 1 to 16") }
            guard rate > 0, rate <= 1 else { throw reader.failure("rate", "must be above 0 and at most 1") }
        }
    }

    func validate(_ with: JSON) throws(KeelError) {
        // References stand in for numbers until the run starts; only what is written out can be checked now.
        guard case .object(let members) = with else { throw .invalid("must be an object", path: "with") }
        _ = try Spec(.object(members.filter { $0.key == "data" || $0.value.string?.hasPrefix("$") != true }))
    }

    func outputNames(of with: JSON) -> [String]? { ["candidate", "model"] }

    func isUsable(_ outputs: JSON) async -> Bool {
        guard let digest = outputs["model"]?["bundle"]?.string.flatMap(Digest.init(hex:)) else { return false }
        return (try? await models.objects.get(digest)) != nil
    }

    func run(_ context: StepContext) async throws -> JSON {
        let spec = try Spec(context.with)
        let (analytics, lake) = (analytics, lake)
        let recorded = context.outputs(TrainingSetStep.kind)
        let stopped = Mutex(false)
        let bundles = try await withTaskCancellationHandler {
            try await Blocking.run {
                let connection = try analytics.connect()
                let train = try StepData(spec.data["train"] ?? .null, spec.data, of: recorded, lake, connection)
                let rounds = Double(spec.trees * (spec.refit ? 2 : 1))
                let stop = { stopped.withLock { $0 } }
                let candidate = try Self.fit(train, spec, stop) { context.progress(Double($0) / rounds, "tree \($0)") }
                guard spec.refit else { return [candidate, candidate] }
                let holdout = try StepData(spec.data["holdout"] ?? .null, spec.data, of: recorded, lake, connection)
                let all = try train.appending(holdout)
                return [
                    candidate,
                    try Self.fit(all, spec, stop) { context.progress(Double($0 + spec.trees) / rounds, "tree \($0) on all rows") },
                ]
            }
        } onCancel: {
            stopped.withLock { $0 = true }
        }
        let grant = try Grant.check(context.caller, may: .pipelinesRun, on: "Pipeline/\(context.pipeline)")
        var out: JSON = [:]
        for (part, fitted) in zip(["candidate", "model"], bundles) {
            // What the model has seen: rows up to here are no test of it.
            let seen = spec.data[part == "model" && spec.refit ? "holdout" : "train"]?["until"] ?? .null
            let bundle = ModelBundle(
                flavor: .xgboost, model: fitted.model, signature: fitted.signature, featureService: fitted.service, reference: fitted.reference)
            let digest = try await models.store(bundle, model: fitted.model)
            // The candidate comes first: what is registered may be its refit, which nobody can measure honestly.
            let candidate = out["candidate"]?["bundle"]?.string.flatMap(Digest.init(hex:)) ?? digest
            _ = try await registry.recordTraining(
                of: digest, candidate: candidate, until: seen.string.flatMap { Timestamp($0) }, data: trainedOn(spec.data),
                by: StepOrigin(run: context.runID, step: context.step), grant)
            out[part] = ["bundle": .string(digest.hex), "rows": .int(Int64(fitted.rows)), "trees": .int(Int64(spec.trees)), "until": seen]
        }
        return out
    }

    /// Which data that was, for who asks later.
    private func trainedOn(_ data: JSON) -> JSON {
        .object((data.members ?? []).filter { ["train", "holdout", "snapshots", "service"].contains($0.key) })
    }

    private static func fit(_ data: StepData, _ spec: Spec, _ stop: () -> Bool, _ progress: (Int) -> Void) throws(KeelError) -> Fitted {
        let matrix = try FloatMatrix(rowCount: data.table.rowCount, columnCount: data.inputs.count, values: data.matrix)
        let parameters = [
            "objective": "binary:logistic", "tree_method": "hist", "max_depth": String(spec.depth), "eta": "\(spec.rate)",
            "seed": String(spec.seed),
        ]
        // Asked before each round, so it tells of progress as well; XGBoost's own metrics of each round would cost a prediction.
        var round = 0
        let bytes = try XGBoost.train(
            XGBoost.Examples(matrix: matrix, labels: data.labels.map(Float.init)), featureNames: data.inputs.map(\.name),
            parameters: parameters,
            rounds: spec.trees,
            shouldStop: {
                progress(round)
                round += 1
                return stop()
            })
        let scores = try TreeEnsemble(xgboost: bytes).predict(matrix)
        return Fitted(
            model: bytes, signature: Signature(inputs: data.inputs, outputs: [Signature.Output("score", .float32)]), service: data.service,
            reference: Self.reference(data, scores), rows: data.table.rowCount)
    }

    /// Bins over the numbers that the model was given, a category as the number of its place.
    private static func reference(_ data: StepData, _ scores: [Float]) -> ModelReference {
        let width = data.inputs.count
        var bins: [String: ReferenceBins] = [:]
        for (i, input) in data.inputs.enumerated() {
            bins[input.name] = ReferenceBins(numbers: stride(from: i, to: data.matrix.count, by: width).map { Double(data.matrix[$0]) })
        }
        return ModelReference(inputs: bins, score: ReferenceBins(numbers: scores.map(Double.init)))
    }

    private struct Fitted: Sendable {
        let model: [UInt8]
        let signature: Signature
        let service: String?
        let reference: ModelReference
        let rows: Int
    }
}

/// A part of a training set as steps need it: the matrix in the order of the model's inputs, and the labels.
struct StepData {
    let table: Table
    let inputs: [Signature.Input]
    let matrix: [Float]
    let labels: [Double]
    let service: String?

    /// - Parameter part: `{path, …}` of one Parquet file; `set`: the outputs of the training-set step that it belongs to; `recorded`: those of all of the run.
    init(_ part: JSON, _ set: JSON, of recorded: [JSON], _ lake: String, _ connection: DuckDBConnection) throws(KeelError) {
        guard let names = set["inputs"]?.array, let table = try TrainingSetStep.read(part, of: recorded, lake, connection) else {
            throw .invalid(
                "is not a training set", hint: "reference the outputs of a training-set step, such as $examples", path: "with.data")
        }
        var inputs: [Signature.Input] = []
        for name in names {
            let field = try table.column(name["name"]?.string ?? "")
            var input = Signature.Input(name["name"]?.string ?? "", field.type)
            if field.type == .string { input.categories = Set((0..<field.count).compactMap { field[$0].text }).sorted() }
            inputs.append(input)
        }
        try self.init(table, inputs, set["service"]?.string)
    }

    private init(_ table: Table, _ inputs: [Signature.Input], _ service: String?) throws(KeelError) {
        (self.table, self.inputs, self.service) = (table, inputs, service)
        matrix = try OnlinePlan.matrix(table, inputs: inputs)
        guard let labels = try table.column("label").doubles() else { throw .invalid("labels must be numbers or true and false") }
        self.labels = labels
    }

    func appending(_ other: StepData) throws(KeelError) -> StepData {
        var joined = table
        for i in 0..<other.table.rowCount { try joined.append(row: other.table.row(i)) }
        return try StepData(joined, inputs, service)
    }
}
