import Contracts
import Foundation
import Storage
import Testing
import Tracking

/// Somebody who needs artifacts.
private struct Needs: ArtifactUsage {
    let uris: [(uri: String, by: String)]
    func needed(_ db: any Querying, _ grant: Grant) throws -> [(uri: String, by: String)] { uris }
    func pinned(_ db: any Querying) throws -> [(uri: String, by: String)] { uris }
}

@Suite("Removing for good")
struct PurgeTests {
    private func run(_ f: Fixture, in experiment: String = "0", artifact: String) async throws -> Run {
        let run = try await f.tracking.createRun(experimentID: experiment, f.write)
        try await f.tracking.logBatch(
            runID: run.id, metrics: [Metric("m", 1, at: at(1))], params: [KeyValue("p", "1")], tags: [KeyValue("t", "1")], f.write)
        try await f.tracking.logInputs(
            runID: run.id, datasets: [DatasetInput(name: "d", digest: "1", sourceType: "x", source: "y")], f.write)
        try await f.put("\(experiment)/\(run.id)/artifacts/model/file", artifact)
        return run
    }

    @Test("what is in the bin goes with all that was logged and its content; what is not stays")
    func purged() async throws {
        let f = try await Fixture()
        let grant = try f.collect
        let (kept, gone) = (try await run(f, artifact: "kept"), try await run(f, artifact: "gone"))
        let model = try await f.tracking.createLoggedModel(experimentID: "0", name: "m", f.write)
        try await f.put("0/models/\(model.id)/artifacts/file", "model")
        try await f.tracking.deleteRun(id: gone.id, f.write)
        try await f.tracking.deleteLoggedModel(id: model.id, f.write)
        let planned = try await f.tracking.purgeable(PurgeRequest(), grant)
        #expect(planned.map(\.id) == [gone.id, model.id] && planned.map(\.bytes) == [4, 5] && planned.allSatisfy { $0.keptFor == nil })
        #expect(try await f.text("0/\(gone.id)/artifacts/model/file") == "gone")
        #expect(try await f.tracking.purgeable(PurgeRequest(olderThan: .seconds(3600)), grant).isEmpty)
        #expect(try await f.tracking.purge(PurgeRequest(), grant).map(\.id) == [gone.id, model.id])
        await #expect(throws: KeelError.self) { try await f.tracking.run(id: gone.id, f.read) }
        #expect(try await f.names("0") == ["\(kept.id)/"])
        #expect(try await f.sweep() == Collected(objects: 2, bytes: 9))
        #expect(try await f.text("0/\(kept.id)/artifacts/model/file") == "kept")
        for table in ["params", "tags", "latest_metrics", "inputs"] {
            let left = try await f.database.read { try $0.rows("SELECT DISTINCT run_id FROM tracking_\(table)").map { $0.text("run_id") } }
            #expect(left == [kept.id], "\(table)")
        }
        for table in ["points", "point_blocks"] {
            #expect(try await f.database.read { try $0.rows("SELECT series FROM tracking_\(table)").count } == 1, "\(table)")
        }
        #expect(try await f.kinds().suffix(2) == ["run.purged", "logged_model.purged"])
        #expect(try await f.tracking.purge(PurgeRequest(), grant).isEmpty)
    }

    @Test("files that came with an offer go when no version needs them; nobody puts files among them")
    func offers() async throws {
        let f = try await Fixture()
        try await f.put("1/r/artifacts/model/file", "shared")
        let uris = try await f.database.write(in: .default) { tx in
            try ["kept", "gone"].map { try TrackingService.copyArtifacts(tx, at: "mlflow-artifacts:/1/r/artifacts/model", of: .default, offer: $0) }
        }
        #expect(uris == ["mlflow-artifacts:/@offers/kept", "mlflow-artifacts:/@offers/gone"])
        let refused = await #expect(throws: KeelError.self) { try await f.put("@offers/kept/more", "foreign") }
        #expect(refused?.code == .invalidArgument)
        let tracking = TrackingService(
            database: f.database, objects: f.objects, artifactUsage: Needs(uris: [("mlflow-artifacts:/@offers/kept", "models:/taken/1")]))
        _ = try await tracking.purge(PurgeRequest(), f.collect)
        #expect(try await f.names("@offers") == ["kept/"])
        #expect(try await f.text("@offers/kept/file") == "shared")
    }

