import Contracts
import Foundation
import Storage
import Testing
import Tracking

/// The artifacts of one run belong to what serves.
private struct Pinned: ArtifactUsage {
    let run: String
    func needed(_ db: any Querying, _ grant: Grant) throws -> [(uri: String, by: String)] { try pinned(db) }
    func pinned(_ db: any Querying) throws -> [(uri: String, by: String)] { [("runs:/\(run)", "models:/delay/3")] }
}

@Suite("What is whose")
struct OwnershipTests {
    private func refused(_ code: KeelError.Code, _ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("it was not refused")
        } catch { #expect(KeelError.wrapping(error).code == code, "\(error)") }
    }

    @Test("A3: tags that begin with keel. are refused on experiments, runs and logged models; a step's own is there and stays")
    func reserved() async throws {
        let f = try await Fixture()
        let tag = KeyValue("keel.pipeline_run", "forged")
        let run = try await f.tracking.createRun(
            experimentID: "0", origin: RunOrigin(pipelineRun: "run-1", step: "register"), f.write)
        let model = try await f.tracking.createLoggedModel(experimentID: "0", name: "m", f.write)
        await refused(.invalidArgument) { _ = try await f.tracking.createRun(experimentID: "0", tags: [tag], f.write) }
        await refused(.invalidArgument) { try await f.tracking.setTag(runID: run.id, tag, f.write) }
        await refused(.invalidArgument) { try await f.tracking.logBatch(runID: run.id, tags: [tag], f.write) }
        await refused(.invalidArgument) { try await f.tracking.deleteTag(runID: run.id, key: tag.key, f.write) }
        await refused(.invalidArgument) { _ = try await f.tracking.createExperiment(name: "x", tags: [tag], f.write) }
        await refused(.invalidArgument) { try await f.tracking.setExperimentTag(id: "0", tag, f.write) }
        await refused(.invalidArgument) { try await f.tracking.deleteExperimentTag(id: "0", key: tag.key, f.write) }
        await refused(.invalidArgument) {
            _ = try await f.tracking.createLoggedModel(experimentID: "0", name: "m", tags: [tag], f.write)
        }
        await refused(.invalidArgument) { _ = try await f.tracking.setLoggedModelTags(id: model.id, [tag], f.write) }
        await refused(.invalidArgument) { try await f.tracking.deleteLoggedModelTag(id: model.id, key: tag.key, f.write) }
        #expect(try await f.tracking.run(id: run.id, f.read).tags.contains(KeyValue("keel.pipeline_run", "run-1")))
        await refused(.alreadyExists) { try await f.tracking.importRuns([run], from: "elsewhere", f.write) }
    }

    @Test("D12: a step that is repeated gets the run that it made; another step makes its own")
    func repeated() async throws {
        let f = try await Fixture()
        let origin = RunOrigin(pipelineRun: "run-1", step: "register")
        let first = try await f.tracking.createRun(experimentID: "0", name: "a", origin: origin, f.write)
        #expect(try await f.tracking.createRun(experimentID: "0", name: "b", origin: origin, f.write).id == first.id)
        let other = RunOrigin(pipelineRun: "run-2", step: "register")
        #expect(try await f.tracking.createRun(experimentID: "0", origin: other, f.write).id != first.id)
        #expect(try await f.kinds().count { $0 == "run.created" } == 2)
    }

    @Test(
        "A6: artifacts of what serves are neither removed nor replaced, in one piece or in parts; the same bytes and others beside them may be put"
    )
    func pinned() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.put("0/\(run.id)/artifacts/model/file", "served")
        let guarded = TrackingService(database: f.database, objects: f.objects, artifactUsage: Pinned(run: run.id))
        for path in ["0/\(run.id)/artifacts/model/file", "0/\(run.id)/artifacts/model", "0/\(run.id)/artifacts", "0/\(run.id)", "0"] {
            await refused(.failedPrecondition) { try await guarded.deleteArtifact(path: path, f.write) }
        }
        func put(_ text: String) async throws {
            let parts = AsyncThrowingStream<[UInt8], any Error> { stream in
                stream.yield(Array(text.utf8))
                stream.finish()
            }
            try await guarded.putArtifact(path: "0/\(run.id)/artifacts/model/file", parts: parts, f.write)
        }
        await refused(.failedPrecondition) { try await put("another model") }
        try await put("served")
        try await f.put("0/\(run.id)/artifacts/notes", "beside")
        #expect(try await f.text("0/\(run.id)/artifacts/model/file") == "served")
    }

    @Test(
        "A8, mlflow_5_1: every run has a folder of its own, before the query, after one slash",
        arguments: [
            ("mlflow-artifacts:/", "mlflow-artifacts:/ID"), ("mlflow-artifacts:", "mlflow-artifacts:/ID"),
            ("mlflow-artifacts:///", "mlflow-artifacts:/ID"),
            ("mlflow-artifacts:/a/", "mlflow-artifacts:/a/ID"), ("mlflow-artifacts:/a?x=1", "mlflow-artifacts:/a/ID?x=1"),
            ("s3://b", "s3://b/ID"),
            ("s3://b/p/?x=/1", "s3://b/p/ID?x=/1"), ("/p/", "/p/ID"), ("relative", "/work here/relative/ID"),
            ("file:relative", "file:///work here/relative/ID"),
            ("s3://b/p#f", "s3://b/p/ID#f"),
        ])
    func locations(location: String, root: String) async throws {
        let f = try await Fixture()
        let tracking = TrackingService(database: f.database, objects: f.objects, folder: "/work here")
        let experiment = try await tracking.createExperiment(name: "e", artifactLocation: location, f.write)
        let run = try await tracking.createRun(experimentID: experiment, f.write)
        #expect(run.artifactURI == root.replacing("ID", with: "\(run.id)/artifacts"))
        let model = try await tracking.createLoggedModel(experimentID: experiment, name: "m", f.write)
        #expect(model.artifactURI == root.replacing("ID", with: "models/\(model.id)/artifacts"))
        guard location.hasPrefix("mlflow-artifacts:") else { return }
        let path = try TrackingService.artifactPath(of: run.artifactURI, below: "file")
        #expect(path.contains(run.id) && !path.contains("?"))
    }

    @Test(
        "mlflow_5_1: a location that climbs or is too long is refused",
        arguments: [
            "s3://b/p?x=..", "s3://b/p?x=%252e%252e", "mlflow-artifacts:/../x", String(repeating: "x", count: 2049),
        ])
    func badLocations(location: String) async throws {
        let f = try await Fixture()
        await refused(.invalidArgument) { _ = try await f.tracking.createExperiment(name: "e", artifactLocation: location, f.write) }
    }
}
