import Contracts
import Pipelines
import Registry
import Storage
import Tracking

extension Platform {
    /// The card of a version, from what all rooms know of it.
    public func card(model name: String, version: Int, registry grant: Grant, tracking tracked: Grant, pipelines piped: Grant) async throws -> ModelCard {
        let version = try await registry.version(model: name, version: version, grant)
        var card = ModelCard(model: try await registry.model(name: name, grant), version: version)
        card.gate = version.tags.text(RegisterStep.gateTag)
        card.decisions = try await registry.history(model: name, version: version.version, limit: 200, grant).events.reversed().compactMap(decision)
        guard let id = version.runID ?? version.facts?.runID else { return card }
        // A run may have been removed, or be of another server: then the card says that it is not stated.
        guard let run = try await found({ try await tracking.run(id: id, tracked) }) else { return card }
        func tag(_ key: String) -> String? { run.tags.first { $0.key == key }?.value }
        card.training = ModelCard.Training(
            run: run.id, startedAt: run.startedAt, by: run.userID, source: tag("mlflow.source.name"), commit: tag("mlflow.source.git.commit"),
            params: run.params.prefix(500).map { ModelTag($0.key, $0.value) })
        card.datasets = run.datasets.map { input in
            ModelCard.Dataset(
                name: input.name, digest: input.digest, context: input.tags.first { $0.key == "mlflow.data.context" }?.value,
                source: input.source)
        }
        card.measurements = run.metrics.prefix(1000).map(measurement)
        if let pipelineRun = tag("keel.pipeline_run"), let run = try await found({ try await pipelines.run(pipelineRun, grant: piped) }) {
            for step in run.steps { card.measurements += slices(step.outputs) }
            card.datasets += run.steps.compactMap { $0.outputs }.flatMap(snapshots)
        }
        return card
    }

    private func found<T>(_ body: () async throws -> T) async throws -> T? {
        do { return try await body() } catch let error as KeelError where error.code == .notFound { return nil }
    }

    /// A metric named `slices.carrier.UA.auc` or `slices/carrier/UA/auc` is of a slice.
    private func measurement(_ metric: Metric) -> ModelCard.Measurement {
        let parts = metric.key.split(whereSeparator: { $0 == "/" || $0 == "." }).map(String.init)
        guard parts.count == 4, parts[0] == "slices" || parts[0] == "slice" else { return .init(name: metric.key, value: metric.value) }
        return .init(name: parts[3], value: metric.value, slice: "\(parts[1]) = \(parts[2])")
    }

    /// The slices of an `evaluate` step's output.
    private func slices(_ outputs: JSON?) -> [ModelCard.Measurement] {
        (outputs?["slices"]?.members ?? []).flatMap { column in
            (column.value.members ?? []).flatMap { metric in
                (metric.value["values"]?.members ?? []).compactMap { value in
                    value.value.number.map { .init(name: metric.key, value: $0, slice: "\(column.key) = \(value.key)") }
                }
            }
        }
    }

    /// The snapshots that a training set was made from.
    private func snapshots(_ outputs: JSON) -> [ModelCard.Dataset] {
        (outputs["snapshots"]?.members ?? []).map { .init(name: $0.key, digest: $0.value.string ?? $0.value.text, context: "training", source: "snapshot") }
    }

    private func decision(_ event: LedgerEvent) -> ModelCard.Decision? {
        let (alias, before, after) = (event.data["alias"]?.string ?? "", event.data["before"] ?? .null, event.data["after"] ?? .null)
        let text: String
        switch event.kind {
        case "model.alias.set": text = "alias \(alias) \(before.isNull ? "set" : "moved from version \(before.text)") to version \(after.text)"
        case "model.alias.removed": text = "alias \(alias) removed"
        case "model.version.stage": text = "stage \(before.string ?? "") to \(after.string ?? "")"
        case "model.version.created": text = "registered"
        default: return nil
        }
        return ModelCard.Decision(at: event.at, by: event.caller, text: text)
    }
}
