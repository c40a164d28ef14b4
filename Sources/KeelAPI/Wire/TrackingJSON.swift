import Contracts
import Registry
import Tracking

/// Experiments, runs and models in Keel's own JSON: instants in ISO 8601, keyed things as objects, NaN as null.
enum TrackingJSON {
    static func experiment(_ experiment: Experiment) -> JSON {
        [
            "id": .string(experiment.id), "name": .string(experiment.name), "state": .string(experiment.lifecycle.rawValue),
            "artifacts": .string(experiment.artifactLocation), "created_at": .string(experiment.createdAt.description),
            "updated_at": .string(experiment.updatedAt.description), "tags": object(experiment.tags),
        ]
    }

    static func run(_ run: Run) -> JSON {
        [
            "id": .string(run.id), "name": .string(run.name), "experiment": .string(run.experimentID), "user": .string(run.userID),
            "status": .string(run.status.rawValue), "state": .string(run.lifecycle.rawValue), "artifacts": .string(run.artifactURI),
            "started_at": .string(run.startedAt.description), "ended_at": run.endedAt.map { .string($0.description) } ?? .null,
            "metrics": .object(run.metrics.map { JSON.Member($0.key, point($0)) }), "params": object(run.params), "tags": object(run.tags),
            "datasets": .array(run.datasets.map { ["name": .string($0.name), "digest": .string($0.digest)] }),
            "models": .array(run.modelOutputs.map { .string($0.modelID) }),
        ]
    }

    static func point(_ metric: Metric) -> JSON {
        ["value": JSON(.double(metric.value)), "step": .int(metric.step), "at": .string(metric.at.description)]
    }

    static func loggedModel(_ model: LoggedModel) -> JSON {
        [
            "id": .string(model.id), "name": .string(model.name), "experiment": .string(model.experimentID),
            "run": model.sourceRunID.map(JSON.string) ?? .null, "type": model.modelType.map(JSON.string) ?? .null,
            "status": .string(model.status.rawValue), "artifacts": .string(model.artifactURI),
            "created_at": .string(model.createdAt.description), "updated_at": .string(model.updatedAt.description),
            "params": object(model.params), "tags": object(model.tags),
            "metrics": .array(
                model.metrics.map { item in
                    [
                        "key": .string(item.metric.key), "value": JSON(.double(item.metric.value)), "step": .int(item.metric.step),
                        "run": .string(item.runID), "dataset": item.metric.datasetName.map(JSON.string) ?? .null,
                    ]
                }),
        ]
    }

    static func model(_ model: RegisteredModel) -> JSON {
        [
            "name": .string(model.name), "description": .string(model.description), "created_at": .string(model.createdAt.description),
            "updated_at": .string(model.updatedAt.description), "tags": object(model.tags.map { ($0.key, $0.value) }),
            "aliases": .object(model.aliases.map { JSON.Member($0.alias, .int(Int64($0.version))) }),
            "latest_version": model.latest.map(\.version).max().map { .int(Int64($0)) } ?? .null,
        ]
    }

    static func version(_ version: ModelVersion) -> JSON {
        [
            "model": .string(version.name), "version": .int(Int64(version.version)), "uri": .string(version.uri),
            "source": .string(version.source), "run": version.runID.map(JSON.string) ?? .null,
            "logged_model": version.modelID.map(JSON.string) ?? .null, "stage": .string(version.stage.rawValue),
            "description": .string(version.description), "by": .string(version.userID),
            "created_at": .string(version.createdAt.description),
            "updated_at": .string(version.updatedAt.description), "tags": object(version.tags.map { ($0.key, $0.value) }),
            "aliases": .array(version.aliases.map(JSON.string)), "location": .string(version.storageLocation),
            "run_link": version.runLink.map(JSON.string) ?? .null, "signature": version.facts?.signature?.json ?? .null,
            "file": version.facts?.json ?? .null,
        ]
    }

    private static func object(_ items: [KeyValue]) -> JSON { object(items.map { ($0.key, $0.value) }) }
    private static func object(_ items: [(String, String)]) -> JSON { .object(items.map { JSON.Member($0.0, .string($0.1)) }) }

    // MARK: From the wire

    /// An object of texts, as tags and params are given.
    static func texts(_ reader: FieldReader, _ name: String) throws(KeelError) -> [KeyValue] {
        guard let json = reader.optional(name), !json.isNull else { return [] }
        guard let members = json.members else { throw reader.failure(name, "'\(name)' must be an object of texts, not \(json.kind)") }
        var items: [KeyValue] = []
        for member in members {
            guard let text = member.value.string else {
                throw reader.failure(name, "'\(name).\(member.key)' must be a text, not \(member.value.kind)")
            }
            items.append(KeyValue(member.key, text))
        }
        return items
    }

    /// - Parameter now: when it was measured, unless it says so itself.
    static func metric(_ reader: FieldReader, now: Timestamp) throws(KeelError) -> Metric {
        let key = try reader.string("key")
        guard let value = try reader.optionalDouble("value") else { throw reader.failure("value", "'value' is missing") }
        let at = try reader.optionalInstant("at")
        let step = try reader.optionalInt("step") ?? 0
        try reader.finish()
        return Metric(key, value, at: at ?? now, step: Int64(step))
    }
}
