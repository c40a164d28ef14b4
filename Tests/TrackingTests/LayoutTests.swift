import Contracts
import Storage
import Synchronization
import Testing
import Tracking

@Suite struct LayoutTests {
    private func grant(_ name: String, _ persona: Persona = .dataScientist) throws -> Grant {
        try Grant.check(Caller(name: name, persona: persona), may: .trackingWrite)
    }

    @Test func whoSavedALayoutIsWhoItSays() async throws {
        let fixture = try await Fixture()
        let (tracking, id) = (fixture.tracking, try await fixture.tracking.createExperiment(name: "churn", fixture.write))
        let bob = try grant("bob")
        try await tracking.saveLayout("best", page: "runs", query: "order=auc", of: id, bob)
        // No client writes such a tag, whatever it says of who wrote it.
        let forged = KeyValue("keel.layout.best", #"{"page":"runs","by":"eve","query":""}"#)
        await #expect(throws: KeelError.self) { try await tracking.setExperimentTag(id: id, forged, fixture.write) }
        await #expect(throws: KeelError.self) { try await tracking.deleteExperimentTag(id: id, key: forged.key, fixture.write) }
        await #expect(throws: KeelError.self) { try await tracking.createExperiment(name: "other", tags: [forged], fixture.write) }
        let layouts = try await tracking.experiment(id: id, fixture.read).layouts
        #expect(
            layouts.map(\.name) == ["best"] && layouts[0].savedBy == "bob" && layouts[0].page == "runs" && layouts[0].query == "order=auc")
        #expect(try await fixture.kinds().suffix(1) == ["experiment.tagged"])
    }

    @Test func aLayoutIsChangedByWhoSavedItAndRemovedByWhoManagesAccessToo() async throws {
        let fixture = try await Fixture()
        let (tracking, id) = (fixture.tracking, try await fixture.tracking.createExperiment(name: "churn", fixture.write))
        let (bob, eve) = (try grant("bob"), try grant("eve"))
        try await tracking.saveLayout("best", page: "runs", query: "a=1", of: id, bob)
        await #expect { try await tracking.saveLayout("best", page: "runs", query: "", of: id, eve) } throws: {
            ($0 as? KeelError)?.code == .alreadyExists
        }
        await #expect { try await tracking.removeLayout("best", of: id, eve) } throws: { ($0 as? KeelError)?.code == .failedPrecondition }
        try await tracking.saveLayout("best", page: "compare", query: "a=2", of: id, bob)
        #expect(try await tracking.experiment(id: id, fixture.read).layouts.map(\.query) == ["a=2"])
        try await tracking.removeLayout("best", of: id, bob)
        try await tracking.saveLayout("best", page: "runs", query: "a=3", of: id, eve)
        // Somebody has to be able to remove what is of a person who left.
        try await tracking.removeLayout("best", of: id, fixture.write)
        #expect(try await tracking.experiment(id: id, fixture.read).layouts.isEmpty)
        await #expect { try await tracking.removeLayout("best", of: id, bob) } throws: { ($0 as? KeelError)?.code == .notFound }
    }

    @Test func namesAndNumbersAreBounded() async throws {
        let fixture = try await Fixture()
        let (tracking, id) = (fixture.tracking, try await fixture.tracking.createExperiment(name: "churn", fixture.write))
        let bob = try grant("bob")
        for name in ["", String(repeating: "x", count: 101)] {
            await #expect(throws: KeelError.self) { try await tracking.saveLayout(name, page: "runs", query: "", of: id, bob) }
        }
        await #expect(throws: KeelError.self) {
            try await tracking.saveLayout("x", page: "runs", query: String(repeating: "x", count: 4001), of: id, bob)
        }
        for i in 0..<ExperimentLayout.layoutsMax { try await tracking.saveLayout("l\(i)", page: "runs", query: "", of: id, bob) }
        await #expect(throws: KeelError.self) { try await tracking.saveLayout("one more", page: "runs", query: "", of: id, bob) }
        // One that is there is replaced all the same.
        try await tracking.saveLayout("l0", page: "runs", query: "b=1", of: id, bob)
        try await tracking.deleteExperiment(id: id, fixture.write)
        await #expect(throws: KeelError.self) { try await tracking.removeLayout("l0", of: id, bob) }
    }

    @Test func changesOfARunAreToldAfterTheyAreStored() async throws {
        let fixture = try await Fixture()
        let tracking = fixture.tracking
        let experiment = try await tracking.createExperiment(name: "churn", fixture.write)
        let run = try await tracking.createRun(experimentID: experiment, fixture.write).id
        let heard = Mutex<[String]>([])
        tracking.changes.observe { run in heard.withLock { $0.append(run) } }
        let writes: [@Sendable () async throws -> Void] = [
            { try await tracking.logMetric(runID: run, Metric("loss", 1, at: at(1)), fixture.write) },
            { try await tracking.logBatch(runID: run, params: [KeyValue("a", "b")], fixture.write) },
            { try await tracking.logParam(runID: run, KeyValue("c", "d"), fixture.write) },
            { try await tracking.setTag(runID: run, KeyValue("t", "1"), fixture.write) },
            { try await tracking.deleteTag(runID: run, key: "t", fixture.write) },
            {
                try await tracking.logInputs(
                    runID: run, datasets: [DatasetInput(name: "d", digest: "1", sourceType: "local", source: "{}")], fixture.write)
            },
            { _ = try await tracking.updateRun(id: run, status: .finished, fixture.write) },
            { try await tracking.deleteRun(id: run, fixture.write) },
            { try await tracking.restoreRun(id: run, fixture.write) },
        ]
        for (i, write) in writes.enumerated() {
            try await write()
            #expect(heard.withLock { $0.count } == i + 1, "write \(i)")
        }
        // What is refused changes nothing.
        _ = try? await tracking.logParam(runID: run, KeyValue("c", "other"), fixture.write)
        _ = try await tracking.run(id: run, fixture.read)
        #expect(heard.withLock { $0 } == [String](repeating: run, count: writes.count))
    }
}
