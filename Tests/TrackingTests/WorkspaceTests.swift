import Contracts
import Importing
import Storage
import Testing
import Tracking

@Suite("Workspaces of tracking")
struct WorkspaceTests {
    private let fraud = Caller(name: "fred", persona: .owner, workspace: WorkspaceID(stored: "fraud"))

    private func may(_ action: Action) throws -> Grant { try Grant.check(fraud, may: action) }

    private func run(_ id: String, in experiment: String, at uri: String, lifecycle: Lifecycle = .active) -> Run {
        Run(
            id: id, name: id, experimentID: experiment, userID: "fred", status: .finished, startedAt: at(1), endedAt: nil, artifactURI: uri,
            lifecycle: lifecycle)
    }

    @Test(
        "an import brings nothing whose artifacts would lie in another workspace",
        arguments: [
            "mlflow-artifacts:/workspaces/other/1/r/artifacts", "mlflow-artifacts:/workspaces/1", "mlflow-artifacts:/workspaces",
        ])
    func importedPlaces(uri: String) async throws {
        let f = try await Fixture()
        let experiment = try await f.tracking.createExperiment(name: "e", may(.trackingWrite))
        let model = ForeignModel(
            id: "m-1", experimentID: experiment, name: "m", modelType: nil, sourceRunID: nil, status: .ready, artifactURI: uri,
            createdAt: at(1), updatedAt: at(1), lifecycle: .active, params: [], tags: [])
        let foreign = ForeignExperiment(
            id: "7", name: "x", artifactLocation: uri, lifecycle: .active, createdAt: at(1), updatedAt: at(1), tags: [])
        let before = try await f.kinds()
        let attempts: [() async throws -> Void] = [
            { try await f.tracking.importRuns([run("r", in: experiment, at: uri)], from: "s", may(.trackingWrite)) },
            { try await f.tracking.importLoggedModels([model], from: "s", may(.trackingWrite)) },
            { _ = try await f.tracking.importExperiments([foreign], from: "s", may(.trackingWrite)) },
        ]
        for attempt in attempts {
            let error = await #expect(throws: KeelError.self) { try await attempt() }
            #expect(error?.code == .invalidArgument && error?.path == "artifact_uri")
        }
        #expect(try await f.kinds() == before)
    }

    @Test(
        "removing what has such a place, however it came to be stored, removes no artifact of anybody else",
        arguments: [
            "mlflow-artifacts:/", "mlflow-artifacts:/workspaces/fraud", "mlflow-artifacts:/workspaces/default", "mlflow-artifacts:/workspaces",
            "mlflow-artifacts:/..", "mlflow-artifacts://host/", "s3://bucket/x", "",
        ])
    func purged(uri: String) async throws {
        let f = try await Fixture()
        let mine = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.put("0/\(mine.id)/artifacts/model", "mine")
        let experiment = try await f.tracking.createExperiment(name: "e", may(.trackingWrite))
        let theirs = try await f.tracking.createRun(experimentID: experiment, may(.trackingWrite))
        try await f.put("\(experiment)/\(theirs.id)/artifacts/model", "theirs", may(.trackingWrite))
        let gone = try await f.tracking.createRun(experimentID: experiment, may(.trackingWrite))
        _ = try await f.database.write {
            try $0.execute("UPDATE tracking_runs SET artifact_uri = ? WHERE id = ?", [.string(uri), .string(gone.id)])
        }
        try await f.tracking.deleteRun(id: gone.id, may(.trackingWrite))
        for workspace in [WorkspaceID.default, fraud.workspace] {
            let grant = try f.collect(in: workspace)
            _ = try await f.tracking.purge(PurgeRequest(), grant)
        }
        await #expect(throws: KeelError.self) { try await f.tracking.run(id: gone.id, may(.trackingRead)) }
        #expect(try await f.text("0/\(mine.id)/artifacts/model") == "mine")
        let kept = try await f.tracking.listArtifacts(runID: theirs.id, may(.trackingRead)).files
        #expect(kept.map(\.path) == ["model"])
    }

    @Test("a caller in another workspace changes nothing and learns nothing by the id of a thing")
    func ids() async throws {
        let f = try await Fixture()
        let dataset = try await f.tracking.createEvaluationDataset(name: "d", tags: [KeyValue("team", "delay")], f.write)
        _ = try await f.tracking.upsertEvaluationRecords(
            datasetID: dataset.id, [EvaluationRecordContent(json: ["inputs": ["q": "a"]], path: "record")], f.write)
        let record = try #require(try await f.tracking.evaluationRecords(datasetID: dataset.id, f.read).items.first)
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.tracking.logBatch(runID: run.id, metrics: [Metric("auc", 0.5, at: at(1))], f.write)
        let before = try await f.kinds()

        try await f.tracking.deleteEvaluationDatasetTag(id: dataset.id, key: "team", may(.trackingWrite))
        #expect(try await f.tracking.evaluationDataset(id: dataset.id, f.read).tags == [KeyValue("team", "delay")])
        let taken = await #expect(throws: KeelError.self) {
            try await f.tracking.importEvaluationDatasets([dataset], from: "s", may(.trackingWrite))
        }
        #expect(taken?.code == .alreadyExists)
        #expect(try await f.tracking.importFingerprints(.runs, [run.id], may(.trackingRead)).isEmpty)
        #expect(try await f.tracking.importFingerprints(.runs, [run.id], f.read)[run.id]?["auc"] != nil)
        let asked = [(id: record.importID, digest: (record as any ImportRecord).digest)]
        #expect(try await f.tracking.checkImport(.evaluationRecords, asked, from: "s", may(.trackingRead)) == [.new])
        #expect(try await f.tracking.checkImport(.evaluationRecords, asked, from: "s", f.read) == [.same])
        #expect(try await f.kinds() == before)
    }
}

extension Fixture {
    func collect(in workspace: WorkspaceID) throws -> Grant {
        try Grant.check(Caller(name: "ada", persona: .owner, workspace: workspace), may: .storageCollect)
    }
}
