import Contracts
import Importing
import Storage

/// Where experiments of a foreign store find their place among Keel's.
enum ExperimentImport {
    struct Planned {
        let imported: ImportedExperiment
        /// Whether Keel has the experiment already.
        let exists: Bool
    }

    /// In the order given; numbers and names that earlier ones will take count as taken.
    static func plan(_ db: some Querying, _ experiments: [ForeignExperiment], _ source: String) throws -> [Planned] {
        let known = try ImportStore.imported(db, source, .experiments, experiments.map(\.id))
        var next = try ExperimentStore.nextNumber(db)
        var taken: Set<Int64> = []
        return try experiments.map { experiment in
            if let place = known[experiment.id] {
                let digest = place.digest
                let own = try find(db, place.id).map { ForeignExperiment($0, foreignID: experiment.id).digest }
                // One that joined another has no digest: it only has to be there.
                let state: ImportState =
                    digest == nil
                    ? (own == nil ? .changedHere : .same)
                    : ImportState(foreign: experiment.digest, own: own, imported: digest, claims: true)
                return Planned(
                    imported: ImportedExperiment(foreignID: experiment.id, id: place.id, state: state, joined: digest == nil),
                    exists: own != nil)
            }
            if let other = try ExperimentStore.find(db, name: experiment.name) {
                let isSame = ForeignExperiment(other, foreignID: experiment.id).digest == experiment.digest
                return Planned(
                    imported: ImportedExperiment(foreignID: experiment.id, id: other.id, state: isSame ? .same : .new, joined: !isSame),
                    exists: true)
            }
            var number = Int64(experiment.id) ?? next
            if try taken.contains(number) || number < 1 || ExperimentStore.isTaken(db, number) {
                number = next
            }
            taken.insert(number)
            next = max(next, number + 1)
            return Planned(
                imported: ImportedExperiment(foreignID: experiment.id, id: String(number), state: .new, joined: false), exists: false)
        }
    }

    /// - Returns: whether anything was written.
    static func write(_ tx: Transaction, _ experiment: ForeignExperiment, _ planned: Planned, _ source: String) throws -> Bool {
        let place = planned.imported
        guard place.state == .new || place.state == .changed else { return false }
        if place.joined {
            let own = try ExperimentStore.find(tx, id: place.id)
            for tag in experiment.tags where !own.tags.contains(where: { $0.key == tag.key }) {
                try ExperimentStore.set(tx, tag, on: place.id)
            }
            try ImportStore.note(tx, source, .experiments, experiment.id, as: place.id, nil)
            return true
        }
        let number = try ExperimentStore.number(of: place.id)
        if let other = try ExperimentStore.find(tx, name: experiment.name), other.id != place.id {
            throw KeelError(
                .alreadyExists,
                "experiment \(experiment.id) is called '\(experiment.name)' now, and Keel has another of that name (\(other.id))",
                hint: "rename one of the two")
        }
        let values: [Value] = [
            .string(experiment.name), .string(experiment.artifactLocation ?? ArtifactLocation.own(of: number, in: tx.workspace ?? .default)),
            .string(experiment.lifecycle.rawValue),
            .int(experiment.createdAt.milliseconds), .int(experiment.updatedAt.milliseconds), .int(number),
        ]
        if planned.exists {
            try tx.execute(
                "UPDATE tracking_experiments SET name = ?, artifact_location = ?, lifecycle = ?, created_ms = ?, updated_ms = ? WHERE id = ?",
                values)
            try tx.execute("DELETE FROM tracking_experiment_tags WHERE experiment_id = ?", [.int(number)])
        } else {
            try tx.execute(
                """
                INSERT INTO tracking_experiments (name, artifact_location, lifecycle, created_ms, updated_ms, id, workspace)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, values + [tx.inWorkspace])
        }
        for tag in experiment.tags { try ExperimentStore.set(tx, tag, on: place.id) }
        try ImportStore.note(tx, source, .experiments, experiment.id, as: place.id, experiment.digest)
        return true
    }

    private static func find(_ db: some Querying, _ id: String) throws -> Experiment? {
        do { return try ExperimentStore.find(db, id: id) } catch let error as KeelError where error.code == .notFound { return nil }
    }
}