    @Test("the number of an experiment that was purged is not used again")
    func numbers() async throws {
        let f = try await Fixture()
        let gone = try await f.tracking.createExperiment(name: "e", f.write)
        try await f.tracking.deleteExperiment(id: gone, f.write)
        #expect(try await f.tracking.purge(PurgeRequest(), try f.collect).map(\.id) == [gone])
        let next = try await f.tracking.createExperiment(name: "e", f.write)
        #expect(Int(next) == (Int(gone) ?? 0) + 1)
    }

    @Test("an experiment goes with everything in it")
    func experiments() async throws {
        let f = try await Fixture()
        let grant = try f.collect
        let id = try await f.tracking.createExperiment(name: "e", tags: [KeyValue("a", "b")], f.write)
        let run = try await run(f, in: id, artifact: "x")
        _ = try await f.tracking.createLoggedModel(experimentID: id, name: "m", f.write)
        try await f.tracking.deleteExperiment(id: id, f.write)
        let going = try await f.tracking.purge(PurgeRequest(), grant)
        #expect(going.map(\.kind) == [.run, .loggedModel, .experiment] && going[0].id == run.id)
        await #expect(throws: KeelError.self) { try await f.tracking.experiment(id: id, f.read) }
        // Its name is free again.
        _ = try await f.tracking.createExperiment(name: "e", f.write)
        #expect(try await f.names("") == [])
    }

    @Test("what a model version needs stays, with its experiment, and says for whom", arguments: ["uri", "runs", "above"])
    func needed(form: String) async throws {
        let f = try await Fixture()
        let id = try await f.tracking.createExperiment(name: "e", f.write)
        let run = try await run(f, in: id, artifact: "x")
        let uri = [
            "uri": "mlflow-artifacts:/\(id)/\(run.id)/artifacts/model", "runs": "runs:/\(run.id)/model", "above": "mlflow-artifacts:/\(id)",
        ][form]
        let tracking = TrackingService(
            database: f.database, objects: f.objects, artifactUsage: Needs(uris: [(try #require(uri), "models:/delay/3")]))
        try await tracking.deleteExperiment(id: id, f.write)
        let kept = try await tracking.purge(PurgeRequest(), f.collect)
        #expect(kept.map(\.keptFor) == ["models:/delay/3", "run \(run.id)"])
        #expect(try await f.sweep() == Collected())
        #expect(try await f.text("\(id)/\(run.id)/artifacts/model/file") == "x")
        try await tracking.restoreExperiment(id: id, f.write)
        #expect(try await tracking.run(id: run.id, f.read).params.count == 1)
    }

    @Test("no table that refers to what goes is forgotten")
    func everyTable() async throws {
        let f = try await Fixture()
        let sql = """
            SELECT m.name AS child, k."table" AS parent FROM sqlite_master m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table' ORDER BY m.name
            """
        let children = try await f.database.read { db in
            Dictionary(grouping: try db.rows(sql).map { ($0.text("child"), $0.text("parent")) }, by: \.1).mapValues { Set($0.map(\.0)) }
        }
        #expect(children["tracking_runs"] == Set(PurgeStore.runTables))
        #expect(children["tracking_logged_models"] == Set(PurgeStore.modelTables))
        #expect(children["tracking_experiments"] == Set(PurgeStore.experimentTables + ["tracking_runs", "tracking_logged_models"]))
    }

    @Test("named things must be in the bin, and only they go")
    func named() async throws {
        let f = try await Fixture()
        let grant = try f.collect
        let (one, two) = (try await run(f, artifact: "1"), try await run(f, artifact: "2"))
        let active = await #expect(throws: KeelError.self) { try await f.tracking.purge(PurgeRequest(runIDs: [one.id]), grant) }
        #expect(active?.message.hasPrefix("Run \(one.id) is not in `deleted` lifecycle stage") == true)
        let unknown = await #expect(throws: KeelError.self) { try await f.tracking.purge(PurgeRequest(runIDs: ["x"]), grant) }
        #expect(unknown?.code == .notFound)
        for run in [one, two] { try await f.tracking.deleteRun(id: run.id, f.write) }
        let young = await #expect(throws: KeelError.self) {
            try await f.tracking.purge(PurgeRequest(olderThan: .seconds(60), runIDs: [one.id]), grant)
        }
        #expect(young?.message.contains("is not older than the required age") == true)
        #expect(try await f.tracking.purge(PurgeRequest(runIDs: [one.id]), grant).map(\.id) == [one.id])
        #expect(try await f.tracking.run(id: two.id, f.read).lifecycle == .deleted)
    }
}
