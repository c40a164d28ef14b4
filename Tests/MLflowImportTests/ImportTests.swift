import Contracts
import Foundation
import MLflowImport
import Registry
import Storage
import Testing
import Tracking

@Suite("Imports from MLflow")
struct MLflowImportTests {
    @Test("a rehearsal says what would be brought, and brings nothing")
    func rehearsal() async throws {
        let home = try await ImportHome()
        let report = try await home.imported(isRehearsal: true)
        #expect(report.counts["runs"]?.new == 3 && report.counts["metric points"]?.new == 301)
        #expect(report.counts["models"]?.new == 1 && report.counts["versions"]?.new == 1 && report.counts["aliases"]?.new == 1)
        #expect(!report.isVerified && report.schema == "0123456789ab")
        let read = try home.may(.trackingRead)
        #expect(try await home.tracking.searchRuns(RunSearch(experimentIDs: ["0", "7"], view: .all), read).items.isEmpty)
        #expect(try await home.registry.searchModels(RegistrySearch(), home.may(.registryRead)).items.isEmpty)
        #expect(try await home.database.read { try $0.ledgerEvents() }.isEmpty)
    }

    @Test("what is brought is as it was: ids, times, states, history, tags under names that nobody can forge")
    func brought() async throws {
        let home = try await ImportHome()
        let report = try await home.imported()
        #expect(report.isVerified && report.isComplete, "\(report.json.text)")
        // MLflow's experiment 0 becomes one with Keel's.
        #expect(report.counts["experiments"]?.new == 2 && report.counts["runs"]?.new == 3)
        // What has no place in Keel is named, as are artifacts that no folder was given for.
        #expect(
            report.notBrought.first.contains { $0.contains("1 webhooks") } && report.notBrought.first.contains { $0.contains("run aaa") })

        let read = try home.may(.trackingRead)
        let experiment = try await home.tracking.experiment(id: "7", read)
        #expect(experiment.name == "delays" && experiment.tags == [KeyValue("team", "ops")])
        #expect(experiment.createdAt == Timestamp(milliseconds: 2000) && experiment.artifactLocation == "s3://elsewhere/7")
        let first = try await home.tracking.run(id: "aaa", read)
        #expect(first.name == "first" && first.status == .finished && first.endedAt == Timestamp(milliseconds: 6000))
        #expect(first.params == [KeyValue("trees", "150")] && first.tags.contains(KeyValue("imported.keel.bundle", "forged")))
        #expect(first.metrics.first { $0.key == "auc" }?.value.isNaN == true)
        let history = try await home.tracking.metricHistory(runID: "aaa", key: "loss", pageSize: 1000, read)
        #expect(history.items.map(\.value) == (0..<300).map { 1 / Double($0 + 1) } && history.items.last?.step == 299)
        #expect(try await home.tracking.run(id: "bbb", read).lifecycle == .deleted)
        #expect(try await home.tracking.run(id: "ccc", read).name == "named by a tag")

        let version = try await home.registry.version(model: "delay", alias: "champion", home.may(.registryRead))
        #expect(version.version == 3 && version.stage == .production && version.runID == "aaa" && version.description == "good")
    }

    @Test("brought again, nothing is sent; what was changed there is brought, and what was changed here is kept")
    func again() async throws {
        let home = try await ImportHome()
        _ = try await home.imported()
        let events = try await home.database.read { try $0.ledgerEvents().count }
        let second = try await home.imported()
        #expect(second.counts["runs"]?.same == 3 && second.counts["metric points"]?.new == 0 && second.counts["versions"]?.same == 1)
        #expect(try await home.database.read { try $0.ledgerEvents().count } == events)

        try await Storage.Database(path: home.file).write { tx in
            try tx.execute("UPDATE params SET value = '200' WHERE run_uuid = 'aaa'")
            try tx.execute("INSERT INTO metrics VALUES ('aaa', 'loss', 0.001, 6000, 300, 0)")
        }
        _ = try await home.registry.updateModel(name: "delay", description: "ours", home.may(.registryWrite))
        let third = try await home.imported()
        #expect(third.counts["runs"]?.changed == 1 && third.counts["metric points"]?.new == 1, "\(third.json.text)")
        #expect(third.counts["models"]?.changedHere == 1 && third.isComplete)
        let read = try home.may(.trackingRead)
        #expect(try await home.tracking.run(id: "aaa", read).params == [KeyValue("trees", "200")])
        #expect(try await home.registry.model(name: "delay", home.may(.registryRead)).description == "ours")
    }

    @Test("a database that is none of MLflow's is refused, and says what is missing")
    func foreign() async throws {
        let folder = NSTemporaryDirectory() + "keel-import-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/other.db"
        _ = try await Storage.Database(path: path).write { tx in try tx.execute("CREATE TABLE runs (id TEXT)") }
        let error = await #expect(throws: KeelError.self) { try await MLflowSource.open(url: "sqlite:///" + path) }
        #expect(error?.message.contains("it lacks alembic_version, experiments") == true, "\(error?.message ?? "")")
        #expect(!String(describing: error).contains("secret"))
        let address = await #expect(throws: KeelError.self) { try await MLflowSource.open(url: "mysql://root:secret@host/mlflow") }
        #expect(address?.code == .invalidArgument && address?.message.contains("secret") == false)
    }
}
