import Contracts
import SearchLanguage
import Tracking

/// Tracking's values in MLflow's JSON: snake_case, int64 as numbers, empty lists and absent fields omitted, NaN as `"NaN"`.
enum TrackingWire {
    static func experiment(_ experiment: Experiment) -> JSON {
        object([
            ("experiment_id", .string(experiment.id)), ("name", .string(experiment.name)),
            ("artifact_location", .string(experiment.artifactLocation)),
            ("lifecycle_stage", .string(experiment.lifecycle.rawValue)), ("last_update_time", .int(experiment.updatedAt.milliseconds)),
            ("creation_time", .int(experiment.createdAt.milliseconds)), ("tags", list(experiment.tags.map(keyValue))),
        ])
    }

    /// - Parameter isNew: the answer to a creation has no outputs.
    static func run(_ run: Run, isNew: Bool = false) -> JSON {
        object([
            ("info", info(run)),
            (
                "data",
                object([
                    ("metrics", list(run.metrics.map(metric))), ("params", list(run.params.map(keyValue))),
                    ("tags", list(run.tags.map(keyValue))),
                ])
            ),
            (
                "inputs",
                object([
                    ("dataset_inputs", list(run.datasets.map(dataset))),
                    ("model_inputs", list(run.modelInputs.map { ["model_id": .string($0.modelID)] })),
                ])
            ),
            (
                "outputs",
                isNew
                    ? JSON?.none
                    : object([("model_outputs", list(run.modelOutputs.map { ["model_id": .string($0.modelID), "step": .int($0.step)] }))])
            ),
        ])
    }

    static func info(_ run: Run) -> JSON {
        object([
            ("run_uuid", .string(run.id)), ("experiment_id", .string(run.experimentID)), ("run_name", .string(run.name)),
            ("user_id", .string(run.userID)),
            ("status", .string(run.status.rawValue)), ("start_time", .int(run.startedAt.milliseconds)),
            ("end_time", run.endedAt.map { .int($0.milliseconds) }),
            ("artifact_uri", .string(run.artifactURI)), ("lifecycle_stage", .string(run.lifecycle.rawValue)), ("run_id", .string(run.id)),
        ])
    }

    static func metric(_ metric: Metric) -> JSON {
        object([
            ("key", .string(metric.key)), ("value", number(metric.value)), ("timestamp", .int(metric.at.milliseconds)),
            ("step", .int(metric.step)),
            ("model_id", metric.modelID.map(JSON.string)), ("dataset_name", metric.datasetName.map(JSON.string)),
            ("dataset_digest", metric.datasetDigest.map(JSON.string)),
        ])
    }

    static func number(_ value: Double) -> JSON {
        value.isNaN ? "NaN" : .double(min(max(value, -.greatestFiniteMagnitude), .greatestFiniteMagnitude))
    }

    static func keyValue(_ item: KeyValue) -> JSON { ["key": .string(item.key), "value": .string(item.value)] }

    static func dataset(_ input: DatasetInput) -> JSON {
        object([
            ("tags", list(input.tags.map(keyValue))),
            (
                "dataset",
                object([
                    ("name", .string(input.name)), ("digest", .string(input.digest)), ("source_type", .string(input.sourceType)),
                    ("source", .string(input.source)), ("schema", input.schema.map(JSON.string)),
                    ("profile", input.profile.map(JSON.string)),
                ])
            ),
        ])
    }

    static func datasetSummary(_ summary: DatasetSummary) -> JSON {
        object([
            ("experiment_id", .string(summary.experimentID)), ("name", .string(summary.name)), ("digest", .string(summary.digest)),
            ("context", summary.context.map(JSON.string)),
        ])
    }

    static func artifact(_ artifact: Artifact) -> JSON {
        object([
            ("path", .string(artifact.path)), ("is_dir", .bool(artifact.isFolder)),
            ("file_size", artifact.isFolder ? JSON?.none : .int(artifact.bytes)),
        ])
    }

    static func loggedModel(_ model: LoggedModel) -> JSON {
        func measured(_ item: LoggedModelMetric) -> JSON {
            var json = metric(item.metric)
            json["run_id"] = .string(item.runID)
            return json
        }
        return object([
            (
                "info",
                object([
                    ("model_id", .string(model.id)), ("experiment_id", .string(model.experimentID)), ("name", .string(model.name)),
                    ("creation_timestamp_ms", .int(model.createdAt.milliseconds)),
                    ("last_updated_timestamp_ms", .int(model.updatedAt.milliseconds)),
                    ("artifact_uri", .string(model.artifactURI)), ("status", .string(model.status.rawValue)),
                    ("model_type", .string(model.modelType ?? "")), ("source_run_id", .string(model.sourceRunID ?? "")),
                    ("tags", list(model.tags.map(keyValue))),
                ])
            ),
            ("data", object([("params", list(model.params.map(keyValue))), ("metrics", list(model.metrics.map(measured)))])),
        ])
    }

    // MARK: From the wire

    static func metric(_ request: MLflowRequest) throws -> Metric {
        Metric(
            try request.text("key"), try request.number("value"), at: try request.time("timestamp"),
            step: try request.optionalInt("step") ?? 0,
            modelID: try given(request.optionalText("model_id")), datasetName: try given(request.optionalText("dataset_name")),
            datasetDigest: try given(request.optionalText("dataset_digest")))
    }

    static func keyValue(_ request: MLflowRequest) throws -> KeyValue {
        KeyValue(try request.text("key"), try request.optionalText("value") ?? "")
    }

    static func dataset(_ request: MLflowRequest) throws -> DatasetInput {
        let dataset = try request.object("dataset")
        return DatasetInput(
            name: try dataset.text("name"), digest: try dataset.text("digest"), sourceType: try dataset.optionalText("source_type") ?? "",
            source: try dataset.optionalText("source") ?? "", schema: try dataset.optionalText("schema"),
            profile: try dataset.optionalText("profile"),
            tags: try request.objects("tags").map { try keyValue($0) })
    }

    static func order(_ request: MLflowRequest) throws -> LoggedModelOrderText {
        LoggedModelOrderText(
            field: try request.text("field_name"), ascending: try request.flag("ascending", default: true),
            dataset: try searchedDataset(request, isRequired: false))
    }

    static func searchedDataset(_ request: MLflowRequest, isRequired: Bool) throws -> LoggedModelSearch.Dataset? {
        let name = given(isRequired ? try request.text("dataset_name") : try request.optionalText("dataset_name"))
        let digest = given(try request.optionalText("dataset_digest"))
        return name == nil && (isRequired || digest == nil) ? nil : LoggedModelSearch.Dataset(name: name, digest: digest)
    }

    static func link(_ request: MLflowRequest) throws -> ModelLink {
        ModelLink(modelID: try request.text("model_id"), step: try request.optionalInt("step") ?? 0)
    }

    static func given(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }
}

/// An object of the fields that are there, in the order written.
func object(_ fields: [(String, JSON?)]) -> JSON { .object(fields.compactMap { key, value in value.map { JSON.Member(key, $0) } }) }

/// Nil for an empty list: MLflow omits it.
func list(_ items: [JSON]) -> JSON? { items.isEmpty ? JSON?.none : .array(items) }
