import Contracts
import Importing
import Storage

/// Bringing what another tracking store holds. Each verb that writes is one transaction with one event, `tracking.imported`, that says what
/// came from where; doing it again changes nothing. The limits of logging do not bind what another server has accepted.
extension TrackingService {
    /// Brings experiments; each keeps its number where Keel has none of that number, and joins Keel's of the same name where there is one.
    /// - Parameter isRehearsal: nothing is written, the answer says what would be.
    public func importExperiments(
        _ experiments: [ForeignExperiment], from source: String, isRehearsal: Bool = false, _ grant: Grant
    ) async throws -> [ImportedExperiment] {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: experiments.count)
        for location in experiments.compactMap(\.artifactLocation) { try ArtifactLocation.check(imported: location, in: grant.workspace) }
        if isRehearsal { return try await database.read(in: grant.workspace) { try ExperimentImport.plan($0, experiments, source).map(\.imported) } }
        return try await database.write(in: grant.workspace) { tx in
            var out: [ImportedExperiment] = []
            var written: [ForeignExperiment] = []
            for experiment in experiments {
                guard let planned = try ExperimentImport.plan(tx, [experiment], source).first else { continue }
                out.append(planned.imported)
                if try ExperimentImport.write(tx, experiment, planned, source) { written.append(experiment) }
            }
            try recordImport(tx, source, .experiments, written, grant)
            return out
        }
    }

    /// How things of a foreign store stand to Keel's, in the order asked.
    public func checkImport(
        _ kind: TrackingImportKind, _ things: [(id: String, digest: Digest)], from source: String, _ grant: Grant
    ) async throws -> [ImportState] {
        try grant.require(.trackingRead)
        try ImportLimits.check(source: source, count: things.count)
        let ids = things.map(\.id)
        return try await database.read(in: grant.workspace) { db in
            let imported = try ImportStore.imported(db, source, kind, ids)
            let own: [String: Digest] =
                switch kind {
                case .experiments: [:]
                case .runs: try ImportStore.runs(db, ids).mapValues(\.digest)
                case .loggedModels: try ImportStore.models(db, ids).mapValues(\.digest)
                case .evaluationDatasets: try ImportStore.evaluationDatasets(db, ids)
                case .evaluationRecords: try ImportStore.evaluationRecords(db, ids)
                }
            // Ids of all but experiments are random: the same id is the same thing.
            return things.map { ImportState(foreign: $0.digest, own: own[$0.id], imported: imported[$0.id]?.digest, claims: true) }
        }
    }

    /// Brings runs, but for the history of their metrics; a run that is there is replaced.
    public func importRuns(_ runs: [Run], from source: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: runs.count)
        for run in runs { try ArtifactLocation.check(imported: run.artifactURI, in: grant.workspace) }
        try await database.write(in: grant.workspace) { tx in
            for run in runs {
                _ = try ExperimentStore.find(tx, id: run.experimentID)
                guard try !ImportStore.isThere(tx, "tracking_runs", run.id) || !RunStore.isMadeByStep(tx, run.id) else {
                    throw KeelError(.alreadyExists, "run \(run.id) was made by a pipeline of Keel's: no import replaces it")
                }
                try ImportStore.replace(tx, run)
                try ImportStore.note(tx, source, .runs, run.id, as: run.id, run.digest)
            }
            try recordImport(tx, source, .runs, runs, grant)
        }
    }

    /// Brings logged models, but for their metrics; one that is there is replaced.
    public func importLoggedModels(_ models: [ForeignModel], from source: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: models.count)
        for foreign in models { try ArtifactLocation.check(imported: foreign.model.artifactURI, in: grant.workspace) }
        try await database.write(in: grant.workspace) { tx in
            for foreign in models {
                _ = try ExperimentStore.find(tx, id: foreign.model.experimentID)
                try ImportStore.replace(tx, foreign)
                try ImportStore.note(tx, source, .loggedModels, foreign.importID, as: foreign.importID, foreign.digest)
            }
            try recordImport(tx, source, .loggedModels, models, grant)
        }
    }

    /// Adds measurements to the history of runs, or to logged models.
    /// - Returns: how many were new, or had another value.
    public func importPoints(_ points: [MetricPoint], to kind: TrackingImportKind, from source: String, _ grant: Grant) async throws -> Int
    {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: points.count, atMost: ImportLimits.pointsMax)
        return try await database.write(in: grant.workspace) { tx in
            let owners = Set(points.map(\.owner))
            let known = kind == .runs ? try RunStore.ids(tx, among: Array(owners)) : Set(try ImportStore.models(tx, Array(owners)).keys)
            if let stranger = owners.first(where: { !known.contains($0) }) {
                throw KeelError.notFound("there is no '\(stranger.prefix(80))' to add metrics to")
            }
            let added = kind == .runs ? try ImportStore.add(tx, runPoints: points) : try ImportStore.add(tx, modelPoints: points)
            guard added > 0 else { return 0 }
            var fingerprint = Fingerprint()
            for point in points { fingerprint.add(Array(point.owner.utf8) + [0] + point.identity) }
            try tx.record(
                "tracking.imported", on: "Import/\(kind.rawValue)",
                [
                    "source": .string(source), "kind": "metrics", "count": .int(Int64(added)), "of": .int(Int64(owners.count)),
                    "digest": .string(fingerprint.text),
                ], by: grant)
            return added
        }
    }

    /// The fingerprint of each metric of runs or logged models, by their id and the metric's key.
    public func importFingerprints(_ kind: TrackingImportKind, _ ids: [String], _ grant: Grant) async throws -> [String: [String:
        Fingerprint]]
    {
        try grant.require(.trackingRead)
        try ImportLimits.check(source: "-", count: ids.count)
        return try await database.read(in: grant.workspace) { db in
            if kind == .runs { return try ImportStore.runFingerprints(db, Array(RunStore.ids(db, among: ids))) }
            return try ImportStore.modelFingerprints(db, Array(ImportStore.models(db, ids).keys))
        }
    }

    /// Size and digest of artifacts, in the order asked; nil for those that are not there.
    public func artifactDigests(_ paths: [String], _ grant: Grant) async throws -> [(bytes: Int64, digest: Digest)?] {
        try grant.require(.trackingRead)
        try ImportLimits.check(source: "-", count: paths.count)
        return try await database.read(in: grant.workspace) { db in
            try paths.map { path in
                do {
                    let object = try ArtifactStore.file(db, try ArtifactPath(path, in: grant.workspace))
                    return (object.bytes, object.digest)
                } catch let error as KeelError where error.code == .notFound || error.code == .invalidArgument { return nil }
            }
        }
    }

    /// Notes that the artifacts of an import have arrived.
    public func recordImportedArtifacts(from source: String, files: Int64, bytes: Int64, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try ImportLimits.check(source: source, count: 1)
        _ = try await database.write(in: grant.workspace) { tx in
            try tx.record(
                "tracking.imported", on: "Import/artifacts",
                ["source": .string(source), "kind": "artifacts", "count": .int(files), "bytes": .int(bytes)], by: grant)
        }
    }
}

func recordImport(_ tx: Transaction, _ source: String, _ kind: TrackingImportKind, _ things: [some ImportRecord], _ grant: Grant) throws {
    guard let first = things.first, let last = things.last else { return }
    let digest = Digest(of: things.map(\.digest.hex).joined())
    try tx.record(
        "tracking.imported", on: "Import/\(kind.rawValue)",
        [
            "source": .string(source), "kind": .string(kind.rawValue), "count": .int(Int64(things.count)), "first": .string(first.importID),
            "last": .string(last.importID), "digest": .string(digest.hex),
        ], by: grant)
}
