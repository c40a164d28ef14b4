import Contracts
import Registry
import Storage
import Tracking

/// Which experiment of Keel holds what was in one of the foreign store.
typealias ExperimentMap = [String: String]

extension MLflowSource {
    func experimentRecords(after id: Int64, limit: Int, _ places: ArtifactPlaces) throws -> [ForeignExperiment] {
        let rows = try experiments(after: id, limit: limit)
        let tags = try self.rows("experiment_tags", "experiment_id", rows.map { $0.text("experiment_id") })
        return rows.map { row in
            let id = row.text("experiment_id")
            let location = row.optionalText("artifact_location").flatMap { $0.isEmpty || places.relative($0) != nil ? nil : $0 }
            return ForeignExperiment(
                id: id, name: row.text("name"), artifactLocation: location, lifecycle: lifecycle(row),
                createdAt: time(row, "creation_time"),
                updatedAt: time(row, "last_update_time"), tags: self.tags(tags[id]))
        }
    }

    /// Runs with all that is logged to them but history; those of experiments that are not brought are left out.
    func runRecords(_ rows: [ForeignRow], _ map: ExperimentMap, _ places: ArtifactPlaces) throws -> [Run] {
        let ids = rows.map { $0.text("run_uuid") }
        let (params, tags) = (try self.rows("params", "run_uuid", ids), try self.rows("tags", "run_uuid", ids))
        let latest = try self.rows("latest_metrics", "run_uuid", ids)
        let datasets = try datasetInputs(ids)
        let inputs = try self.rows("inputs", "source_id", ids, " AND source_type = 'RUN_INPUT' AND destination_type = 'MODEL_INPUT'")
        let outputs = try self.rows("inputs", "source_id", ids, " AND source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT'")
        return rows.compactMap { row in
            let id = row.text("run_uuid")
            guard let experiment = map[row.text("experiment_id")] else { return nil }
            let runTags = self.tags(tags[id])
            var run = Run(
                id: id,
                name: row.optionalText("name").flatMap { $0.isEmpty ? nil : $0 } ?? runTags.first { $0.key == "mlflow.runName" }?.value
                    ?? "",
                experimentID: experiment, userID: row.text("user_id"), status: RunStatus(rawValue: row.text("status")) ?? .running,
                startedAt: time(row, "start_time"), endedAt: row.optionalInt("end_time").map { _ in time(row, "end_time") },
                artifactURI: places.keelURI(row.text("artifact_uri"), own: ArtifactPlaces.runURI(experiment, id)), lifecycle: lifecycle(row)
            )
            run.params = pairs(params[id], "key", "value")
            run.tags = runTags
            run.metrics = (latest[id] ?? []).compactMap(metric)
            run.datasets = datasets[id] ?? []
            run.modelInputs = links(inputs[id])
            run.modelOutputs = links(outputs[id])
            return run
        }
    }

    private func datasetInputs(_ runs: [String]) throws -> [String: [DatasetInput]] {
        guard has("inputs"), has("datasets"), !runs.isEmpty else { return [:] }
        let marks = repeatElement("?", count: runs.count).joined(separator: ", ")
        let rows = try database.rows(
            """
            SELECT i.input_uuid AS input_uuid, i.destination_id AS run, d.* FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
            WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id IN (\(marks))
            """, runs.map(Value.string))
        let tags = try self.rows("input_tags", "input_uuid", rows.map { $0.text("input_uuid") })
        return Dictionary(grouping: rows) { $0.text("run") }.mapValues { rows in
            rows.map { row in
                DatasetInput(
                    name: row.text("name"), digest: row.text("digest"), sourceType: row.text("dataset_source_type"),
                    source: row.text("dataset_source"),
                    schema: row.optionalText("dataset_schema"), profile: row.optionalText("dataset_profile"),
                    tags: pairs(tags[row.text("input_uuid")], "name", "value"))
            }
        }
    }

    func modelRecords(_ rows: [ForeignRow], _ map: ExperimentMap, _ places: ArtifactPlaces) throws -> [ForeignModel] {
        let ids = rows.map { $0.text("model_id") }
        let (params, tags) = (try self.rows("logged_model_params", "model_id", ids), try self.rows("logged_model_tags", "model_id", ids))
        return rows.compactMap { row in
            let id = row.text("model_id")
            guard let experiment = map[row.text("experiment_id")] else { return nil }
            let status: LoggedModelStatus =
                switch row.int("status") {
                case 2: .ready
                case 3: .failed
                default: .pending
                }
            return ForeignModel(
                id: id, experimentID: experiment, name: row.text("name"), modelType: row.optionalText("model_type"),
                sourceRunID: row.optionalText("source_run_id"), status: status,
                artifactURI: places.keelURI(row.text("artifact_location"), own: ArtifactPlaces.modelURI(experiment, id)),
                createdAt: time(row, "creation_timestamp_ms"), updatedAt: time(row, "last_updated_timestamp_ms"), lifecycle: lifecycle(row),
                params: pairs(params[id], "param_key", "param_value"), tags: self.tags(tags[id], "tag_key", "tag_value"))
        }
    }

    // MARK: Registry

    func registeredModelRecords(after name: String, limit: Int) throws -> [(ForeignRegisteredModel, ForeignAliases)] {
        let rows = try registeredModels(after: name, limit: limit)
        let names = rows.map { $0.text("name") }
        let tags = try self.rows("registered_model_tags", "name", names, inWorkspace("registered_model_tags"))
        let aliases = try self.rows("registered_model_aliases", "name", names, inWorkspace("registered_model_aliases"))
        let last = try lastVersions(names)
        return rows.map { row in
            let name = row.text("name")
            let created = time(row, "creation_time")
            let model = ForeignRegisteredModel(
                name: name, description: row.text("description"), lastVersion: last[name] ?? 0, createdAt: created,
                updatedAt: row.optionalInt("last_updated_time").map { _ in time(row, "last_updated_time") } ?? created,
                tags: self.tags(tags[name]).map { ModelTag($0.key, $0.value) })
            return (model, ForeignAliases(model: name, aliases: (aliases[name] ?? []).map { ($0.text("alias"), Int($0.int("version"))) }))
        }
    }

