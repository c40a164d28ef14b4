import Contracts
import Importing
import KeelClient
import Registry
import Storage
import Tracking

/// Brings what an MLflow store holds to a Keel server, and proves that it arrived.
///
/// Both sides say the digest of each thing, in batches in the order of their keys; what differs is sent. So an import that was cut off goes on
/// where it was, one that is repeated sends what is new or changed, and the proof at the end is one more pass that finds nothing to send.
public actor Importer {
    enum Pass { case rehearse, bring, verify }

    let source: MLflowSource
    let places: ArtifactPlaces
    let server: ImportServer
    let client: KeelClient
    let report: @Sendable (ImportProgress) -> Void
    var result = ImportReport()
    var pass = Pass.bring
    var map: ExperimentMap = [:]
    /// How many things the pass has sent.
    var sent = 0
    /// Registered models that stay as they are in Keel, and their versions with them.
    var refusedModels: Set<String> = []
    static let batch = 100
    static let pointBatch = 5000

    /// - Parameters:
    ///   - artifacts: the folder that holds the artifacts; without it none are brought.
    ///   - report: told of progress, often.
    public init(
        source: MLflowSource, artifacts: String?, client: KeelClient, report: @escaping @Sendable (ImportProgress) -> Void
    ) throws(KeelError) {
        self.source = source
        self.places = try ArtifactPlaces(root: artifacts)
        self.client = client
        self.server = ImportServer(client: client, source: source.name)
        self.report = report
    }

    /// - Parameter isRehearsal: nothing is sent; the report says what would be.
    public func run(isRehearsal: Bool) async throws -> ImportReport {
        result.source = source.name
        result.schema = source.schema
        for line in try await Blocking.run({ [source] in try source.unsupported() }) { result.notBrought.add(line) }
        try await go(isRehearsal ? .rehearse : .bring)
        guard !isRehearsal else { return result }
        let brought = result
        if sent > 0 { try await go(.verify) }
        // The second pass counted again what the first had counted; only what it found wrong is new.
        let wrong = result.mismatches
        result = brought
        result.mismatches = wrong
        result.isVerified = true
        return result
    }

    private func go(_ pass: Pass) async throws {
        (self.pass, sent, refusedModels) = (pass, 0, [])
        result.counts = [:]
        try await experiments()
        try await runs()
        try await loggedModels()
        try await evaluationDatasets()
        try await registry()
        try await artifacts()
    }

    // MARK: Experiments

    private func experiments() async throws {
        let total = try await read { try $0.count("experiments") }
        var last: Int64 = -1
        while true {
            let (after, places) = (last, places)
            let batch = try await read { try $0.experimentRecords(after: after, limit: Importer.batch, places) }
            guard let end = batch.last.flatMap({ Int64($0.id) }) else { break }
            last = end
            for (experiment, place) in zip(batch, try await server.experiments(batch, isRehearsal: pass != .bring)) {
                map[experiment.id] = place.id
                note(experiment, place)
            }
            progress("experiments", total)
        }
    }

    private func note(_ experiment: ForeignExperiment, _ place: ImportServer.Place) {
        count("experiments", place.state, "experiment \(experiment.id) ('\(experiment.name)')", sends: place.state != .same)
        guard pass != .verify else { return }
        if place.joined, experiment.id != "0" || place.id != "0" {
            result.notes.add("experiment \(experiment.id) ('\(experiment.name)') is one with Keel's experiment \(place.id) of that name")
        } else if place.id != experiment.id {
            result.notes.add("experiment \(experiment.id) ('\(experiment.name)') has the number \(place.id) in Keel")
        }
        if !place.joined, let location = experiment.artifactLocation {
            result.notes.add("experiment \(experiment.id) keeps its artifacts at \(location)")
        }
    }

    // MARK: Runs and logged models

    private func runs() async throws {
        let total = try await read { try $0.count("runs") }
        var last = ""
        while true {
            let (after, map, places) = (last, map, places)
            let (rows, runs) = try await read {
                let rows = try $0.runs(after: after, limit: Importer.batch)
                return (rows.map { $0.text("run_uuid") }, try $0.runRecords(rows, map, places))
            }
            guard let end = rows.last else { break }
            last = end
            let open = try await bring(runs, "tracking/runs", "runs") { "run \($0.id)" }
            try await points(.runs, open.map(\.id))
            progress("runs", total)
        }
    }

    private func loggedModels() async throws {
        guard source.has("logged_models") else { return }
        let total = try await read { try $0.count("logged_models") }
        var last = ""
        while true {
            let (after, map, places) = (last, map, places)
            let (rows, models) = try await read {
                let rows = try $0.loggedModels(after: after, limit: Importer.batch)
                return (rows.map { $0.text("model_id") }, try $0.modelRecords(rows, map, places))
            }
            guard let end = rows.last else { break }
            last = end
            let open = try await bring(models, "tracking/logged-models", "logged models") { "logged model \($0.importID)" }
            try await points(.models, open.map(\.importID))
            progress("logged models", total)
        }
    }

    // MARK: Registry

    private func registry() async throws {
        guard source.has("registered_models") else { return }
        let total = try await read { try $0.count("registered_models") }
        var last = ""
        while true {
            let after = last
            let batch = try await read { try $0.registeredModelRecords(after: after, limit: Importer.batch) }
            guard let end = batch.last?.0.name else { break }
            last = end
            let open = Set(try await bring(batch.map(\.0), "registry/models", "models") { "model '\($0.name)'" }.map(\.name))
            refusedModels.formUnion(batch.map(\.0.name).filter { !open.contains($0) })
            progress("models", total)
        }
        try await versions()
        // An alias points to a version: it comes last.
        last = ""
        while true {
            let after = last
            let batch = try await read { try $0.registeredModelRecords(after: after, limit: Importer.batch) }
            guard let end = batch.last?.0.name else { break }
            last = end
            _ = try await bring(batch.map(\.1).filter { !refusedModels.contains($0.model) }, "registry/aliases", "aliases") {
                "aliases of model '\($0.model)'"
            }
            progress("aliases", total)
        }
    }

    private func versions() async throws {
        guard source.has("model_versions") else { return }
        let total = try await read { try $0.count("model_versions") }
        var last = (name: "", version: Int64(0))
        while true {
            let (after, map, places) = (last, map, places)
            let (end, versions) = try await read {
                let rows = try $0.versions(after: after, limit: Importer.batch)
                return (rows.last.map { (name: $0.text("name"), version: $0.int("version")) }, try $0.versionRecords(rows, map, places))
            }
            guard let end else { break }
            last = end
            let brought = versions.filter { !refusedModels.contains($0.name) }
            _ = try await bring(brought, "registry/versions", "versions") { "version \($0.version) of model '\($0.name)'" }
            if pass != .verify { for version in brought { noteSource(version) } }
            progress("versions", total)
        }
    }

    private func noteSource(_ version: ModelVersion) {
        guard TrackingService.artifactPath(of: version.storageLocation) == nil, !version.storageLocation.hasPrefix("models:/"),
            version.storageLocation.contains("/")
        else { return }
        result.notBrought.add("the files of version \(version.version) of model '\(version.name)', which are at \(version.storageLocation)")
    }

    // MARK: One batch

    /// Compares a batch of things and sends those that differ.
    /// - Returns: those that Keel now holds, or (rehearsing) would.
    func bring<Thing: ImportRecord>(_ things: [Thing], _ path: String, _ kind: String, _ name: (Thing) -> String) async throws -> [Thing] {
        guard !things.isEmpty else { return [] }
        let states = try await server.check(path, things.map { ($0.importID, $0.digest) })
        var (missing, open): ([Thing], [Thing]) = ([], [])
        for (thing, state) in zip(things, states) {
            let differs = state == .new || state == .changed
            count(kind, state, name(thing), sends: differs)
            if differs { missing.append(thing) }
            if differs || state == .same { open.append(thing) }
        }
        if pass == .bring { try await server.send(path, missing.map(\.record)) }
        return open
    }

    /// Counts one thing, and says what is wrong with it.
    func count(_ kind: String, _ state: ImportState, _ name: String, sends: Bool) {
        result.counts[kind, default: ImportReport.Count()].add(state)
        switch (pass, state) {
        case (.verify, .new): result.mismatches.add("\(name) is not in Keel")
        case (.verify, .changed): result.mismatches.add("\(name) differs between the two")
        case (.verify, _): break
        case (_, .conflict): result.notBrought.add("\(name): Keel has another one of that name")
        case (_, .changedHere): result.notes.add("\(name) was changed or deleted in Keel since it was imported, and stays so")
        default: if sends { sent += 1 }
        }
    }

    func progress(_ kind: String, _ total: Int64?) {
        report(ImportProgress(kind: kind, isVerifying: pass == .verify, done: Int64(result.counts[kind]?.source ?? 0), total: total))
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (MLflowSource) throws -> T) async throws -> T {
        try await Blocking.run { [source] in try body(source) }
    }
}
