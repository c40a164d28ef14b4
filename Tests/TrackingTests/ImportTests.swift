import Contracts
import Foundation
import Importing
import Testing
import Tracking

@Suite("Imports of runs")
struct ImportRunTests {
    private func run(_ id: String, in experiment: String) -> Run {
        var run = Run(
            id: id, name: "n", experimentID: experiment, userID: "ada", status: .finished, startedAt: at(1000), endedAt: at(2000),
            artifactURI: "mlflow-artifacts:/\(experiment)/\(id)/artifacts", lifecycle: .deleted)
        run.params = [KeyValue("z", "1"), KeyValue("ä", "ü 😀")]
        run.tags = [KeyValue("t", "x")]
        run.metrics = [Metric("m", .nan, at: at(5), step: 2), Metric("inf", .infinity, at: at(6)), Metric("zero", -0.0, at: at(7))]
        run.datasets = [
            DatasetInput(name: "d", digest: "1", sourceType: "s", source: "{}", tags: [KeyValue("mlflow.data.context", "training")])
        ]
        run.modelOutputs = [ModelLink(modelID: "m-1", step: 3)]
        return run
    }

    @Test("a record says all of a run, and is read back as the same")
    func records() throws {
        let run = run("abc", in: "1")
        let again = try Run(record: try JSON.parse(run.record.text))
        #expect(again.digest == run.digest && again.params == run.params && again.datasets == run.datasets && again.lifecycle == .deleted)
        var other = run
        other.tags[0] = KeyValue("t", "y")
        #expect(other.digest != run.digest)
        for (field, value) in [("id", "../x"), ("id", ""), ("status", "DONE"), ("started", "x"), ("params", "x"), ("lifecycle", "gone")]
            as [(String, JSON)]
        {
            var wrong = run.record
            wrong[field] = value
            #expect(throws: KeelError.self) { try Run(record: wrong) }
        }
        #expect(throws: KeelError.self) { try Metric(point: ["m", 1, .int(.max), 0]) }
    }

    @Test("what is imported twice is there once, with one event for each batch that brought something")
    func twice() async throws {
        let fixture = try await Fixture()
        try await fixture.database.migrate(TrackingTables.importMigrations, backupFolder: NSTemporaryDirectory())
        let (tracking, write) = (fixture.tracking, fixture.write)
        let foreign = ForeignExperiment(
            id: "7", name: "seven", artifactLocation: nil, lifecycle: .active, createdAt: at(1), updatedAt: at(2),
            tags: [KeyValue("a", "b")])
        for expected in [ImportState.new, .same] {
            let place = try await tracking.importExperiments([foreign], from: "s", write)
            #expect(place.map(\.id) == ["7"] && place.map(\.state) == [expected])
        }
        let run = run("abc", in: "7")
        #expect(try await tracking.checkImport(.runs, [("abc", run.digest)], from: "s", fixture.read) == [.new])
        try await tracking.importRuns([run], from: "s", write)
        #expect(try await tracking.checkImport(.runs, [("abc", run.digest)], from: "s", fixture.read) == [.same])
        let points = (0..<250).map { MetricPoint(owner: "abc", metric: Metric("m", Double($0), at: at(Int64($0)), step: Int64($0))) }
        #expect(try await tracking.importPoints(points, to: .runs, from: "s", write) == 250)
        #expect(try await tracking.importPoints(points, to: .runs, from: "s", write) == 0)
        var print = Fingerprint()
        for point in points.reversed() { print.add(point.identity) }
        #expect(try await tracking.importFingerprints(.runs, ["abc"], fixture.read) == ["abc": ["m": print]])
        await #expect(throws: KeelError.self) {
            try await tracking.importPoints([MetricPoint(owner: "none", metric: points[0].metric)], to: .runs, from: "s", write)
        }
        #expect(try await fixture.kinds().filter { $0 == "tracking.imported" }.count == 3)
    }
}
