import Contracts
import Storage

/// Experiments, runs, what is logged to them, and their artifacts.
///
/// Each verb that changes state is one transaction. Changes of experiments, runs and logged models are ledger events; params, metrics and
/// tags of runs are too many for that: the event `run.finished` carries their counts and digest.
public struct TrackingService: Sendable {
    let database: Database
    /// Tells the time of what is logged without one.
    public var clock: any Clock { database.clock }
    let objects: any ObjectStore
    let artifactUsage: (any ArtifactUsage)?
    let artifactBytesMax: Int64
    /// Where experiments' relative locations begin.
    let folder: String
    let joining = SharedWork()
    /// Tells of what is stored of runs.
    public let changes = RunChanges()

    /// - Parameters:
    ///   - artifactUsage: who else needs artifacts.
    ///   - artifactBytesMax: how large one artifact may be.
    ///   - folder: where relative locations of experiments begin, as in MLflow the folder in which the server was started.
    public init(
        database: Database, objects: any ObjectStore, artifactUsage: (any ArtifactUsage)? = nil, artifactBytesMax: Int64 = 100 << 30,
        folder: String = "/"
    ) {
        self.database = database
        self.objects = objects
        self.artifactUsage = artifactUsage
        self.artifactBytesMax = artifactBytesMax
        self.folder = folder
    }

    // MARK: Experiments

    /// - Parameter artifactLocation: where artifacts go; Keel's own store when nil.
    /// - Returns: the id.
    /// - Throws: `alreadyExists` when the name is taken, also by an experiment in the bin.
    public func createExperiment(
        name: String, artifactLocation: String? = nil, tags: [KeyValue] = [], _ grant: Grant
    ) async throws -> String {
        try grant.require(.trackingWrite)
        guard !name.isEmpty else { throw KeelError.invalid("Invalid experiment name: ''") }
        try EntityName.check(length: name, of: "name", atMost: TrackingLimits.experimentNameCharactersMax)
        if artifactLocation?.hasPrefix("runs:") == true {
            throw KeelError.invalid("Artifact location cannot be a runs:/ URI. Given: '\(artifactLocation ?? "")'")
        }
        for tag in tags { try check(experimentTag: tag) }
        let given = artifactLocation.flatMap { $0.isEmpty ? nil : $0 }
        let location = try given.map { location throws(KeelError) in try ArtifactLocation.absolute(location, in: folder) }
        if let path = location.flatMap(TrackingService.artifactPath(of:)), try ArtifactPath(path).workspace != grant.workspace {
            throw KeelError.invalid(
                "the artifact location '\(path.prefix(200))' is not in the workspace '\(grant.workspace)'",
                hint: "leave it out, or begin it with mlflow-artifacts:/\(ArtifactPath.workspaces)/\(grant.workspace)/")
        }
        return try await database.write(in: grant.workspace) { tx in
            let id = try ExperimentStore.insert(tx, name: name, artifactLocation: location, tags: tags)
            try tx.record("experiment.created", on: "Experiment/\(id)", ["name": .string(name)], by: grant)
            return id
        }
    }

