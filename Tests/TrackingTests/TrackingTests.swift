import Contracts
import Foundation
import Storage
import TestSupport
import Testing
import Tracking

@Suite("Experiments and runs")
struct TrackingTests {
    @Test("the experiment Default is there from the start, and a name is taken until it is renamed")
    func experiments() async throws {
        let f = try await Fixture()
        #expect(try await f.tracking.experiment(id: "0", f.read).name == "Default")
        let id = try await f.tracking.createExperiment(name: "delay", tags: [KeyValue("team", "ops")], f.write)
        #expect(id == "1")
        let found = try await f.tracking.experiment(name: "delay", f.read)
        #expect(found.artifactLocation == "mlflow-artifacts:/1" && found.tags == [KeyValue("team", "ops")])
        await #expect(throws: KeelError.self) { _ = try await f.tracking.createExperiment(name: "delay", f.write) }
        #expect(try await f.tracking.ensureExperiment(name: "delay", f.write) == "1")
        try await f.tracking.renameExperiment(id: id, to: "late", f.write)
        #expect(try await f.tracking.createExperiment(name: "delay", f.write) == "2")
        do {
            _ = try await f.tracking.experiment(name: "nothing", f.read)
            Issue.record("there is no such experiment")
        } catch let error as KeelError {
            #expect(error.code == .notFound && error.message == "Could not find experiment with name 'nothing'")
        }
    }

    @Test("deleting an experiment takes its runs along, and nothing can be logged to them until it is restored")
    func bin() async throws {
        let f = try await Fixture()
        let id = try await f.tracking.createExperiment(name: "delay", f.write)
        let run = try await f.tracking.createRun(experimentID: id, f.write)
        try await f.tracking.deleteExperiment(id: id, f.write)
        #expect(try await f.tracking.run(id: run.id, f.read).lifecycle == .deleted)
        await #expect(throws: KeelError.self) { try await f.tracking.logParam(runID: run.id, KeyValue("a", "1"), f.write) }
        #expect(try await f.tracking.searchRuns(RunSearch(experimentIDs: [id]), f.read).items.isEmpty)
        #expect(try await f.tracking.searchRuns(RunSearch(experimentIDs: [id], view: .all), f.read).items.count == 1)
        try await f.tracking.restoreExperiment(id: id, f.write)
        try await f.tracking.logParam(runID: run.id, KeyValue("a", "1"), f.write)
        #expect(try await f.kinds() == ["experiment.created", "run.created", "experiment.deleted", "experiment.restored"])
    }

