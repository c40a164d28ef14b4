import Contracts
import Storage

extension TrackingService {
    // MARK: The life of a run

    /// Starts a run.
    /// - Parameters:
    ///   - name: a readable one is made up when neither this nor the tag `mlflow.runName` is given.
    ///   - startedAt: now when nil; kept in milliseconds.
    ///   - origin: the step that makes the run; one that is repeated gets the run that it made before.
    public func createRun(
        experimentID: String, name: String? = nil, userID: String? = nil, startedAt: Timestamp? = nil, tags: [KeyValue] = [],
        origin: RunOrigin? = nil, _ grant: Grant
    ) async throws -> Run {
        try grant.require(.trackingWrite)
        // A new run takes every key that is not too long, as MLflow's does.
        for (i, tag) in tags.enumerated() {
            try EntityName.check(length: tag.key, of: "tags[\(i)].key", atMost: TrackingLimits.keyCharactersMax)
            try ReservedTags.check(tag.key)
        }
        let tags = tags.map { KeyValue($0.key, TrackingLimits.cut($0.value, to: TrackingLimits.tagCharactersMax)) }
        let tagged = tags.first { $0.key == runNameTag }?.value
        let given = name.flatMap { $0.isEmpty ? nil : $0 }
        if let given, let tagged, given != tagged {
            throw KeelError.invalid(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='\(given)', mlflow.runName='\(tagged)')."
            )
        }
        let runName = given ?? tagged ?? RunNames.random()
        return try await database.write(in: grant.workspace) { tx in
            if let origin, let made = try RunStore.find(tx, madeBy: origin) { return try RunStore.withData(tx, [made])[0] }
            let experiment = try ExperimentStore.find(tx, id: experimentID)
            try requireActive(experiment)
            let id = Identifier.ordered32()
            let run = Run(
                id: id, name: runName, experimentID: experimentID, userID: userID ?? grant.caller.name, status: .running,
                startedAt: startedAt ?? tx.now,
                endedAt: nil, artifactURI: ArtifactLocation.appending("\(id)/artifacts", to: experiment.artifactLocation),
                lifecycle: .active)
            try RunStore.insert(tx, run)
            for tag in tags where tag.key != runNameTag { try RunStore.set(tx, tag, on: id) }
            try RunStore.set(tx, KeyValue(runNameTag, runName), on: id)
            if let origin { try RunStore.note(tx, id, madeBy: origin) }
            try tx.record("run.created", on: "Run/\(id)", ["experiment": .string(experimentID), "name": .string(runName)], by: grant)
            return try RunStore.withData(tx, [run])[0]
        }
    }

    public func run(id: String, _ grant: Grant) async throws -> Run {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try RunStore.withData($0, [RunStore.find($0, id: id)])[0] }
    }

    /// Changes what is given. Reaching an end (`finished`, `failed`, `killed`) is recorded with the counts and digest of what was logged.
    public func updateRun(
        id: String, status: RunStatus? = nil, endedAt: Timestamp? = nil, name: String? = nil, _ grant: Grant
    ) async throws -> Run {
        try grant.require(.trackingWrite)
        let updated = try await database.write(in: grant.workspace) { tx in
            let run = try RunStore.findActive(tx, id: id)
            let newName = name.flatMap { $0.isEmpty ? nil : $0 } ?? run.name
            let newStatus = status ?? run.status
            try RunStore.update(tx, id: id, name: newName, status: newStatus, endedAt: endedAt ?? run.endedAt)
            if newName != run.name { try RunStore.set(tx, KeyValue(runNameTag, newName), on: id) }
            if newStatus.isTerminal, !run.status.isTerminal {
                try tx.record("run.finished", on: "Run/\(id)", try summary(tx, run, status: newStatus), by: grant)
            } else if newStatus != run.status || newName != run.name {
                try tx.record("run.updated", on: "Run/\(id)", ["status": .string(newStatus.rawValue), "name": .string(newName)], by: grant)
            }
            return try RunStore.withData(tx, [RunStore.find(tx, id: id)])[0]
        }
        changes.tell(id)
        return updated
    }

    /// What stands in the ledger for the many params and metrics of a run.
    private func summary(_ tx: Transaction, _ run: Run, status: RunStatus) throws -> JSON {
        let full = try RunStore.withData(tx, [run])[0]
        let params = JSON.object(full.params.map { JSON.Member($0.key, .string($0.value)) })
        let metrics = JSON.object(full.metrics.map { JSON.Member($0.key, $0.value.isNaN ? "NaN" : .double($0.value)) })
        let points = try MetricStore.count(tx, run: run.id)
        let logged: JSON = ["params": params, "metrics": metrics]
        return [
            "status": .string(status.rawValue), "experiment": .string(run.experimentID), "params": .int(Int64(full.params.count)),
            "metrics": .int(Int64(full.metrics.count)), "metric_points": .int(points), "digest": .string(Digest(of: logged.canonical).hex),
        ]
    }

    public func deleteRun(id: String, _ grant: Grant) async throws {
        try await moveRun(id, to: .deleted, "run.deleted", grant)
    }
    public func restoreRun(id: String, _ grant: Grant) async throws {
        try await moveRun(id, to: .active, "run.restored", grant)
    }

    /// A run that is there already stays there: no error, as in MLflow, and no event.
    private func moveRun(_ id: String, to: Lifecycle, _ kind: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            let run = try RunStore.find(tx, id: id)
            guard run.lifecycle != to else { return }
            try RunStore.set(tx, lifecycle: to, of: id)
            try tx.record(kind, on: "Run/\(id)", ["experiment": .string(run.experimentID)], by: grant)
        }
        changes.tell(id)
    }

    // MARK: Logging

    /// Logs metrics, params and tags together: all or none. Values of params and tags that are too long are cut.
    /// - Throws: `invalidArgument` over a limit, for a bad key, or when a param has another value already.
    public func logBatch(
        runID: String, metrics: [Metric] = [], params: [KeyValue] = [], tags: [KeyValue] = [], _ grant: Grant
    ) async throws {
        try grant.require(.trackingWrite)
        for (i, metric) in metrics.enumerated() { try TrackingLimits.check(metric, path: "metrics[\(i)].") }
        let params = try params.enumerated().map { try TrackingLimits.checked(param: $1, path: "params[\($0)].") }
        let tags = try tags.enumerated().map { try TrackingLimits.checked(tag: $1, path: "tags[\($0)].") }
        try TrackingLimits.check(count: metrics.count, of: "metrics", atMost: TrackingLimits.metricsPerBatchMax)
        try TrackingLimits.check(count: params.count, of: "params", atMost: TrackingLimits.paramsPerBatchMax)
        try TrackingLimits.check(count: tags.count, of: "tags", atMost: TrackingLimits.tagsPerBatchMax)
        try TrackingLimits.check(
            count: metrics.count + params.count + tags.count, of: "metrics, params, and tags", atMost: TrackingLimits.thingsPerBatchMax)
        var seen: Set<String> = []
        for param in params where !seen.insert(param.key).inserted {
            throw KeelError.invalid(
                "Duplicate parameter keys have been submitted: ['\(param.key)']. Please ensure the request contains only one param value per param key."
            )
        }
        try await log(metrics, params, tags, to: runID, grant)
    }

    public func logMetric(runID: String, _ metric: Metric, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try TrackingLimits.check(metric, path: "")
        try await log([metric], [], [], to: runID, grant)
    }

    public func logParam(runID: String, _ param: KeyValue, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await log([], [try TrackingLimits.checked(param: param, path: "")], [], to: runID, grant)
    }

    public func setTag(runID: String, _ tag: KeyValue, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await log([], [], [try TrackingLimits.checked(tag: tag, path: "")], to: runID, grant)
    }

    private func log(
        _ metrics: [Metric], _ params: [KeyValue], _ tags: [KeyValue], to runID: String, _ grant: Grant
    ) async throws {
        try await database.write(in: grant.workspace) { tx in
            try RunStore.checkActive(tx, id: runID)
            for param in params { try RunStore.add(tx, param, to: runID) }
            try MetricStore.add(tx, metrics, to: runID)
            for metric in metrics { if let model = metric.modelID { try LoggedModelStore.add(tx, metric, to: model, run: runID) } }
            for tag in tags { try set(tx, tag, on: runID) }
        }
        changes.tell(runID)
    }

    public func deleteTag(runID: String, key: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ReservedTags.check(key)
        try await database.write(in: grant.workspace) { tx in
            try RunStore.checkActive(tx, id: runID)
            guard try RunStore.removeTag(tx, key: key, from: runID) else {
                throw KeelError.notFound("No tag with name: \(key) in run with id \(runID)")
            }
        }
        changes.tell(runID)
    }

    /// Notes which datasets and logged models a run read.
    public func logInputs(runID: String, datasets: [DatasetInput] = [], models: [ModelLink] = [], _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        for dataset in datasets { try TrackingLimits.check(dataset) }
        try await database.write(in: grant.workspace) { tx in
            try RunStore.checkActive(tx, id: runID)
            for dataset in datasets { try RunStore.add(tx, dataset, to: runID) }
            for model in models { try RunStore.add(tx, model, role: "input", to: runID) }
        }
        changes.tell(runID)
    }

    /// Notes which logged models a run made.
    public func logOutputs(runID: String, models: [ModelLink], _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            try RunStore.checkActive(tx, id: runID)
            for model in models { try RunStore.add(tx, model, role: "output", to: runID) }
        }
        changes.tell(runID)
    }

    // MARK: Reading

    public func searchRuns(_ search: RunSearch, _ grant: Grant) async throws -> Page<Run> {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try search.run(on: $0) }
    }

    /// The tag that names the run renames it; an empty name is none.
    private func set(_ tx: Transaction, _ tag: KeyValue, on id: String) throws {
        guard tag.key != runNameTag || !tag.value.isEmpty else { return }
        try RunStore.set(tx, tag, on: id)
        if tag.key == runNameTag { try tx.execute("UPDATE tracking_runs SET name = ? WHERE id = ?", [.string(tag.value), .string(id)]) }
    }
}

private let runNameTag = "mlflow.runName"

/// Names for runs that have none: `calm-harbor-417`.
enum RunNames {
    private static let qualities = [
        "able", "bold", "brisk", "calm", "clear", "deft", "eager", "fair", "fleet", "keen", "light", "lively", "merry", "neat", "proud",
        "quick", "quiet",
        "ready", "sturdy", "swift", "tidy", "upbeat", "wise", "zesty",
    ]
    private static let things = [
        "anchor", "beacon", "bow", "brig", "buoy", "clipper", "compass", "cutter", "harbor", "helm", "hull", "jetty", "keel", "lagoon",
        "mast", "pilot",
        "quay", "rudder", "sail", "schooner", "sextant", "sloop", "tide", "yawl",
    ]

    static func random() -> String {
        "\(qualities[Int.random(in: 0..<qualities.count)])-\(things[Int.random(in: 0..<things.count)])-\(Int.random(in: 0...999))"
    }
}