    public func experiment(id: String, _ grant: Grant) async throws -> Experiment {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try ExperimentStore.find($0, id: id) }
    }

    /// - Throws: `notFound` in the words that `mlflow.set_experiment` depends on.
    public func experiment(name: String, _ grant: Grant) async throws -> Experiment {
        try grant.require(.trackingRead)
        guard let found = try await database.read(in: grant.workspace, { try ExperimentStore.find($0, name: name) }) else {
            throw KeelError.notFound("Could not find experiment with name '\(name)'")
        }
        return found
    }

    /// The id of the experiment of this name, made when there is none.
    public func ensureExperiment(name: String, _ grant: Grant) async throws -> String {
        try grant.require(.trackingWrite)
        do {
            return try await createExperiment(name: name, grant)
        } catch let error as KeelError where error.code == .alreadyExists {
            guard let found = try await database.read(in: grant.workspace, { try ExperimentStore.find($0, name: name) }), found.lifecycle == .active else {
                throw error
            }
            return found.id
        }
    }

    public func searchExperiments(_ search: ExperimentSearch, _ grant: Grant) async throws -> Page<Experiment> {
        try grant.require(.trackingRead)
        return try await database.read(in: grant.workspace) { try ExperimentStore.search($0, search) }
    }

    /// Puts the experiment into the bin, and its runs with it.
    public func deleteExperiment(id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        guard id != "0" else { throw KeelError.invalid("The experiment Default cannot be deleted") }
        try await move(id, to: .deleted, "experiment.deleted", grant)
    }

    public func restoreExperiment(id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await move(id, to: .active, "experiment.restored", grant)
    }

    private func move(_ id: String, to lifecycle: Lifecycle, _ kind: String, _ grant: Grant) async throws {
        try await database.write(in: grant.workspace) { tx in
            let experiment = try ExperimentStore.find(tx, id: id)
            guard experiment.lifecycle != lifecycle else {
                throw KeelError.notFound("No Experiment with id=\(id) exists", hint: "it is \(lifecycle.rawValue) already")
            }
            try ExperimentStore.update(tx, id: id, name: experiment.name, lifecycle: lifecycle)
            let runs: (Lifecycle, Lifecycle) = lifecycle == .deleted ? (.active, .deleted) : (.deleted, .active)
            try tx.execute(
                "UPDATE tracking_runs SET lifecycle = ?, deleted_ms = ? WHERE experiment_id = ? AND lifecycle = ?",
                [
                    .string(runs.1.rawValue), lifecycle == .deleted ? .int(tx.now.milliseconds) : .null,
                    .int(try ExperimentStore.number(of: id)),
                    .string(runs.0.rawValue),
                ])
            try tx.record(kind, on: "Experiment/\(id)", ["name": .string(experiment.name)], by: grant)
        }
    }

    public func renameExperiment(id: String, to name: String, _ grant: Grant) async throws {
        try await updateExperiment(id: id, name: name, grant)
    }

    public func setExperimentTag(id: String, _ tag: KeyValue, _ grant: Grant) async throws {
        try await updateExperiment(id: id, tags: [tag], grant)
    }

    /// Renames an experiment, sets tags, or both: all or none.
    /// - Throws: `alreadyExists` when the name is another's, `failedPrecondition` or `invalidArgument` when the experiment is in the bin.
    public func updateExperiment(id: String, name: String? = nil, tags: [KeyValue] = [], _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        if let name {
            guard !name.isEmpty else { throw KeelError.invalid("Invalid experiment name: ''") }
            try EntityName.check(length: name, of: "name", atMost: TrackingLimits.experimentNameCharactersMax)
        }
        for tag in tags { try check(experimentTag: tag) }
        try await database.write(in: grant.workspace) { tx in
            let experiment = try ExperimentStore.find(tx, id: id)
            if let name { try rename(experiment, to: name, tx, grant) }
            for tag in tags {
                try requireActive(experiment)
                try ExperimentStore.set(tx, tag, on: id)
                try tx.record(
                    "experiment.tagged", on: "Experiment/\(id)", ["key": .string(tag.key), "value": .string(tag.value)], by: grant)
            }
        }
    }

    private func rename(_ experiment: Experiment, to name: String, _ tx: Transaction, _ grant: Grant) throws {
        guard experiment.lifecycle == .active else { throw KeelError(.failedPrecondition, "Cannot rename a non-active experiment.") }
        if let other = try ExperimentStore.find(tx, name: name), other.id != experiment.id {
            throw KeelError(.alreadyExists, "Experiment(name=\(name)) already exists.")
        }
        try ExperimentStore.update(tx, id: experiment.id, name: name, lifecycle: .active)
        try tx.record(
            "experiment.updated", on: "Experiment/\(experiment.id)", ["name": .string(name), "previous": .string(experiment.name)],
            by: grant)
    }

    public func deleteExperimentTag(id: String, key: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ReservedTags.check(key)
        try await database.write(in: grant.workspace) { tx in
            try requireActive(try ExperimentStore.find(tx, id: id))
            guard try ExperimentStore.removeTag(tx, key: key, from: id) else {
                throw KeelError.notFound("No tag with name: \(key) in experiment with id \(id)")
            }
            try tx.record("experiment.untagged", on: "Experiment/\(id)", ["key": .string(key)], by: grant)
        }
    }

    func requireActive(_ experiment: Experiment) throws(KeelError) {
        guard experiment.lifecycle == .active else {
            throw .invalid("The experiment \(experiment.id) must be in the 'active' state. Current state is deleted.")
        }
    }

    private func check(experimentTag tag: KeyValue) throws {
        try EntityName.check(tag.key)
        try ReservedTags.check(tag.key)
        try EntityName.check(length: tag.value, of: "value", atMost: TrackingLimits.experimentTagCharactersMax)
    }
}