    @Test("a param keeps its first value; the same value again is no error; a batch with a changed one keeps nothing")
    func paramsAreImmutable() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.tracking.logParam(runID: run.id, KeyValue("trees", "150"), f.write)
        try await f.tracking.logParam(runID: run.id, KeyValue("trees", "150"), f.write)
        do {
            try await f.tracking.logBatch(
                runID: run.id, metrics: [Metric("auc", 0.8, at: at(1))], params: [KeyValue("depth", "6"), KeyValue("trees", "200")], f.write
            )
            Issue.record("a param was changed")
        } catch let error as KeelError {
            #expect(
                error.message.hasPrefix("Changing param values is not allowed. Param with key='trees' was already logged with value='150'"))
        }
        let after = try await f.tracking.run(id: run.id, f.read)
        #expect(after.params == [KeyValue("trees", "150")] && after.metrics.isEmpty)
    }

    @Test("the latest value is that of the greatest step, then time, then value, in whatever order values arrive")
    func latest() async throws {
        let f = try await Fixture()
        let points = [(0.5, 1, 10), (0.9, 3, 5), (0.7, 2, 99), (0.95, 3, 5), (0.1, 3, 4)].map {
            Metric("auc", $0.0, at: at(Int64($0.2)), step: Int64($0.1))
        }
        var random = Seeded(8)
        for _ in 0..<8 {
            let run = try await f.tracking.createRun(experimentID: "0", f.write)
            for point in points.shuffled(using: &random) { try await f.tracking.logMetric(runID: run.id, point, f.write) }
            #expect(try await f.tracking.run(id: run.id, f.read).metrics.first?.value == 0.95)
            let first = try await f.tracking.metricHistory(runID: run.id, key: "auc", pageSize: 2, f.read)
            let rest = try await f.tracking.metricHistory(runID: run.id, key: "auc", pageSize: 10, pageToken: first.nextToken, f.read)
            #expect((first.items + rest.items).map(\.value) == [0.1, 0.9, 0.95, 0.5, 0.7])
        }
    }

    @Test("NaN stays NaN and infinities become the largest number")
    func extremes() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.tracking.logBatch(
            runID: run.id, metrics: [Metric("n", .nan, at: at(1)), Metric("p", .infinity, at: at(1)), Metric("m", -.infinity, at: at(1))],
            f.write)
        let metrics = try await f.tracking.run(id: run.id, f.read).metrics
        #expect(metrics.map(\.key) == ["m", "n", "p"])
        #expect(metrics[0].value == -.greatestFiniteMagnitude && metrics[1].value.isNaN && metrics[2].value == .greatestFiniteMagnitude)
    }

    @Test("values over the limits are cut, as MLflow does")
    func longValues() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await f.tracking.logParam(runID: run.id, KeyValue("p", String(repeating: "é", count: 6001)), f.write)
        try await f.tracking.setTag(runID: run.id, KeyValue("t", String(repeating: "é", count: 8001)), f.write)
        let found = try await f.tracking.run(id: run.id, f.read)
        #expect(found.params.map(\.value.count) == [6000] && found.tags.filter { $0.key == "t" }.map(\.value.count) == [8000])
    }

    @Test("deleting and restoring a run twice changes nothing the second time")
    func deletedTwice() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write).id
        for _ in 0..<2 { try await f.tracking.deleteRun(id: run, f.write) }
        for _ in 0..<2 { try await f.tracking.restoreRun(id: run, f.write) }
        #expect(
            try await f.database.read { try $0.ledgerEvents(kind: "run.deleted").count + $0.ledgerEvents(kind: "run.restored").count } == 2)
    }

    @Test(
        "keys over the limits are refused in MLflow's words",
        arguments: [
            ("../x", "v", "Names may be treated as files"), ("a//b", "v", "Names may be treated as files"),
            ("a\u{1F600}", "v", "Names may only contain alphanumerics"),
            ("", "v", "Missing value for required parameter"),
            (String(repeating: "k", count: 251), "v", "exceeds the maximum length of 250"),
            ("हिन्दी", "v", "Names may only contain alphanumerics"),
        ])
    func limits(key: String, value: String, words: String) async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        do {
            try await f.tracking.logParam(runID: run.id, KeyValue(key, value), f.write)
            Issue.record("accepted")
        } catch let error as KeelError { #expect(error.message.contains(words)) }
    }

    @Test("sixteen writers on one run lose nothing")
    func concurrency() async throws {
        let f = try await Fixture()
        let run = try await f.tracking.createRun(experimentID: "0", f.write)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<16 {
                group.addTask {
                    for batch in 0..<10 {
                        let metrics = (0..<10).map {
                            Metric("m\($0)", Double(writer), at: at(Int64(writer)), step: Int64(batch * 16 + writer))
                        }
                        try await f.tracking.logBatch(
                            runID: run.id, metrics: metrics, params: [KeyValue("p\(writer).\(batch)", "x")], f.write)
                    }
                }
            }
            try await group.waitForAll()
        }
        let after = try await f.tracking.updateRun(id: run.id, status: .finished, f.write)
        #expect(after.params.count == 160 && after.metrics.allSatisfy { $0.step == 159 })
        let event = try #require(try await f.database.read { try $0.ledgerEvents(kind: "run.finished").first })
        #expect(event.data["metric_points"]?.integer == 1600 && event.data["params"]?.integer == 160)
        #expect(event.data["digest"]?.string?.count == 64)
    }
}
