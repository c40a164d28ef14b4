import Contracts
import Storage

/// A dataset that runs of an experiment have read, and what for.
public struct DatasetSummary: Sendable, Hashable {
    public let experimentID: String
    public let name: String
    public let digest: String
    /// `training`, `evaluation`; nil when nobody said.
    public let context: String?
}

/// What runs say of the datasets they read and of the models they made before there were logged models.
extension TrackingService {
    /// Each dataset once for each context, by experiment and name; at most a thousand.
    public func datasetSummaries(experimentIDs: [String], _ grant: Grant) async throws -> [DatasetSummary] {
        try grant.require(.trackingRead)
        guard !experimentIDs.isEmpty else {
            throw KeelError.invalid("SearchDatasets request must specify at least one experiment_id.")
        }
        let most = TrackingLimits.experimentsPerDatasetSearchMax
        guard experimentIDs.count <= most else {
            throw KeelError.invalid(
                "SearchDatasets request cannot specify more than \(most) experiment_ids. Received \(experimentIDs.count) experiment_ids.")
        }
        let ids = try experimentIDs.map { Value.int(try ExperimentStore.number(of: $0)) }
        return try await database.read(in: grant.workspace) { db in
            try db.rows(
                """
                SELECT DISTINCT r.experiment_id, i.name, i.digest, i.context FROM tracking_inputs i JOIN tracking_runs r ON r.id = i.run_id
                WHERE r.experiment_id IN (\(SQLFragment.marks(ids.count))) AND r.workspace = ?
                ORDER BY r.experiment_id, i.name, i.digest, i.context NULLS FIRST LIMIT ?
                """, ids + [db.inWorkspace, .int(Int64(TrackingLimits.datasetSummariesMax))]
            ).map { row in
                DatasetSummary(
                    experimentID: String(row.int("experiment_id")), name: row.text("name"), digest: row.text("digest"),
                    context: row.optionalText("context"))
            }
        }
    }

    /// Notes a model of a run in the run's tag `mlflow.log-model.history`, as clients before MLflow 3 do.
    /// - Parameter json: the content of `MLmodel` as JSON.
    public func recordModel(runID: String, json: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        guard let model = try? JSON.parse(json) else {
            throw KeelError.invalid("Malformed model info. \n \(json.prefix(1000)) \n is not a valid JSON.")
        }
        guard model.members != nil else { throw KeelError.invalid("Model json must be an object, not \(model.kind)") }
        let missing = ["artifact_path", "flavors", "run_id", "utc_time_created"].filter { model[$0] == nil }
        guard missing.isEmpty else {
            throw KeelError.invalid("Model json is missing mandatory fields: {\(missing.map { "'\($0)'" }.joined(separator: ", "))}")
        }
        let entry = TrackingService.historyEntry(of: model)
        try await database.write(in: grant.workspace) { tx in
            _ = try RunStore.findActive(tx, id: runID)
            let before = try tx.row(
                "SELECT value FROM tracking_tags WHERE run_id = ? AND key = ?", [.string(runID), .string(modelHistoryTag)])
            // A person may have set the tag to anything.
            let entries = before.flatMap { try? JSON.parse($0.text("value")) }?.array ?? []
            let history = JSON.array(entries + [entry]).text
            guard history.utf8.count <= TrackingLimits.modelHistoryBytesMax else {
                throw KeelError.invalid(
                    "The tag \(modelHistoryTag) of run \(runID) is longer than \(TrackingLimits.modelHistoryBytesMax) bytes.")
            }
            try RunStore.set(tx, KeyValue(modelHistoryTag, history), on: runID)
        }
        changes.tell(runID)
    }

    /// What of the model goes into the tag: who made it, when, where it is, and its flavours without their configuration.
    private static func historyEntry(of model: JSON) -> JSON {
        var members = (model.members ?? []).filter { ["run_id", "artifact_path", "utc_time_created", "model_uuid"].contains($0.key) }
        if model["model_uuid"] == nil { members.append(JSON.Member("model_uuid", .null)) }
        let flavors = (model["flavors"]?.members ?? []).map { flavor in
            JSON.Member(flavor.key, flavor.value.members.map { JSON.object($0.filter { $0.key != "config" }) } ?? flavor.value)
        }
        return .object(members + [JSON.Member("flavors", .object(flavors))])
    }
}

private let modelHistoryTag = "mlflow.log-model.history"