    /// Versions with their sources where they are in Keel. Deleted ones, whose rows MLflow keeps, are left out.
    func versionRecords(_ rows: [ForeignRow], _ map: ExperimentMap, _ places: ArtifactPlaces) throws -> [ModelVersion] {
        let live = rows.filter { $0.text("current_stage") != "Deleted_Internal" }
        let tags = try self.rows("model_version_tags", "name", Array(Set(live.map { $0.text("name") })), inWorkspace("model_version_tags"))
        let origins = try VersionOrigins(self, live, map, places)
        return live.map { row in
            let (name, number) = (row.text("name"), row.int("version"))
            let created = time(row, "creation_time")
            let source = row.text("source")
            return ModelVersion(
                name: name, version: Int(number), source: origins.keelURI(source),
                storageLocation: origins.place(row.optionalText("storage_location").flatMap { $0.isEmpty ? nil : $0 } ?? source),
                runID: row.optionalText("run_id").flatMap { $0.isEmpty ? nil : $0 },
                runLink: row.optionalText("run_link").flatMap { $0.isEmpty ? nil : $0 },
                modelID: source.hasPrefix("models:/m-") ? String(source.dropFirst("models:/".count)) : nil, userID: row.text("user_id"),
                stage: ModelStage(rawValue: row.text("current_stage")) ?? .none, description: row.text("description"), createdAt: created,
                updatedAt: row.optionalInt("last_updated_time").map { _ in time(row, "last_updated_time") } ?? created,
                foreignTags: self.tags(tags[name]?.filter { $0.int("version") == number }).map { ModelTag($0.key, $0.value) })
        }
    }

    // MARK: Rows

    func metric(_ row: ForeignRow) -> Metric? {
        guard let at = row.optionalInt("timestamp").map({ Timestamp(milliseconds: $0) }) else { return nil }
        return Metric(row.text("key"), row.bool("is_nan") ? .nan : row.double("value"), at: at, step: row.int("step"))
    }

    /// Tags that would pass for Keel's own get another name.
    private func tags(_ rows: [ForeignRow]?, _ key: String = "key", _ value: String = "value") -> [KeyValue] {
        pairs(rows, key, value).map { KeyValue(ReservedTags.renamed($0.key), $0.value) }
    }

    func pairs(_ rows: [ForeignRow]?, _ key: String, _ value: String) -> [KeyValue] {
        (rows ?? []).map { KeyValue($0.text(key), $0.text(value)) }
    }

    private func links(_ rows: [ForeignRow]?) -> [ModelLink] {
        (rows ?? []).map { ModelLink(modelID: $0.text("destination_id"), step: $0.int("step")) }
    }

    private func lifecycle(_ row: ForeignRow) -> Lifecycle { Lifecycle(rawValue: row.text("lifecycle_stage")) ?? .active }

    /// Instants that are none (a time in ns taken for ms) are brought to the nearest that is one.
    func time(_ row: ForeignRow, _ column: String) -> Timestamp { Timestamp(milliseconds: row.int(column)) }
}

/// Where the runs and logged models that versions were made from keep their files: there and in Keel.
struct VersionOrigins {
    private var moved: [(foreign: String, own: String)] = []
    private var runs: [String: String] = [:]

    init(_ source: MLflowSource, _ versions: [ForeignRow], _ map: ExperimentMap, _ places: ArtifactPlaces) throws {
        let rows = try source.rows("runs", "run_uuid", Array(Set(versions.compactMap { $0.optionalText("run_id") })))
        for (id, rows) in rows {
            guard let row = rows.first, let experiment = map[row.text("experiment_id")] else { continue }
            let (foreign, own) = (row.text("artifact_uri"), ArtifactPlaces.runURI(experiment, id))
            note(foreign, own, places)
            runs[id] = places.keelURI(foreign, own: own)
        }
        let texts = versions.flatMap { [$0.text("source"), $0.text("storage_location")] }
        let ids = Set(texts.flatMap { $0.split(separator: "/").filter { $0.hasPrefix("m-") && $0.utf8.count == 34 }.map(String.init) })
        for (id, rows) in try source.rows("logged_models", "model_id", Array(ids)) {
            guard let row = rows.first, let experiment = map[row.text("experiment_id")] else { continue }
            note(row.text("artifact_location"), ArtifactPlaces.modelURI(experiment, id), places)
        }
    }

    private mutating func note(_ foreign: String, _ own: String, _ places: ArtifactPlaces) {
        if !foreign.isEmpty, places.relative(foreign) != nil { moved.append((foreign, own)) }
    }

    /// Where the files are: `runs:/ID/path` says it only through the run.
    func place(_ uri: String) -> String {
        let parts = uri.hasPrefix("runs:/") ? uri.dropFirst("runs:/".count).split(separator: "/", maxSplits: 1).map(String.init) : []
        guard parts.count == 2, let run = runs[parts[0]] else { return keelURI(uri) }
        return "\(run)/\(parts[1])"
    }

    func keelURI(_ uri: String) -> String {
        for place in moved where uri == place.foreign || uri.hasPrefix(place.foreign + "/") {
            return place.own + uri.dropFirst(place.foreign.count)
        }
        return uri
    }
}
